//! CAL-GRD-002: no control plane would be left on Calico's network.

use super::{Safeguard, Situation, Verdict};
use crate::findings::{Code, Evidence};
use crate::slim::Node;

/// Labels of control-plane nodes; the second is that of old releases.
const LABELS: [&str; 2] =
    ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

pub(super) const GUARD: Safeguard = Safeguard {
    code: Code("CAL-GRD-002"),
    title: "no other control-plane node would be left",
    explain: "Taking the network off the only control-plane node, or off all of them in one run, leaves the API server \
without the webhooks, the DNS and the metrics that it reaches through the pod network. Take them one by one, each in a run \
of its own, after the other nodes; the last one only when the cluster is given up.",
    run,
};

fn run(situation: &Situation<'_>) -> Verdict {
    let nodes = &situation.snapshot.nodes;
    let mut planes: Vec<&Node> = nodes.items.iter().filter(|it| is_control_plane(it)).collect();
    planes.sort_by_key(|node| &node.metadata.name);
    let stays = |node: &&Node| !situation.intent.nodes.contains(&node.metadata.name);
    let works = |node: &&Node| node.condition("Ready").is_some_and(|ready| ready.status == "True");
    if planes.iter().all(stays) || planes.iter().any(|node| stays(node) && works(node)) {
        // Nodes that were not read may only add to what stays.
        return match &nodes.gap {
            Some(gap) if planes.is_empty() => Verdict::Unknown(gap.clone()),
            _ => Verdict::Pass,
        };
    }
    let line = |node: &&Node| {
        let fate = if stays(node) { "is not Ready" } else { "is to be taken off the network" };
        Evidence::new(format!("control-plane node {}", node.metadata.name), fate)
    };
    Verdict::Block(planes.iter().map(line).collect())
}

/// True for a node that is labelled as one that runs the control plane.
pub fn is_control_plane(node: &Node) -> bool {
    LABELS.iter().any(|label| node.metadata.labels.contains_key(*label))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::Scene;
    use super::*;

    fn scene(planes: &[usize]) -> Scene {
        let mut scene = Scene::new();
        for index in planes {
            let labels = &mut scene.snapshot.nodes.items[*index].metadata.labels;
            labels.insert(LABELS[0].into(), String::new());
        }
        scene
    }

    #[test]
    fn the_last_control_plane_node_keeps_its_network() {
        let why = scene(&[1]).says("CAL-GRD-002").unwrap();
        assert_eq!(why, "control-plane node node2: is to be taken off the network");
        let mut both = scene(&[0, 1]);
        both.snapshot.nodes.items[0].status.conditions[0].status = "False".into();
        assert!(both.says("CAL-GRD-002").unwrap().contains("node1: is not Ready"));
    }

    #[test]
    fn a_worker_and_one_of_two_may_go() {
        assert_eq!(scene(&[0]).says("CAL-GRD-002"), None);
        assert_eq!(scene(&[0, 1]).says("CAL-GRD-002"), None);
        assert_eq!(scene(&[]).says("CAL-GRD-002"), None, "a managed control plane is no node");
        let mut dead = scene(&[0]);
        dead.snapshot.nodes.items[0].status.conditions[0].status = "Unknown".into();
        assert_eq!(dead.says("CAL-GRD-002"), None, "it is not ours that harms it");
    }
}
