//! CAL-GRD-014: Calico lives on a node that is to be rid of what it left.

use super::{Safeguard, Situation, Verdict};
use crate::findings::{Code, Evidence};
use crate::residue::lives_on;
use crate::snapshot::Known;

pub(super) const GUARD: Safeguard = Safeguard {
    code: Code("CAL-GRD-014"),
    title: "Calico lives on a node that is to be cleared of leftovers",
    explain: "leftovers --remove takes away everything that is Calico's. On a node where calico-node runs, or may come up at any moment, \
all of that is in use: pods would lose their network. What is stale beside a living Calico is removed by kubectl \
calico-purge node NODE; everything, with pods evicted and calico-node kept off, by kubectl calico-purge node NODE --all-state. \
No flag overrides this guard: whoever wants the same on a living node wants one of these two.",
    run,
};

fn run(situation: &Situation<'_>) -> Verdict {
    let (mut found, mut unknown) = (Vec::new(), None);
    for node in &situation.intent.nodes {
        match lives_on(situation.snapshot, node) {
            Known::Known(true) => {
                found.push(Evidence::new(format!("node {node}"), pod(situation, node)));
            }
            Known::Known(false) | Known::Absent => {}
            Known::Unknown(gap) => unknown = unknown.or(Some(gap)),
        }
    }
    match unknown {
        Some(gap) if found.is_empty() => Verdict::Unknown(gap),
        _ => super::blocked_by(found),
    }
}

fn pod(situation: &Situation<'_>, node: &str) -> String {
    situation
        .snapshot
        .calico_node_on(node)
        .map_or_else(|| "has calico-node".to_owned(), |pod| format!("has pod {}", pod.full_name()))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Scene, pod};

    /// node2 with a pod of calico-node in this phase.
    fn with_agent(phase: &str) -> Scene {
        let mut scene = Scene::new();
        let mut agent = pod("kube-system", "calico-node-x", "node2", "DaemonSet");
        agent.metadata.labels.insert("k8s-app".into(), "calico-node".into());
        agent.status.phase = phase.into();
        scene.snapshot.pods.items.push(agent);
        scene
    }

    fn lacking(scheduled: i64) -> Scene {
        let mut scene = Scene::new();
        let status = &mut scene.snapshot.daemon_sets.items[0].status;
        (status.desired_number_scheduled, status.current_number_scheduled) = (2, scheduled);
        scene
    }

    #[test]
    fn a_living_calico_is_not_cleared_away() {
        let why = with_agent("Running").says("CAL-GRD-014").unwrap();
        assert_eq!(why, "node node2: has pod kube-system/calico-node-x");
        assert!(with_agent("Pending").says("CAL-GRD-014").is_some(), "it starts");
        let about_to = lacking(1).says("CAL-GRD-014").unwrap();
        assert!(
            about_to.starts_with("unknown: ") && about_to.contains("calico-node"),
            "{about_to}"
        );
    }

    #[test]
    fn what_has_ended_or_lives_elsewhere_is_no_objection() {
        assert_eq!(lacking(2).says("CAL-GRD-014"), None);
        let mut ended = with_agent("Failed");
        ended.snapshot.daemon_sets.items[0].status.current_number_scheduled = 2;
        assert_eq!(ended.says("CAL-GRD-014"), None);
        let mut elsewhere = with_agent("Running");
        elsewhere.snapshot.daemon_sets.items[0].status.current_number_scheduled = 2;
        elsewhere.snapshot.pods.items.last_mut().unwrap().spec.node_name = "node1".into();
        assert_eq!(elsewhere.says("CAL-GRD-014"), None);
    }
}
