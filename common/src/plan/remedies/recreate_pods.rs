//! Deletes pods that cannot recover, so that their owner makes them anew.

use super::Case;
use super::host_step::kubelet_answers;
use super::need::Need;
use crate::plan::{
    Action, Applicability, Condition, Guard, ObjectRef, Step, StepId, Undo, Verification,
};
use crate::slim::{OwnerReference, Pod};

/// Seconds that a pod may take to go: its grace period, usually 30 s, and its teardown.
const GONE_SECONDS: u64 = 120;

/// A step for each pod that the findings name and that its owner makes anew.
pub(super) fn steps(case: &Case<'_>, need: &Need<'_>) -> Result<Vec<Step>, String> {
    let named = |pod: &&Pod| need.hanging.iter().any(|it| it.uid == pod.metadata.uid);
    let pods: Vec<&Pod> = case.snapshot.pods.items.iter().filter(named).collect();
    of_pods(case, need, &pods)
}

/// A step for each of these pods. One that nobody would make anew makes this fail: to delete it is a person's decision.
pub(super) fn of_pods(
    case: &Case<'_>,
    need: &Need<'_>,
    pods: &[&Pod],
) -> Result<Vec<Step>, String> {
    kubelet_answers(case.snapshot, need.node)?;
    let mut pods = pods.to_vec();
    pods.sort_by_key(|pod| pod.full_name());
    pods.iter()
        .map(|pod| {
            let owner = pod.metadata.controller().and_then(|owner| owner_of(pod, owner));
            let owner = owner.ok_or_else(|| {
                format!("pod {} has no owner that would make it anew", pod.full_name())
            })?;
            Ok(step(case, need, pod, owner))
        })
        .collect()
}

/// The workload that makes pods anew; a Job counts a deleted pod as a failure, and is left alone.
fn owner_of(pod: &Pod, owner: &OwnerReference) -> Option<Guard> {
    let plural = match (owner.api_version.as_str(), owner.kind.as_str()) {
        ("apps/v1", "ReplicaSet") => "replicasets",
        ("apps/v1", "StatefulSet") => "statefulsets",
        ("apps/v1", "DaemonSet") => "daemonsets",
        _ => return None,
    };
    let object = ObjectRef {
        group: "apps".to_owned(),
        version: "v1".to_owned(),
        plural: plural.to_owned(),
        namespace: pod.metadata.namespace.clone(),
        name: owner.name.clone(),
    };
    Some(Guard::OwnerExists { object, uid: owner.uid.clone() })
}

fn step(case: &Case<'_>, need: &Need<'_>, pod: &Pod, owner: Guard) -> Step {
    let uid = || pod.metadata.uid.clone();
    let object = ObjectRef {
        group: String::new(),
        version: "v1".to_owned(),
        plural: "pods".to_owned(),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
    };
    let gone = Condition::ObjectGone { object: object.clone(), uid: uid() };
    Step {
        id: StepId(format!("recreate-pod/{}", pod.full_name())),
        title: format!("delete pod {}, which cannot recover, on {}", pod.full_name(), need.node),
        node: Some(need.node.to_owned()),
        action: Action::Delete { object: object.clone(), uid: uid() },
        guards: vec![
            Guard::SameCluster { uid: case.target.cluster_uid.clone() },
            Guard::SameUid { object, uid: uid() },
            owner,
        ],
        undo: Undo::NotNeeded { why: "its owner makes it anew".to_owned() },
        verify: vec![Verification { condition: gone, within_seconds: GONE_SECONDS }],
        after: Vec::new(),
        resolves: need.resolves(),
        applicability: Applicability::Ask,
    }
}
