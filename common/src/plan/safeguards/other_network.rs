//! CAL-GRD-003: another network plugin is in the cluster.

use super::{Safeguard, Situation, Verdict, judged, told};
use crate::findings::{Code, Evidence};
use crate::snapshot::{Gap, NetworkConfiguration};

pub(super) const GUARD: Safeguard = Safeguard {
    code: Code("CAL-GRD-003"),
    title: "another network plugin is there",
    explain: "Where another plugin's configuration lies on the node, or its agent runs in the cluster, that plugin becomes the pod \
network at the moment Calico's configuration goes, or it is the pod network already. If that is what you want (you are \
moving to it), make sure that it works on another node first, then override this guard. A leftover of it is removed from the \
node's CNI configuration directory by its own tools.",
    run,
};

/// DaemonSets of network plugins, by the names that their own installers give them.
const AGENTS: [&str; 16] = [
    "antrea-agent",
    "aws-node",
    "azure-cns",
    "cilium",
    "flannel",
    "kilo",
    "kube-flannel",
    "kube-flannel-ds",
    "kube-ovn-cni",
    "kube-router",
    "kindnet",
    "ovn-kubernetes",
    "ovnkube-node",
    "romana-agent",
    "spiderpool-agent",
    "weave-net",
];

fn run(situation: &Situation<'_>) -> Verdict {
    judged(evidence(situation))
}

fn evidence(situation: &Situation<'_>) -> Result<Vec<Evidence>, Gap> {
    let mut found = Vec::new();
    let mut unknown = None;
    match told(&situation.circumstances.daemon_sets) {
        Ok(sets) => found.extend(
            sets.iter()
                .filter(|set| AGENTS.contains(&set.metadata.name.as_str()))
                .filter(|set| set.status.desired_number_scheduled > 0)
                .map(|set| {
                    let (namespace, name) = (&set.metadata.namespace, &set.metadata.name);
                    Evidence::new(format!("DaemonSet {namespace}/{name}"), "runs a network plugin")
                }),
        ),
        Err(gap) => unknown = Some(gap),
    }
    for node in &situation.intent.nodes {
        let facts = situation.snapshot.host(node);
        match facts.and_then(|it| it.conflists.as_ref()) {
            crate::snapshot::Known::Known(files) => {
                found.extend(files.iter().filter_map(|file| foreign(node, file)));
            }
            crate::snapshot::Known::Absent => {}
            crate::snapshot::Known::Unknown(gap) => unknown = unknown.or(Some(gap)),
        }
    }
    found.sort_by(|a, b| a.source.cmp(&b.source));
    match unknown {
        Some(gap) if found.is_empty() => Err(gap),
        _ => Ok(found),
    }
}

/// A configuration that the runtime would use once Calico's is gone. Multus has a guard of its own.
fn foreign(node: &str, file: &NetworkConfiguration) -> Option<Evidence> {
    let delegates = !file.delegates.is_empty();
    let loopback = !file.plugins.is_empty() && file.plugins.iter().all(|it| it == "loopback");
    if file.is_calico() || file.is_own() || delegates || loopback {
        return None;
    }
    let what = if file.plugins.is_empty() {
        "is a network configuration".to_owned()
    } else {
        format!("calls {}", file.plugins.join(", "))
    };
    Some(Evidence::new(format!("{node}: {}", file.file), what))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{CALICO, Scene, daemon_set, forbidden};
    use crate::snapshot::Known;

    const OTHER: &str =
        r#"{"name":"cilium","cniVersion":"0.3.1","plugins":[{"type":"cilium-cni"}]}"#;

    fn scene(files: &[(&str, &str)]) -> Scene {
        let mut scene = Scene::new();
        scene.host(files);
        scene
    }

    #[test]
    fn another_plugins_configuration_or_agent_blocks() {
        let before = scene(&[("05-cilium.conflist", OTHER), CALICO]).says("CAL-GRD-003").unwrap();
        assert_eq!(before, "node2: 05-cilium.conflist: calls cilium-cni");
        assert!(scene(&[CALICO, ("99-x.conf", OTHER)]).says("CAL-GRD-003").is_some(), "it is next");
        let mut agent = scene(&[CALICO]);
        let sets = vec![daemon_set("kube-system", "cilium")];
        agent.circumstances.daemon_sets = Known::Known(sets);
        assert!(agent.says("CAL-GRD-003").unwrap().contains("kube-system/cilium"));
    }

    #[test]
    fn what_no_runtime_would_use_does_not() {
        let loopback = r#"{"name":"lo","plugins":[{"type":"loopback"}]}"#;
        let quiet = [
            CALICO,
            ("00-kubectl-calico-x.conflist", loopback),
            ("05-cilium.conflist.cilium_bak", OTHER),
            ("99-loopback.conf", r#"{"type":"loopback"}"#),
            ("README.txt", "x"),
        ];
        let mut scene = Scene::new();
        // Files that a runtime would not load are no configurations.
        scene.host(&[quiet[0], quiet[1], quiet[3]]);
        assert_eq!(scene.says("CAL-GRD-003"), None);
        let mut gone = Scene::new();
        gone.host(&[CALICO]);
        let mut set = daemon_set("kube-system", "cilium");
        set.status.desired_number_scheduled = 0;
        gone.circumstances.daemon_sets = Known::Known(vec![set]);
        assert_eq!(gone.says("CAL-GRD-003"), None, "it runs nowhere");
    }

    #[test]
    fn an_unseen_node_blocks() {
        assert!(Scene::new().says("CAL-GRD-003").unwrap().starts_with("unknown: "));
        let mut scene = scene(&[CALICO]);
        scene.circumstances.daemon_sets = forbidden();
        assert_eq!(scene.says("CAL-GRD-003").unwrap(), "unknown: forbidden");
    }
}
