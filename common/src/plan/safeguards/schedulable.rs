//! CAL-GRD-001: the pods would have nowhere to go.

use super::{Safeguard, Situation, Verdict, movable_pods};
use crate::findings::{Code, Evidence};
use crate::slim::Node;

pub(super) const GUARD: Safeguard = Safeguard {
    code: Code("CAL-GRD-001"),
    title: "no other node would take the pods",
    explain: "Pods are evicted before Calico leaves a node. When no other node is Ready, without a cordon and without a \
taint that keeps ordinary pods away, they stay Pending until one is. Bring another node up, or uncordon one.",
    run,
};

fn run(situation: &Situation<'_>) -> Verdict {
    let nodes = &situation.snapshot.nodes;
    let others: Vec<&Node> = nodes
        .items
        .iter()
        .filter(|it| !situation.intent.nodes.contains(&it.metadata.name))
        .collect();
    if others.iter().any(|node| obstacle(node).is_none()) {
        return Verdict::Pass;
    }
    if let Some(gap) = &nodes.gap {
        return Verdict::Unknown(gap.clone());
    }
    let why = |node: &&Node| {
        Evidence::new(format!("node {}", node.metadata.name), obstacle(node).unwrap_or_default())
    };
    let mut evidence: Vec<Evidence> = others.iter().map(why).collect();
    let moving = situation.intent.nodes.iter();
    let pods: usize = moving.map(|node| movable_pods(situation.snapshot, node).len()).sum();
    let count = if pods == 1 { "1 pod".to_owned() } else { format!("{pods} pods") };
    evidence.push(Evidence::new("to be evicted", count));
    Verdict::Block(evidence)
}

/// Why the node takes no ordinary pod.
fn obstacle(node: &Node) -> Option<String> {
    if node.metadata.deletion_timestamp.is_some() {
        return Some("is being deleted".to_owned());
    }
    if node.spec.unschedulable {
        return Some("is cordoned".to_owned());
    }
    if node.condition("Ready").is_none_or(|it| it.status != "True") {
        return Some("is not Ready".to_owned());
    }
    let keeps_away = |effect: &str| matches!(effect, "NoSchedule" | "NoExecute");
    let taint = node.spec.taints.iter().find(|it| keeps_away(&it.effect))?;
    Some(format!("has taint {}:{}", taint.key, taint.effect))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::Scene;
    use super::*;
    use crate::slim::Taint;

    fn says(change: impl Fn(&mut Node)) -> Option<String> {
        let mut scene = Scene::new();
        change(&mut scene.snapshot.nodes.items[0]);
        scene.says("CAL-GRD-001")
    }

    fn taint(effect: &str) -> Taint {
        Taint { key: "dedicated".into(), effect: effect.into() }
    }

    #[test]
    fn the_only_node_that_takes_pods_is_not_emptied() {
        let cordoned = says(|it| it.spec.unschedulable = true).unwrap();
        assert_eq!(cordoned, "node node1: is cordoned\nto be evicted: 1 pod");
        assert!(says(|it| it.status.conditions[0].status = "Unknown".into()).is_some());
        assert!(says(|it| it.spec.taints.push(taint("NoSchedule"))).unwrap().contains("dedicated"));
        let mut scene = Scene::new();
        scene.intent.nodes.insert("node1".into());
        assert!(scene.says("CAL-GRD-001").is_some(), "all nodes at once");
    }

    #[test]
    fn another_node_that_takes_pods_is_enough() {
        assert_eq!(says(|_| {}), None);
        assert_eq!(says(|it| it.spec.taints.push(taint("PreferNoSchedule"))), None);
        let mut scene = Scene::new();
        scene.snapshot.nodes.items[1].spec.unschedulable = true;
        assert_eq!(scene.says("CAL-GRD-001"), None, "the node itself may be cordoned");
    }
}
