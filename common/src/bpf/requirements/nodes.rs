//! What the nodes must be: Linux, ready, and of one version of Calico.

use std::collections::{BTreeMap, BTreeSet};

use super::{Findings, Grade, Requirement, Situation};
use crate::bpf::is_windows;
use crate::slim::Node;
use crate::snapshot::Known;

/// Nodes of both kinds in one cluster are not supported.
pub(super) static OPERATING_SYSTEM: Requirement = Requirement {
    id: "operating-system",
    title: "nodes that run Linux",
    essential: true,
    judge: operating_system,
};

/// A rollout waits for nodes that are not.
pub(super) static READY: Requirement = Requirement {
    id: "nodes-ready",
    title: "nodes that are Ready",
    essential: false,
    judge: ready,
};

/// An upgrade and a change of the data plane at once cannot be told apart.
pub(super) static ONE_VERSION: Requirement = Requirement {
    id: "one-version",
    title: "one version of calico-node on all nodes",
    essential: false,
    judge: one_version,
};

fn all<'s>(situation: &'s Situation<'_>, findings: &mut Findings) -> &'s [Node] {
    match situation.snapshot.nodes.get() {
        Known::Known(_) if situation.snapshot.nodes.is_whole() => &situation.snapshot.nodes.items,
        Known::Unknown(gap) => {
            findings.unknown(&gap);
            &[]
        }
        _ => {
            let why = "not all nodes were read";
            let gap = situation.snapshot.nodes.gap.clone().unwrap_or_else(|| {
                crate::snapshot::Gap::new(
                    "cluster/nodes.json",
                    crate::snapshot::GapReason::NotAsked,
                    why,
                )
            });
            findings.unknown(&gap);
            &[]
        }
    }
}

fn operating_system(situation: &Situation<'_>, findings: &mut Findings) {
    for node in all(situation, findings) {
        let name = &node.metadata.name;
        if is_windows(node) {
            let reason =
                "this node runs Windows, and eBPF is not supported in clusters with such nodes";
            findings.node(
                name,
                Grade::Blocker,
                reason,
                "take the node out of the cluster, or stay with iptables",
            );
        } else {
            findings.node(name, Grade::Fine, "Linux", "");
        }
    }
}

fn ready(situation: &Situation<'_>, findings: &mut Findings) {
    let nodes = all(situation, findings);
    for node in nodes.iter().filter(|it| !is_windows(it)) {
        let name = &node.metadata.name;
        if node.condition("Ready").is_some_and(|it| it.status == "True") {
            findings.node(name, Grade::Fine, "it is Ready", "");
        } else {
            let reason =
                "it is not Ready: calico-node's rollout waits for it, and it cannot be verified";
            findings.node(
                name,
                Grade::Blocker,
                reason,
                "repair the node, or take it out of the cluster",
            );
        }
    }
    if nodes.len() == 1 {
        let reason = "there is one node: what goes wrong there goes wrong everywhere";
        findings.cluster(Grade::Info, reason, "");
    }
}

fn one_version(situation: &Situation<'_>, findings: &mut Findings) {
    let pods = match situation.snapshot.pods.get() {
        Known::Known(_) => situation.snapshot.calico_node_pods(),
        Known::Absent => {
            let why = "pods were not read";
            let gap = crate::snapshot::Gap::new(
                "cluster/pods.json",
                crate::snapshot::GapReason::NotAsked,
                why,
            );
            return findings.unknown(&gap);
        }
        Known::Unknown(gap) => return findings.unknown(&gap),
    };
    let mut images: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for pod in pods.filter(|it| !it.is_finished() && !it.is_terminating()) {
        let container = pod.spec.containers.iter().find(|it| it.name == "calico-node");
        if let Some(container) = container {
            images.entry(&container.image).or_default().insert(&pod.spec.node_name);
        }
    }
    match images.len() {
        0 => findings.cluster(
            Grade::Warning,
            "no pod of calico-node is there",
            "install Calico first",
        ),
        1 => findings.cluster(Grade::Fine, images.keys().next().copied().unwrap_or_default(), ""),
        _ => {
            let count = |(image, nodes): (&&str, &BTreeSet<&str>)| {
                format!("{image} on {} nodes", nodes.len())
            };
            let listed: Vec<String> = images.iter().map(count).collect();
            let reason = format!(
                "calico-node runs as {}: an upgrade is under way, or was left half done",
                listed.join(", ")
            );
            findings.cluster(Grade::Warning, reason, "finish the upgrade first");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{grade, grade_of_cluster, node, situation, snapshot};

    #[test]
    fn nodes_with_windows_block() {
        let mut by_label = snapshot();
        let mut third = node("node3", "10.0.0.3");
        third.status.node_info.operating_system = String::new();
        third.metadata.labels.insert("kubernetes.io/os".into(), "windows".into());
        by_label.nodes.items.push(third);
        let it = situation(&by_label);
        assert_eq!(grade(&it, "operating-system", "node3"), "blocker");
        assert_eq!(grade(&it, "operating-system", "node1"), "fine");
        assert_eq!(grade(&it, "nodes-ready", "node3"), "nothing");
        let mut by_kubelet = snapshot();
        by_kubelet.nodes.items[0].status.node_info.operating_system = "windows".into();
        assert_eq!(grade(&situation(&by_kubelet), "operating-system", "node1"), "blocker");
        let mut other_label = snapshot();
        let labels = &mut other_label.nodes.items[0].metadata.labels;
        labels.insert("example.org/os".into(), "windows".into());
        assert_eq!(grade(&situation(&other_label), "operating-system", "node1"), "fine");
    }

    #[test]
    fn nodes_that_are_not_ready_block() {
        let mut snapshot = snapshot();
        snapshot.nodes.items[0].status.conditions[0].status = "Unknown".into();
        snapshot.nodes.items[1].spec.unschedulable = true;
        let it = situation(&snapshot);
        assert_eq!(grade(&it, "nodes-ready", "node1"), "blocker");
        assert_eq!(grade(&it, "nodes-ready", "node2"), "fine", "a cordoned node is Ready");
        assert_eq!(grade_of_cluster(&it, "nodes-ready"), "nothing");
    }

    #[test]
    fn two_versions_warn() {
        let mut snapshot = snapshot();
        snapshot.pods.items[0].spec.containers[0].image = "docker.io/calico/node:v3.27.0".into();
        assert_eq!(grade_of_cluster(&situation(&snapshot), "one-version"), "warning");
        snapshot.pods.items[0].status.phase = "Failed".into();
        assert_eq!(
            grade_of_cluster(&situation(&snapshot), "one-version"),
            "fine",
            "an evicted one"
        );
    }
}
