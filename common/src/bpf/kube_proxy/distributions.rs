//! Distributions of Kubernetes: how they are told apart, and how kube-proxy is stopped in each of them.

use crate::slim::Node;

/// A distribution, as far as kube-proxy goes.
#[derive(Debug, PartialEq, Eq)]
pub struct Distribution {
    /// In a word, for programs.
    pub id: &'static str,
    /// For people.
    pub name: &'static str,
    /// What tells it.
    marks: Marks,
    /// How kube-proxy is stopped.
    pub(super) means: Means,
}

/// What tells a distribution, by its nodes. Any one suffices.
#[derive(Debug, PartialEq, Eq)]
struct Marks {
    /// Parts of the kubelet's version.
    kubelet: &'static [&'static str],
    /// Beginnings of the name of the operating system's image.
    image: &'static [&'static str],
    /// Beginnings of keys of labels.
    labels: &'static [&'static str],
}

/// How kube-proxy is stopped, and started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// Its DaemonSet takes a node selector; what is to be known about that.
    NodeSelector {
        /// Who may undo it.
        warning: Option<&'static str>,
    },
    /// By what the user does.
    ByHand {
        /// How it is stopped.
        off: &'static str,
        /// How it is started.
        on: &'static str,
    },
    /// Not at all.
    Never {
        /// Why.
        why: &'static str,
    },
}

const NO_MARKS: Marks = Marks { kubelet: &[], image: &[], labels: &[] };

/// Where nothing tells more: kubeadm, kubespray, and clusters that were made by hand.
pub(super) static PLAIN: Distribution = Distribution {
    id: "plain",
    name: "kubeadm or alike",
    marks: NO_MARKS,
    means: Means::NodeSelector {
        warning: Some(
            "kubeadm upgrade installs its add-on kube-proxy anew; afterwards: kubectl calico-ebpf status",
        ),
    },
};

/// Those that have ways of their own. The first that fits counts.
static KNOWN: &[Distribution] = &[
    Distribution {
        id: "rke2",
        name: "RKE2",
        marks: Marks { kubelet: &["+rke2"], ..NO_MARKS },
        means: Means::ByHand {
            off: "set disable-kube-proxy: true in /etc/rancher/rke2/config.yaml on every server, restart rke2-server on them one by \
                  one, then restart rke2-agent on all others; where it is left, delete \
                  /var/lib/rancher/rke2/agent/pod-manifests/kube-proxy.yaml",
            on: "remove disable-kube-proxy from /etc/rancher/rke2/config.yaml on every server, then restart rke2-server on them one \
                 by one, and rke2-agent on all others",
        },
    },
    Distribution {
        id: "k3s",
        name: "k3s",
        marks: Marks { kubelet: &["+k3s"], ..NO_MARKS },
        means: Means::ByHand {
            off: "set disable-kube-proxy: true in /etc/rancher/k3s/config.yaml on every server, restart k3s on them one by one, \
                  then restart k3s-agent on all others",
            on: "remove disable-kube-proxy from /etc/rancher/k3s/config.yaml on every server, then restart k3s on them one by one, \
                 and k3s-agent on all others",
        },
    },
    Distribution {
        id: "microk8s",
        name: "MicroK8s",
        marks: Marks { labels: &["microk8s.io/"], ..NO_MARKS },
        means: Means::Never {
            why: "in MicroK8s kube-proxy is a part of kubelite, which always starts it; eBPF works beside it",
        },
    },
    Distribution {
        id: "k0s",
        name: "k0s",
        marks: Marks { kubelet: &["+k0s"], ..NO_MARKS },
        means: Means::ByHand {
            off: "set spec.network.kubeProxy.disabled: true in the configuration of k0s, then restart k0s on every controller",
            on: "set spec.network.kubeProxy.disabled: false in the configuration of k0s, then restart k0s on every controller",
        },
    },
    Distribution {
        id: "talos",
        name: "Talos",
        marks: Marks { image: &["Talos"], ..NO_MARKS },
        means: Means::ByHand {
            off: "set cluster.proxy.disabled: true in the machine configuration of every control plane node (talosctl patch \
                  machineconfig), then: kubectl -n kube-system delete daemonset kube-proxy",
            on: "set cluster.proxy.disabled: false in the machine configuration of every control plane node, then: talosctl \
                 upgrade-k8s",
        },
    },
    Distribution {
        id: "gke",
        name: "GKE",
        marks: Marks { kubelet: &["-gke."], labels: &["cloud.google.com/gke-"], ..NO_MARKS },
        means: Means::Never { why: "on GKE kube-proxy belongs to Google, who put it back" },
    },
    Distribution {
        id: "aks",
        name: "AKS",
        marks: Marks { labels: &["kubernetes.azure.com/"], ..NO_MARKS },
        means: Means::Never {
            why: "on AKS kube-proxy belongs to Azure, who put it back within minutes; eBPF works beside it (only a cluster without \
                  a CNI of Azure's can be told to do without it: kubeProxyConfig.enabled of az aks, a preview)",
        },
    },
    Distribution {
        id: "eks",
        name: "EKS",
        marks: Marks { kubelet: &["-eks-"], labels: &["eks.amazonaws.com/"], ..NO_MARKS },
        means: Means::NodeSelector {
            warning: Some(
                "an update of the EKS add-on kube-proxy undoes it, unless its conflicts are set to be preserved (aws eks \
                 update-addon --resolve-conflicts PRESERVE) or the add-on is deleted",
            ),
        },
    },
    Distribution {
        id: "openshift",
        name: "OpenShift",
        marks: Marks {
            image: &["Red Hat Enterprise Linux CoreOS"],
            labels: &["node.openshift.io/"],
            ..NO_MARKS
        },
        means: Means::ByHand {
            off: "kubectl patch networks.operator.openshift.io cluster --type=merge -p '{\"spec\":{\"deployKubeProxy\":false}}'",
            on: "kubectl patch networks.operator.openshift.io cluster --type=merge -p '{\"spec\":{\"deployKubeProxy\":true}}'",
        },
    },
    Distribution {
        id: "kops",
        name: "kOps",
        marks: Marks { labels: &["kops.k8s.io/"], ..NO_MARKS },
        means: Means::ByHand {
            off: "set spec.kubeProxy.enabled: false (kops edit cluster), then: kops update cluster --yes && kops rolling-update \
                  cluster --yes",
            on: "set spec.kubeProxy.enabled: true (kops edit cluster), then: kops update cluster --yes && kops rolling-update \
                 cluster --yes",
        },
    },
    Distribution {
        id: "gardener",
        name: "Gardener",
        marks: Marks { labels: &["worker.gardener.cloud/"], ..NO_MARKS },
        means: Means::ByHand {
            off: "set spec.kubernetes.kubeProxy.enabled: false in the Shoot",
            on: "set spec.kubernetes.kubeProxy.enabled: true in the Shoot",
        },
    },
    Distribution {
        id: "mke",
        name: "MKE",
        marks: Marks {
            kubelet: &["-mirantis-", "-docker-"],
            labels: &["com.docker.ucp."],
            ..NO_MARKS
        },
        means: Means::ByHand {
            off: "set kube_proxy_mode = \"disabled\" and kube_default_drop_masq_bits = true in the configuration of MKE",
            on: "set kube_proxy_mode = \"iptables\" in the configuration of MKE",
        },
    },
];

impl Distribution {
    /// The one that most of these nodes are marked as; a hybrid node of another cloud does not make a cluster that cloud's.
    pub(super) fn of(nodes: &[Node]) -> &'static Self {
        let count = |it: &Self| nodes.iter().filter(|node| it.marks.fit(node)).count();
        let best = KNOWN.iter().rev().max_by_key(|it| count(it));
        best.filter(|it| count(it) > 0).unwrap_or(&PLAIN)
    }
}

impl Marks {
    fn fit(&self, node: &Node) -> bool {
        let info = &node.status.node_info;
        self.kubelet.iter().any(|part| info.kubelet_version.contains(part))
            || self.image.iter().any(|start| info.os_image.starts_with(start))
            || self
                .labels
                .iter()
                .any(|start| node.metadata.labels.keys().any(|key| key.starts_with(start)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(change: impl FnOnce(&mut Node)) -> &'static str {
        let mut node = Node::default();
        change(&mut node);
        Distribution::of(&[node, Node::default()]).id
    }

    #[test]
    fn distributions_are_told_by_their_nodes() {
        let kubelet =
            |version: &str| of(|node| node.status.node_info.kubelet_version = version.to_owned());
        assert_eq!(kubelet("v1.31.2+k3s1"), "k3s");
        assert_eq!(kubelet("v1.31.2+rke2r1"), "rke2");
        assert_eq!(kubelet("v1.31.2+k0s"), "k0s");
        assert_eq!(kubelet("v1.31.2-eks-94953ac"), "eks");
        assert_eq!(kubelet("v1.31.2-gke.1354000"), "gke");
        assert_eq!(kubelet("v1.34.4"), "plain");
        let label = |key: &str| {
            of(|node| {
                node.metadata.labels.insert(key.to_owned(), String::new());
            })
        };
        assert_eq!(label("kubernetes.azure.com/cluster"), "aks");
        assert_eq!(label("microk8s.io/cluster"), "microk8s");
        assert_eq!(label("kops.k8s.io/instancegroup"), "kops");
        assert_eq!(label("node.openshift.io/os_id"), "openshift");
        assert_eq!(label("worker.gardener.cloud/pool"), "gardener");
        assert_eq!(label("example.org/kops.k8s.io"), "plain");
        let image = |name: &str| of(|node| node.status.node_info.os_image = name.to_owned());
        assert_eq!(image("Talos (v1.8.1)"), "talos");
        assert_eq!(image("Red Hat Enterprise Linux 9.4"), "plain");
        assert_eq!(Distribution::of(&[]).id, "plain");
    }

    #[test]
    fn ids_are_unique() {
        let ids: std::collections::BTreeSet<&str> = KNOWN.iter().map(|it| it.id).collect();
        assert_eq!(ids.len(), KNOWN.len());
    }
}
