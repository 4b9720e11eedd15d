//! kube-proxy: its mode, who owns it, and what it answers that somebody must go on answering.

use serde::Deserialize;
use serde_json::Value;

use super::{CalicoVersion, Findings, Grade, Requirement, Situation};
use crate::bpf::{NodeDataPlane, is_mirror, text};
use crate::snapshot::{Gap, GapReason, Known};

/// With what IPVS leaves on a node, a host on eBPF cannot even reach itself.
pub(super) static IPVS: Requirement =
    Requirement { id: "ipvs", title: "no IPVS", essential: true, judge: ipvs };

/// Who would bring kube-proxy back.
pub(super) static OWNER: Requirement = Requirement {
    id: "kube-proxy-owner",
    title: "a kube-proxy that can be switched off",
    essential: false,
    judge: owner,
};

/// Load balancers of clouds ask there whether a node is well.
pub(super) static HEALTH_PORT: Requirement = Requirement {
    id: "health-port",
    title: "somebody who answers on port 10256",
    essential: false,
    judge: health_port,
};

/// The device on which IPVS puts every ClusterIP.
const DEVICE: &str = "kube-ipvs0";
/// kube-proxy's port of health.
const PORT: u16 = 10256;

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    mode: String,
}

/// kube-proxy's mode as its ConfigMap says it; absent without one.
pub(super) fn mode(situation: &Situation<'_>) -> Known<String> {
    situation.kube_proxy_config.as_ref().and_then(|map| {
        let Some(document) = map.pointer("/data/config.conf").and_then(Value::as_str) else {
            return Known::Absent;
        };
        match serde_yaml::from_str::<Configuration>(document) {
            Ok(configuration) => Known::Known(configuration.mode),
            Err(_) => Known::Unknown(Gap::new(
                "cluster/configmaps.json#kube-system/kube-proxy",
                GapReason::Undecodable,
                "kube-proxy's configuration cannot be read",
            )),
        }
    })
}

fn ipvs(situation: &Situation<'_>, findings: &mut Findings) {
    match mode(situation) {
        Known::Known(mode) if mode == "ipvs" => findings.cluster(
            Grade::Blocker,
            "kube-proxy's mode is ipvs",
            "set mode: iptables in ConfigMap kube-system/kube-proxy, restart kube-proxy, and reboot the nodes one by one",
        ),
        Known::Known(mode) if mode == "nftables" => {
            let removes = CalicoVersion::of_install(situation).known().is_some_and(|it| *it >= CalicoVersion(3, 31, 0));
            if removes {
                findings.cluster(Grade::Fine, "kube-proxy's mode is nftables", "");
            } else {
                let reason = "kube-proxy's mode is nftables, and releases before v3.31 do not take its table away";
                findings.cluster(Grade::Warning, reason, "when kube-proxy is off: nft delete table ip kube-proxy, on every node");
            }
        }
        Known::Known(mode) => {
            let mode = if mode.is_empty() { "iptables" } else { &mode };
            findings.cluster(Grade::Fine, format!("kube-proxy's mode is {mode}"), "");
        }
        Known::Absent => {}
        Known::Unknown(gap) => findings.unknown(&gap),
    }
    findings.each(
        situation,
        |it| it.links.clone(),
        |findings, name, links| {
            let servers =
                situation.nodes.get(name).and_then(|it| it.known()?.virtual_services.known());
            let servers = servers.copied().unwrap_or_default();
            if links.iter().any(|it| it.name == DEVICE) {
                let reason = format!(
                    "{DEVICE} is there: it holds every ClusterIP, and with eBPF the host is cut off"
                );
                findings.node(
                    name,
                    Grade::Blocker,
                    reason,
                    "change kube-proxy's mode first, then reboot the node",
                );
            } else if servers > 0 {
                let reason =
                    format!("IPVS has {servers} virtual servers that are not kube-proxy's");
                findings.node(name, Grade::Info, reason, "");
            } else {
                findings.node(name, Grade::Fine, "there is none", "");
            }
        },
    );
}

/// Marks of those who write kube-proxy's DaemonSet again when it is changed: a label or annotation, and who they are.
const OWNERS: [(&str, &str, &str); 4] = [
    ("/metadata/labels", "addonmanager.kubernetes.io/mode", "the add-on manager (of AKS, say)"),
    ("/metadata/annotations", "argocd.argoproj.io/tracking-id", "Argo CD"),
    (
        "/metadata/labels",
        "app.kubernetes.io/managed-by",
        "whoever its label app.kubernetes.io/managed-by names",
    ),
    (
        "/metadata/labels",
        "eks.amazonaws.com/component",
        "EKS, when kube-proxy is its managed add-on,",
    ),
];

fn owner(situation: &Situation<'_>, findings: &mut Findings) {
    match &situation.kube_proxy {
        Known::Known(set) => {
            let has = |(place, key, _): &&(&str, &str, &str)| {
                set.pointer(place).is_some_and(|it| it.get(*key).is_some())
            };
            match OWNERS.iter().find(has) {
                Some((_, key, who)) => findings.cluster(
                    Grade::Warning,
                    format!("DaemonSet kube-proxy has {key}: {who} may bring it back"),
                    "switch kube-proxy off there, or keep it beside eBPF",
                ),
                None => findings.cluster(Grade::Fine, "nobody else writes its DaemonSet", ""),
            }
        }
        Known::Absent => without_daemon_set(situation, findings),
        Known::Unknown(gap) => findings.unknown(gap),
    }
}

fn without_daemon_set(situation: &Situation<'_>, findings: &mut Findings) {
    let pods = match situation.kube_proxy_pods() {
        Known::Known(pods) => pods,
        Known::Absent => {
            let gap = Gap::new("cluster/pods.json", GapReason::NotAsked, "pods were not read");
            return findings.unknown(&gap);
        }
        Known::Unknown(gap) => return findings.unknown(&gap),
    };
    let mirrored = pods.iter().filter(|it| is_mirror(it)).count();
    if mirrored > 0 {
        let reason = format!(
            "{mirrored} nodes run kube-proxy from a file, which only the nodes' owner can take away"
        );
        let remedy = "switch it off the distribution's way: kOps kubeProxy.enabled: false, RKE2 disable-kube-proxy: true";
        findings.cluster(Grade::Warning, reason, remedy);
        return;
    }
    let has_rules = situation.nodes.values().any(|facts| {
        facts.known().and_then(|it| it.kube_proxy.known()).is_some_and(|it| !it.is_empty())
    });
    if has_rules {
        let reason = "kube-proxy's rules are on the nodes, and there is neither a DaemonSet nor a pod: it is part of another program";
        findings.cluster(
            Grade::Warning,
            reason,
            "switch it off the distribution's way: k3s --disable-kube-proxy",
        );
    } else {
        findings.cluster(Grade::Info, "there is no kube-proxy", "");
    }
}

/// First releases that answer there themselves.
const ANSWERS: &[CalicoVersion] = &[CalicoVersion(3, 30, 4), CalicoVersion(3, 31, 0)];

fn health_port(situation: &Situation<'_>, findings: &mut Findings) {
    let services = match &situation.services {
        Known::Known(services) => services,
        Known::Absent => return,
        Known::Unknown(gap) => return findings.unknown(gap),
    };
    // With policy Local, load balancers ask at a port of the Service's own.
    let asks = |it: &&Value| {
        text(it, "/spec/type") == Some("LoadBalancer")
            && text(it, "/spec/externalTrafficPolicy") != Some("Local")
    };
    let count = services.iter().filter(asks).count();
    let answers = CalicoVersion::of_install(situation).map(|it| it.has_fix(ANSWERS));
    match answers {
        _ if count == 0 => findings.cluster(Grade::Fine, "no load balancer asks there", ""),
        Known::Known(true) => findings.cluster(Grade::Fine, "Felix answers there when kube-proxy is off", ""),
        Known::Known(false) => findings.cluster(
            Grade::Warning,
            format!("{count} Services have a load balancer, some of which ask on port {PORT}, where nobody answers without kube-proxy before v3.30.4"),
            "let the load balancers ask elsewhere, or upgrade Calico, or keep kube-proxy",
        ),
        Known::Absent => {}
        Known::Unknown(gap) => findings.unknown(&gap),
    }
    let Known::Known(pods) = situation.kube_proxy_pods() else { return };
    for (name, facts) in &situation.nodes {
        let Some(facts) = facts.known() else { continue };
        let listens = facts.listeners.known().is_some_and(|it| it.contains(&PORT));
        let known_owner = pods.iter().any(|it| &it.spec.node_name == name)
            || facts.state().known() == Some(&NodeDataPlane::Bpf)
            || facts.kube_proxy.known().is_some_and(|it| !it.is_empty());
        if listens && !known_owner {
            let reason = format!("something that is not kube-proxy listens on port {PORT}");
            findings.node(name, Grade::Warning, reason, "find out what it is; Felix needs the port, or bpfKubeProxyHealthzPort must be another one");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{grade, grade_of_cluster, pod, situation, snapshot, with_section};
    use super::*;

    fn of_mode(mode: &str) -> String {
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        it.kube_proxy_config = Known::Known(json!({"data": {"config.conf": mode}}));
        grade_of_cluster(&it, "ipvs")
    }

    #[test]
    fn the_mode_ipvs_blocks() {
        assert_eq!(of_mode("mode: ipvs\n"), "blocker");
        assert_eq!(of_mode("mode: \"iptables\"\nipvs:\n  strictARP: true\n"), "fine");
        assert_eq!(of_mode("kind: KubeProxyConfiguration\n"), "fine");
        assert_eq!(of_mode("mode: nftables"), "warning");
        assert_eq!(of_mode(": : ["), "unknown");
    }

    #[test]
    fn what_ipvs_left_blocks_and_what_others_have_does_not() {
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        with_section(
            &mut it,
            "node1",
            "ip-link",
            r#"[{"ifname":"eth0"},{"ifname":"kube-ipvs0","linkinfo":{"info_kind":"dummy"}}]"#,
        );
        with_section(&mut it, "node2", "ipvs", "TCP  C0A80001:0050 rr");
        assert_eq!(grade(&it, "ipvs", "node1"), "blocker");
        assert_eq!(grade(&it, "ipvs", "node2"), "info");
    }

    #[test]
    fn those_who_would_bring_it_back_are_named() {
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        let mut of = |metadata: Value| {
            it.kube_proxy = Known::Known(json!({ "metadata": metadata }));
            grade_of_cluster(&it, "kube-proxy-owner")
        };
        assert_eq!(
            of(json!({"labels": {"addonmanager.kubernetes.io/mode": "Reconcile"}})),
            "warning"
        );
        assert_eq!(of(json!({"annotations": {"argocd.argoproj.io/tracking-id": "x"}})), "warning");
        assert_eq!(of(json!({"labels": {"k8s-app": "kube-proxy"}})), "fine");
        assert_eq!(
            of(json!({"annotations": {"deprecated.daemonset.template.generation": "1"}})),
            "fine"
        );
    }

    #[test]
    fn without_a_daemon_set_pods_and_rules_tell() {
        let mut snapshot = snapshot();
        let mut mirrored = pod("kube-system", "kube-proxy-node1", "node1");
        mirrored.metadata.labels.clear();
        mirrored.metadata.annotations.insert("kubernetes.io/config.mirror".into(), "x".into());
        let bare = snapshot.clone();
        snapshot.pods.items.push(mirrored);
        let mut it = situation(&snapshot);
        it.kube_proxy = Known::Absent;
        assert_eq!(grade_of_cluster(&it, "kube-proxy-owner"), "warning");
        let mut it = situation(&bare);
        it.kube_proxy = Known::Absent;
        assert_eq!(grade_of_cluster(&it, "kube-proxy-owner"), "info");
        let rules = ":KUBE-SERVICES - [0:0]\n-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j KUBE-SVC-X";
        with_section(&mut it, "node1", "rules.nft.v4", rules);
        assert_eq!(grade_of_cluster(&it, "kube-proxy-owner"), "warning");
    }

    #[test]
    fn load_balancers_that_ask_are_told_of_older_releases() {
        let mut snapshot = snapshot();
        let mut of = |version: &str, kind: &str, policy: &str| {
            if let Known::Known(install) = &mut snapshot.install {
                install.version = Some(version.to_owned());
            }
            let mut it = situation(&snapshot);
            let spec = json!({"type": kind, "externalTrafficPolicy": policy});
            it.services = Known::Known(vec![json!({ "spec": spec })]);
            grade_of_cluster(&it, "health-port")
        };
        assert_eq!(of("v3.28.4", "LoadBalancer", "Cluster"), "warning");
        assert_eq!(of("v3.28.4", "LoadBalancer", "Local"), "fine");
        assert_eq!(of("v3.28.4", "NodePort", "Cluster"), "fine");
        assert_eq!(of("v3.30.4", "LoadBalancer", "Cluster"), "fine");
    }

    #[test]
    fn a_stranger_on_the_port_is_told() {
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        let listens = "   0: 00000000:2810 00000000:0000 0A 0";
        with_section(&mut it, "node1", "listeners", listens);
        assert_eq!(grade(&it, "health-port", "node1"), "warning");
        let mut with_proxy = snapshot.clone();
        let mut proxy = pod("kube-system", "kube-proxy-abcde", "node1");
        proxy.metadata.labels.insert("k8s-app".into(), "kube-proxy".into());
        with_proxy.pods.items.push(proxy);
        let mut it = situation(&with_proxy);
        with_section(&mut it, "node1", "listeners", listens);
        assert_eq!(grade(&it, "health-port", "node1"), "nothing");
    }
}
