//! How kube-proxy of this cluster is stopped.

use super::distributions::Means;
use super::{KubeProxyState, kind, state};
use crate::bpf::{Situation, text};
use crate::snapshot::Known;
use serde_json::Value;

/// How kube-proxy of this cluster is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubeProxyWay {
    /// By a node selector of DaemonSet kube-system/kube-proxy.
    DaemonSet {
        /// Who may undo it, in sentences.
        warnings: Vec<String>,
    },
    /// It does not run.
    AlreadyOff,
    /// By the user, in the way of the distribution.
    ByHand {
        /// The distribution, for people.
        kind: String,
        /// What stops it.
        instruction: String,
        /// What starts it again.
        instruction_back: String,
    },
    /// It cannot be stopped, or nobody knows how.
    Impossible {
        /// Why.
        why: String,
    },
}

/// Labels and annotations of who keeps an object as it is, and what that is called.
const KEEPERS: [(&str, &str); 7] = [
    ("app.kubernetes.io/managed-by", "whoever manages it"),
    ("addonmanager.kubernetes.io/mode", "the add-on manager"),
    ("eks.amazonaws.com/component", "the EKS add-on"),
    ("argocd.argoproj.io/tracking-id", "Argo CD"),
    ("argocd.argoproj.io/instance", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "Flux"),
];

/// How kube-proxy of this cluster is stopped. Nothing but [`KubeProxyWay::DaemonSet`] is for this tool to do.
pub fn how_to_disable(situation: &Situation<'_>) -> KubeProxyWay {
    let state = state(situation);
    if let KubeProxyState::Unknown(gap) = &state {
        let why = format!("whether kube-proxy runs is not known: {}", gap.detail);
        return KubeProxyWay::Impossible { why };
    }
    if state.serves() == Some(false) {
        return KubeProxyWay::AlreadyOff;
    }
    if is_the_operators(situation) {
        return of_the_operator();
    }
    let kind = kind(situation);
    match kind.means {
        Means::Never { why } => KubeProxyWay::Impossible { why: why.to_owned() },
        Means::ByHand { off, on } => KubeProxyWay::ByHand {
            kind: kind.name.to_owned(),
            instruction: off.to_owned(),
            instruction_back: on.to_owned(),
        },
        Means::NodeSelector { warning } => match (&state, &situation.kube_proxy) {
            (KubeProxyState::Running, Known::Known(set)) => {
                let mut warnings = keepers(set);
                warnings.extend(warning.map(str::to_owned));
                KubeProxyWay::DaemonSet { warnings }
            }
            (KubeProxyState::StaticPod, _) => of_files(),
            _ => KubeProxyWay::Impossible {
                why: "kube-proxy runs, but not as DaemonSet kube-system/kube-proxy: stop it where it is started".to_owned(),
            },
        },
    }
}

/// How kube-proxy is started again where it is off: by its DaemonSet, or by the user.
pub fn how_to_bring_back(situation: &Situation<'_>) -> KubeProxyWay {
    if is_the_operators(situation) {
        return of_the_operator();
    }
    let kind = kind(situation);
    match (kind.means, &situation.kube_proxy) {
        (Means::ByHand { off, on }, _) => KubeProxyWay::ByHand {
            kind: kind.name.to_owned(),
            instruction: off.to_owned(),
            instruction_back: on.to_owned(),
        },
        (_, Known::Known(set)) => KubeProxyWay::DaemonSet { warnings: keepers(set) },
        (_, Known::Unknown(gap)) => KubeProxyWay::Impossible { why: gap.detail.clone() },
        (_, Known::Absent) => KubeProxyWay::Impossible {
            why: "DaemonSet kube-system/kube-proxy does not exist; with kubeadm: kubeadm init phase addon kube-proxy"
                .to_owned(),
        },
    }
}

/// The operator stops kube-proxy itself when it is told to.
fn is_the_operators(situation: &Situation<'_>) -> bool {
    let installation = situation.installation.known();
    installation.and_then(|it| text(it, "/spec/calicoNetwork/kubeProxyManagement"))
        == Some("Enabled")
}

fn of_the_operator() -> KubeProxyWay {
    let patch = |to: &str| {
        format!(
            "kubectl patch installation default --type=merge -p '{{\"spec\":{{\"calicoNetwork\":{{\"kubeProxyManagement\":\"{to}\"}}}}}}'"
        )
    };
    KubeProxyWay::ByHand {
        kind: "the Tigera operator".to_owned(),
        instruction: "nothing: with kubeProxyManagement: Enabled in Installation default the operator stops kube-proxy itself once eBPF \
                      is on"
            .to_owned(),
        instruction_back: patch("Disabled"),
    }
}

fn of_files() -> KubeProxyWay {
    KubeProxyWay::ByHand {
        kind: "static pods".to_owned(),
        instruction: "on every node, move the file of kube-proxy out of the kubelet's folder of static pods (usually \
                      /etc/kubernetes/manifests), and tell whatever made the node not to put it back"
            .to_owned(),
        instruction_back: "on every node, move the file of kube-proxy back into the kubelet's folder of static pods"
            .to_owned(),
    }
}

/// Who may put the DaemonSet back to what it was.
fn keepers(set: &Value) -> Vec<String> {
    let has = |key: &str| {
        ["labels", "annotations"].iter().find_map(|place| {
            let value = set.pointer("/metadata")?.get(place)?.get(key)?.as_str()?;
            Some(value.to_owned())
        })
    };
    let warning = |(key, who): &(&str, &str)| {
        let value = has(key)?;
        Some(format!(
            "DaemonSet kube-system/kube-proxy has {key}={value}: {who} may put kube-proxy back"
        ))
    };
    KEEPERS.iter().filter_map(warning).collect()
}
