//! The plan that removes pods: a step per owner, so that what fails is told by whose pods they are.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Flood, Stuck, WhyStuck};
use crate::plan::describe::{counted, number};
use crate::plan::{
    Action, Applicability, Condition, Guard, ObjectRef, Plan, PlanId, PodRef, Step, StepId, Target,
    Undo, Verification,
};

/// So many owners have a step of their own; the pods of all others go in one.
const OWN_STEPS: usize = 30;
/// Seconds until all are gone. A finished pod goes at once, unless a finalizer keeps it.
const WITHIN_SECONDS: u64 = 120;

/// What a plan about pods is made for.
#[derive(Clone, Debug)]
pub struct PodOrder {
    /// Identity of the plan.
    pub id: PlanId,
    /// Program and version.
    pub made_by: String,
    /// The cluster.
    pub target: Target,
    /// When the pods were listed.
    pub taken: Timestamp,
    /// Requests at a time.
    pub max_parallel: u32,
}

impl PodOrder {
    /// A plan of these steps.
    fn plan(self, steps: Vec<Step>) -> Plan {
        Plan {
            id: self.id,
            made_by: self.made_by,
            target: self.target,
            taken: self.taken,
            steps,
            left_out: Vec::new(),
            max_failures: 1,
        }
    }

    fn step(&self, id: String, title: String, pods: Vec<PodRef>, grace: Option<u32>) -> Step {
        let condition = Condition::PodsGone { pods: pods.clone() };
        Step {
            id: StepId(id),
            title,
            node: None,
            action: Action::DeletePods {
                pods,
                grace_seconds: grace,
                max_parallel: self.max_parallel,
            },
            guards: vec![Guard::SameCluster { uid: self.target.cluster_uid.clone() }],
            undo: Undo::Impossible { why: "what a pod still tells goes with it".to_owned() },
            verify: vec![Verification { condition, within_seconds: WITHIN_SECONDS }],
            after: Vec::new(),
            resolves: Vec::new(),
            applicability: Applicability::Ask,
        }
    }
}

/// The plan that removes what of `flood` is not kept, the largest owners first.
pub fn plan_for_floods(order: PodOrder, flood: &Flood) -> Plan {
    let removed = flood.removed();
    let mut owners: Vec<_> = removed.into_iter().collect();
    owners.sort_by(|(a, of_a), (b, of_b)| of_b.len().cmp(&of_a.len()).then(a.cmp(b)));
    let rest = owners.split_off(owners.len().min(OWN_STEPS));
    let owned = |pods: Vec<&PodRef>| pods.into_iter().cloned().collect::<Vec<_>>();
    let mut steps: Vec<Step> = owners
        .into_iter()
        .map(|(owner, pods)| {
            let id = format!("delete-pods/{}/{}/{}", owner.namespace, owner.kind, owner.name);
            order.step(id, format!("finished pods of {}", owner.text()), owned(pods), None)
        })
        .collect();
    if !rest.is_empty() {
        let title = format!("finished pods of {} other owners", number(rest.len()));
        let pods = rest.into_iter().flat_map(|(_, pods)| owned(pods)).collect();
        steps.push(order.step("delete-pods/others".to_owned(), title, pods, None));
    }
    order.plan(steps)
}

/// The plan that forgets the pods whose node is gone, node by node.
pub fn force_deletion_steps(order: PodOrder, stuck: &[Stuck]) -> Plan {
    let mut nodes: BTreeMap<&str, Vec<PodRef>> = BTreeMap::new();
    for it in stuck {
        if it.why == WhyStuck::NodeGone {
            nodes.entry(&it.node).or_default().push(it.pod.clone());
        }
    }
    let steps = nodes.into_iter().map(|(node, pods)| {
        let title = format!("forget {} of node {node}, which is gone", counted(pods.len(), "pod"));
        let mut step = order.step(format!("forget-pods/{node}"), title, pods, Some(0));
        step.node = Some(node.to_owned());
        step.guards.push(Guard::ObjectAbsent { object: node_object(node) });
        step
    });
    let steps = steps.collect();
    order.plan(steps)
}

fn node_object(name: &str) -> ObjectRef {
    ObjectRef {
        group: String::new(),
        version: "v1".to_owned(),
        plural: "nodes".to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::pods::Choice;
    use crate::slim::{OwnerReference, Pod};

    fn order() -> PodOrder {
        PodOrder {
            id: PlanId::new(1, [0; 10]),
            made_by: "test/1".into(),
            target: Target {
                cluster_uid: "c1".into(),
                context: String::new(),
                cluster_name: String::new(),
                server: String::new(),
                user: String::new(),
            },
            taken: Timestamp::UNIX_EPOCH,
            max_parallel: 16,
        }
    }

    fn flood(owners: usize) -> Flood {
        let mut flood = Flood::default();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        for owner in 0..owners {
            for n in 0..=owner {
                let mut pod = Pod::default();
                pod.metadata.namespace = "shop".into();
                pod.metadata.name = format!("web{owner}-{n}");
                pod.metadata.uid = format!("{owner}-{n}");
                pod.metadata.creation_timestamp = Some(Timestamp::UNIX_EPOCH);
                pod.status.phase = "Failed".into();
                pod.metadata.owner_references.push(OwnerReference {
                    kind: "ReplicaSet".into(),
                    name: format!("web{owner}"),
                    controller: true,
                    ..OwnerReference::default()
                });
                flood.add(&pod, &Choice::default(), now);
            }
        }
        flood
    }

    fn pods(step: &Step) -> usize {
        match &step.action {
            Action::DeletePods { pods, .. } => pods.len(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_largest_owner_comes_first_and_every_pod_goes_once() {
        let plan = plan_for_floods(order(), &flood(3));
        assert_eq!(plan.steps.iter().map(pods).collect::<Vec<_>>(), [3, 2, 1]);
        assert_eq!(plan.steps[0].id.0, "delete-pods/shop/ReplicaSet/web2");
        assert_eq!(plan.steps[0].title, "finished pods of ReplicaSet shop/web2");
        assert!(plan.steps.iter().all(|it| !it.guards.is_empty() && !it.verify.is_empty()));
    }

    #[test]
    fn a_thousand_owners_do_not_make_a_thousand_steps() {
        let flood = flood(100);
        let plan = plan_for_floods(order(), &flood);
        assert_eq!(plan.steps.len(), 31);
        assert_eq!(plan.steps[30].title, "finished pods of 70 other owners");
        assert_eq!(plan.steps.iter().map(pods).sum::<usize>(), flood.counts().0);
        let ids: std::collections::BTreeSet<_> = plan.steps.iter().map(|it| &it.id).collect();
        assert_eq!(ids.len(), 31);
    }

    #[test]
    fn pods_are_forgotten_only_where_the_node_is_gone_and_stays_so() {
        let stuck = |name: &str, node: &str, why| Stuck {
            pod: PodRef { namespace: "shop".into(), name: name.into(), uid: name.into() },
            node: node.into(),
            since: Timestamp::UNIX_EPOCH,
            why,
        };
        let all = [
            stuck("a", "n1", WhyStuck::NodeGone),
            stuck("b", "n1", WhyStuck::Finalizers(vec!["x".into()])),
            stuck("c", "n2", WhyStuck::NotFound),
        ];
        let plan = force_deletion_steps(order(), &all);
        assert_eq!(plan.steps.iter().map(pods).collect::<Vec<_>>(), [1]);
        let Action::DeletePods { grace_seconds, .. } = &plan.steps[0].action else { panic!() };
        assert_eq!(*grace_seconds, Some(0));
        let guard = Guard::ObjectAbsent { object: node_object("n1") };
        assert!(plan.steps[0].guards.contains(&guard), "{:?}", plan.steps[0].guards);
    }
}
