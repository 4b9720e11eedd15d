//! CAL-GRD-010: a disruption budget allows no eviction at the moment.

use super::{Safeguard, Situation, Verdict, judged, movable_pods, told};
use crate::findings::{Code, Evidence};
use crate::snapshot::Gap;

pub(super) const GUARD: Safeguard = Safeguard {
    code: Code("CAL-GRD-010"),
    title: "a disruption budget allows no eviction at the moment",
    explain: "A PodDisruptionBudget with 0 disruptions allowed makes the API server refuse the eviction of its pods. Its owner has the \
last word: scale the workload up, or wait until its pods are healthy. Overriding this guard does not override the budget: \
the eviction is tried until its time is up.",
    run,
};

fn run(situation: &Situation<'_>) -> Verdict {
    judged(evidence(situation))
}

fn evidence(situation: &Situation<'_>) -> Result<Vec<Evidence>, Gap> {
    let budgets = told(&situation.circumstances.budgets)?;
    let mut found = Vec::new();
    for node in &situation.intent.nodes {
        let staying = movable_pods(situation.snapshot, node);
        for pod in staying.into_iter().filter(|pod| !pod.is_terminating()) {
            let holds = budgets.iter().find(|budget| {
                budget.status.disruptions_allowed <= 0
                    && budget.metadata.namespace == pod.metadata.namespace
                    && budget
                        .spec
                        .selector
                        .as_ref()
                        .is_some_and(|it| it.picks(&pod.metadata.labels))
            });
            if let Some(budget) = holds {
                let (namespace, name) = (&budget.metadata.namespace, &budget.metadata.name);
                let source = format!("PodDisruptionBudget {namespace}/{name}");
                let what = format!("allows 0 disruptions; pod {} is on {node}", pod.full_name());
                found.push(Evidence::new(source, what));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Scene, budget, forbidden};
    use crate::snapshot::Known;

    fn scene(allowed: i64, label: &str) -> Scene {
        let mut scene = Scene::new();
        scene.circumstances.budgets = Known::Known(vec![budget(allowed, label)]);
        scene
    }

    #[test]
    fn an_exhausted_budget_blocks() {
        assert_eq!(
            scene(0, "web").says("CAL-GRD-010").unwrap(),
            "PodDisruptionBudget shop/web: allows 0 disruptions; pod shop/web-1 is on node2"
        );
        let mut unseen = Scene::new();
        unseen.circumstances.budgets = forbidden();
        assert_eq!(unseen.says("CAL-GRD-010").unwrap(), "unknown: forbidden");
    }

    #[test]
    fn budgets_of_others_and_such_with_room_do_not() {
        assert_eq!(scene(1, "web").says("CAL-GRD-010"), None);
        assert_eq!(scene(0, "db").says("CAL-GRD-010"), None);
        let mut elsewhere = scene(0, "web");
        elsewhere.snapshot.pods.items[0].spec.node_name = "node1".into();
        assert_eq!(elsewhere.says("CAL-GRD-010"), None);
        let mut namesake = scene(0, "web");
        namesake.snapshot.pods.items[0].metadata.namespace = "other".into();
        assert_eq!(namesake.says("CAL-GRD-010"), None);
        let mut none = scene(0, "web");
        let Known::Known(budgets) = &mut none.circumstances.budgets else { unreachable!() };
        budgets[0].spec.selector = None;
        assert_eq!(none.says("CAL-GRD-010"), None, "it is about no pod");
    }
}
