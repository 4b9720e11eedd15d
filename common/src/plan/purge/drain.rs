//! Takes the pods with a pod network off a node, and lets others in again at the end.

use serde_json::{Value, json};

use super::all_state::EVICTION_SECONDS;
use super::{Case, within};
use crate::calico::names::CORDONED_ANNOTATION;
use crate::plan::safeguards::{daemon_pods, movable_pods};
use crate::plan::{
    Action, Condition, DEFAULT_PARALLEL, HostOperation, JsonPatch, PodRef, SandboxRef, Step, Undo,
    pointer,
};
use crate::slim::Pod;
use crate::snapshot::{Known, Sandbox};

/// Seconds that a change of an object may take to be seen.
const SEEN_SECONDS: u64 = 30;
/// Seconds that the kubelet may take to give up pods whose sandboxes are gone.
const GONE_SECONDS: u64 = 150;

/// Whether the node is ours to uncordon: not when somebody else cordoned it.
fn is_ours(case: &Case<'_>) -> bool {
    let cordoned = case.node.metadata.annotations.contains_key(CORDONED_ANNOTATION);
    !case.node.spec.unschedulable || cordoned
}

fn paths() -> (String, String) {
    let annotation = pointer(&["metadata", "annotations", CORDONED_ANNOTATION]);
    (pointer(&["spec", "unschedulable"]), annotation)
}

fn run(case: &Case<'_>) -> Value {
    json!(case.leaving.run.0)
}

/// True when pods with a network are left on the node, or our cordon is. What waits for a network has no ready sandbox.
pub(super) fn is_begun(case: &Case<'_>) -> bool {
    case.node.metadata.annotations.contains_key(CORDONED_ANNOTATION)
        || !movable_pods(case.leaving.snapshot, case.name()).is_empty()
        || with_network(case).iter().any(|it| it.ready)
}

/// No new pods; nothing when somebody else cordoned the node.
pub(super) fn cordon(case: &Case<'_>) -> Option<Step> {
    if !is_ours(case) {
        return None;
    }
    let (cordon, annotation) = paths();
    let before = case.node.spec.unschedulable.then_some(json!(true));
    let noted = case.node.metadata.annotations.get(CORDONED_ANNOTATION).map(|it| json!(it));
    let patch = JsonPatch::default().change(&cordon, before, Some(json!(true))).change(
        &annotation,
        noted,
        Some(run(case)),
    );
    let undo = released(case);
    let (uid, object) = (|| case.node.metadata.uid.clone(), || case.object());
    let action = Action::Patch { object: object(), uid: uid(), patch, subresource: None };
    let node = case.name().to_owned();
    Some(Step {
        title: format!("cordon {node}"),
        undo: Undo::Patch { object: object(), uid: uid(), patch: undo, subresource: None },
        verify: vec![within(SEEN_SECONDS, Condition::NodeSchedulable { node, is: false })],
        ..case.step("cordon", "cordon", action)
    })
}

/// Takes our cordon away.
fn released(case: &Case<'_>) -> JsonPatch {
    let (cordon, annotation) = paths();
    JsonPatch::default().change(&cordon, Some(json!(true)), None).change(
        &annotation,
        Some(run(case)),
        None,
    )
}

/// Pods again, when it was us who kept them away.
pub(super) fn uncordon(case: &Case<'_>) -> Option<Step> {
    if !is_ours(case) {
        return None;
    }
    let (object, uid) = (case.object(), case.node.metadata.uid.clone());
    let action = Action::Patch { object, uid, patch: released(case), subresource: None };
    let node = case.name().to_owned();
    Some(Step {
        title: format!("uncordon {node}"),
        undo: Undo::NotNeeded { why: "the node was not cordoned before the run".to_owned() },
        verify: vec![within(SEEN_SECONDS, Condition::NodeSchedulable { node, is: true })],
        ..case.step("uncordon", "uncordon", action)
    })
}

/// Pods that another node may run instead.
pub(super) fn evict(case: &Case<'_>) -> Option<Step> {
    let moving = movable_pods(case.leaving.snapshot, case.name());
    let pods: Vec<PodRef> = moving.iter().map(|pod| reference(pod)).collect();
    if pods.is_empty() {
        return None;
    }
    let lost = moving.iter().filter(|pod| pod.metadata.controller().is_none()).count();
    let undo = match lost {
        0 => Undo::NotNeeded { why: "their controllers make them anew".to_owned() },
        _ => Undo::Impossible { why: "pods without a controller are not made anew".to_owned() },
    };
    let action =
        Action::Evict { pods: pods.clone(), grace_seconds: None, within_seconds: EVICTION_SECONDS };
    let verify = vec![within(EVICTION_SECONDS, Condition::PodsGone { pods })];
    Some(Step { undo, verify, ..case.step("evict", "evict the pods", action) })
}

/// Seconds that pods of DaemonSets get to stop at most, where their own spec gives them more: the node has no network by then.
const DAEMON_GRACE_SECONDS: u32 = 120;
/// Seconds on top of that until it is seen.
const STOPPED_SECONDS: u64 = 30;

/// Pods that their DaemonSet puts back at once: they wait in `ContainerCreating` until the node has a network again. Without
/// Calico's configuration they cannot be gone before their sandboxes are: [`free_sandboxes`] promises that.
pub(super) fn delete_daemon_pods(case: &Case<'_>) -> Option<Step> {
    let pods = of_daemon_sets(case);
    if pods.is_empty() {
        return None;
    }
    let action = Action::DeletePods {
        pods: pods.clone(),
        grace_seconds: None,
        max_parallel: DEFAULT_PARALLEL,
    };
    let why = "their DaemonSets make them anew; they wait in ContainerCreating for a network";
    let at_most_seconds = DAEMON_GRACE_SECONDS;
    let stopped = Condition::PodsStopped { pods: pods.clone(), at_most_seconds };
    Some(Step {
        undo: Undo::NotNeeded { why: why.to_owned() },
        verify: vec![
            within(SEEN_SECONDS, Condition::PodsEnding { pods }),
            within(u64::from(at_most_seconds) + STOPPED_SECONDS, stopped),
        ],
        ..case.step("delete-daemon-pods", "delete pods of DaemonSets", action)
    })
}

fn of_daemon_sets(case: &Case<'_>) -> Vec<PodRef> {
    daemon_pods(case.leaving.snapshot, case.name()).into_iter().map(reference).collect()
}

/// Sandboxes of all pods with a pod network that are left by then.
pub(super) fn free_sandboxes(case: &Case<'_>) -> Option<Step> {
    let sandboxes = sandboxes(case);
    if sandboxes.is_empty() {
        return None;
    }
    let node = || case.name().to_owned();
    let ids = sandboxes.iter().map(|it| it.id.clone()).collect();
    let operation = HostOperation::RemoveSandboxes { sandboxes, loopback: true };
    let mut verify = vec![within(GONE_SECONDS, Condition::SandboxesGone { node: node(), ids })];
    let pods = of_daemon_sets(case);
    if !pods.is_empty() {
        verify.push(within(GONE_SECONDS, Condition::PodsGone { pods }));
    }
    let action = Action::OnHost { node: node(), operation };
    let why = "their pods are gone, or wait for a network".to_owned();
    let title = "stop and remove sandboxes that are left";
    Some(Step {
        undo: Undo::NotNeeded { why },
        verify,
        ..case.step("free-sandboxes", title, action)
    })
}

/// Of pods that the API server knows: a static pod's sandbox carries another uid, and a pod on the host's network needs none.
fn with_network<'a>(case: &Case<'a>) -> Vec<&'a Sandbox> {
    let snapshot = case.leaving.snapshot;
    let has_network = |uid: &str| {
        snapshot.pods.items.iter().any(|pod| {
            pod.metadata.uid == uid && pod.spec.node_name == case.name() && !pod.spec.host_network
        })
    };
    match snapshot.host(case.name()).and_then(|host| host.sandboxes.as_ref()) {
        Known::Known(listed) => listed.iter().filter(|it| has_network(&it.uid)).collect(),
        Known::Absent | Known::Unknown(_) => Vec::new(),
    }
}

fn sandboxes(case: &Case<'_>) -> Vec<SandboxRef> {
    let reference = |it: &Sandbox| SandboxRef {
        id: it.id.clone(),
        namespace: it.namespace.clone(),
        name: it.name.clone(),
        uid: it.uid.clone(),
        ready: true,
    };
    let mut sandboxes: Vec<SandboxRef> = with_network(case).into_iter().map(reference).collect();
    sandboxes.sort();
    sandboxes
}

pub(super) fn reference(pod: &Pod) -> PodRef {
    PodRef {
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
    }
}
