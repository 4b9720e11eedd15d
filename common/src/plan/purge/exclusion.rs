//! Keeps calico-node off nodes: once for the cluster its DaemonSet is told to keep off nodes with our label, and each node gets
//! that label. Update strategy OnDelete keeps its pods on all other nodes as they are.

use serde_json::{Value, json};

use super::{Case, Leaving, step, within};
use crate::calico::names::EXCLUDED_LABEL;
use crate::plan::safeguards::{NodeAgent, excluded_affinity};
use crate::plan::{Action, Condition, JsonPatch, ObjectRef, PodRef, Step, Undo, pointer};
use crate::snapshot::Known;

/// Annotation of DaemonSet calico-node: the runs that keep it off nodes, in the order in which they began. A run takes back the
/// change only while no later one needs it.
const RUNS: &str = "kubectl-calico/excluded-by";
/// Annotation of DaemonSet calico-node: its update strategy before the first of them.
const STRATEGY: &str = "kubectl-calico/update-strategy";
/// What stands in [`STRATEGY`] when it had none.
const NONE: &str = "null";

/// Seconds that calico-node may take to end: its own grace, and the kubelet's pauses.
const GONE_SECONDS: u64 = 120;
/// Seconds that a change of an object may take to be seen.
const SEEN_SECONDS: u64 = 30;

/// The change of the DaemonSet; none when there is no DaemonSet, or when it keeps off already and the change is not ours.
pub(super) fn keep_off(leaving: &Leaving<'_>) -> Option<Step> {
    let agent = leaving.circumstances.node_agent.known()?;
    let runs = agent.metadata.annotations.get(RUNS);
    if agent.keeps_off_excluded() && runs.is_none() {
        return None;
    }
    let object = ObjectRef {
        group: "apps".to_owned(),
        version: "v1".to_owned(),
        plural: "daemonsets".to_owned(),
        namespace: agent.metadata.namespace.clone(),
        name: agent.metadata.name.clone(),
    };
    let uid = || agent.metadata.uid.clone();
    let (patch, undo) = match runs {
        Some(runs) if is_needed_by_others(leaving) => join(leaving, runs),
        _ => change(leaving, agent),
    };
    let title = format!("keep {} off nodes with label {EXCLUDED_LABEL}", agent.metadata.name);
    let action = Action::Patch {
        object: object.clone(),
        uid: uid(),
        patch: patch.clone(),
        subresource: None,
    };
    let done = Condition::Patched { object: object.clone(), uid: uid(), patch };
    Some(Step {
        undo: Undo::Patch { object, uid: uid(), patch: undo, subresource: None },
        verify: vec![within(SEEN_SECONDS, done)],
        ..step(leaving, "keep-off/calico-node", &title, action)
    })
}

/// Whether a node that this plan does not touch is kept off by an earlier run.
fn is_needed_by_others(leaving: &Leaving<'_>) -> bool {
    let is_touched = |name: &str| leaving.nodes.iter().any(|(node, _)| node == name);
    leaving.snapshot.nodes.items.iter().any(|node| {
        node.metadata.labels.contains_key(EXCLUDED_LABEL) && !is_touched(&node.metadata.name)
    })
}

/// The whole change, and its inverse. What an earlier run changed, which needs it no more, is taken over.
fn change(leaving: &Leaving<'_>, agent: &NodeAgent) -> (JsonPatch, JsonPatch) {
    let annotation = |key: &str| agent.metadata.annotations.get(key);
    let is_ours = annotation(RUNS).is_some();
    let before = match annotation(STRATEGY).and_then(|it| serde_json::from_str(it).ok()) {
        Some(Value::Null) => None,
        Some(kept) => Some(kept),
        None => agent.update_strategy.clone(),
    };
    let affinity_before =
        if is_ours { without_exclusion(agent.affinity.as_ref()) } else { agent.affinity.clone() };
    let affinity = excluded_affinity(agent.affinity.as_ref());
    let on_delete = json!({ "type": "OnDelete" });
    let kept = before.as_ref().map_or_else(|| NONE.to_owned(), Value::to_string);
    // From, to, and what stood there before any run of ours.
    let changes: [(String, Option<Value>, Value, Option<Value>); 4] = [
        (
            pointer(&["metadata", "annotations", STRATEGY]),
            annotation(STRATEGY).map(|it| json!(it)),
            json!(kept),
            None,
        ),
        (
            pointer(&["metadata", "annotations", RUNS]),
            annotation(RUNS).map(|it| json!(it)),
            json!(leaving.run.0),
            None,
        ),
        (pointer(&["spec", "updateStrategy"]), agent.update_strategy.clone(), on_delete, before),
        (
            pointer(&["spec", "template", "spec", "affinity"]),
            agent.affinity.clone(),
            affinity,
            affinity_before,
        ),
    ];
    let (mut patch, mut undo) = (JsonPatch::default(), JsonPatch::default());
    for (path, from, to, at_first) in changes {
        undo = undo.change(&path, Some(to.clone()), at_first);
        patch = patch.change(&path, from, Some(to));
    }
    (patch, undo)
}

/// Only adds this run to those that need the change.
fn join(leaving: &Leaving<'_>, runs: &str) -> (JsonPatch, JsonPatch) {
    let path = pointer(&["metadata", "annotations", RUNS]);
    let (before, after) = (json!(runs), json!(format!("{runs},{}", leaving.run)));
    let patch = JsonPatch::default().change(&path, Some(before.clone()), Some(after.clone()));
    (patch, JsonPatch::default().change(&path, Some(after), Some(before)))
}

/// The affinity without what [`excluded_affinity`] added.
fn without_exclusion(affinity: Option<&Value>) -> Option<Value> {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let mut affinity = affinity?.clone();
    let terms = affinity.pointer_mut(&pointer(&["nodeAffinity", REQUIRED, "nodeSelectorTerms"]));
    if let Some(terms) = terms.and_then(Value::as_array_mut) {
        for term in terms.iter_mut() {
            let empty = match term["matchExpressions"].as_array_mut() {
                Some(all) => {
                    all.retain(|it| it["key"] != EXCLUDED_LABEL);
                    all.is_empty()
                }
                None => false,
            };
            if let (true, Some(term)) = (empty, term.as_object_mut()) {
                term.remove("matchExpressions");
            }
        }
        terms.retain(|term| term.as_object().is_some_and(|it| !it.is_empty()));
        if terms.is_empty() {
            remove(&mut affinity, &["nodeAffinity"], REQUIRED);
        }
    }
    if affinity["nodeAffinity"].as_object().is_some_and(serde_json::Map::is_empty) {
        remove(&mut affinity, &[], "nodeAffinity");
    }
    affinity.as_object().is_some_and(|it| !it.is_empty()).then_some(affinity)
}

fn remove(object: &mut Value, at: &[&str], key: &str) {
    if let Some(object) = object.pointer_mut(&pointer(at)).and_then(Value::as_object_mut) {
        object.remove(key);
    }
}

/// The node's label, and calico-node's end there. Nothing when Calico has no DaemonSet any more.
pub(super) fn exclude(case: &Case<'_>) -> Option<Step> {
    case.leaving.circumstances.node_agent.known()?;
    let path = pointer(&["metadata", "labels", EXCLUDED_LABEL]);
    let before = case.node.metadata.labels.get(EXCLUDED_LABEL).map(|it| json!(it));
    let label = || Some(json!(case.leaving.run.0));
    let patch = JsonPatch::default().change(&path, before, label());
    let undo = JsonPatch::default().change(&path, label(), None);
    let uid = || case.node.metadata.uid.clone();
    let pods: Vec<PodRef> = case
        .leaving
        .snapshot
        .calico_node_pods()
        .filter(|pod| pod.spec.node_name == case.name())
        .map(super::drain::reference)
        .collect();
    let patched = Condition::Patched { object: case.object(), uid: uid(), patch: patch.clone() };
    let mut verify = vec![within(SEEN_SECONDS, patched)];
    if !pods.is_empty() {
        verify.push(within(GONE_SECONDS, Condition::PodsGone { pods }));
    }
    let action = Action::Patch { object: case.object(), uid: uid(), patch, subresource: None };
    let undo = Undo::Patch { object: case.object(), uid: uid(), patch: undo, subresource: None };
    Some(Step { undo, verify, ..case.step("exclude", "end calico-node, and keep it off,", action) })
}

/// True when calico-node neither is on the node nor comes back there.
pub(super) fn is_excluded(case: &Case<'_>) -> bool {
    let agent = &case.leaving.circumstances.node_agent;
    let mut pods = case.leaving.snapshot.calico_node_pods();
    let keeps_off = agent.known().is_none_or(|agent| {
        agent.keeps_off_excluded() && case.node.metadata.labels.contains_key(EXCLUDED_LABEL)
    });
    keeps_off && !pods.any(|pod| pod.spec.node_name == case.name())
}

/// True when the node's calico-node pods have to end, and why that cannot be planned when it cannot.
pub(super) fn obstacle(leaving: &Leaving<'_>) -> Option<String> {
    match &leaving.circumstances.node_agent {
        Known::Unknown(gap) => {
            Some(format!("DaemonSet calico-node could not be read: {}", gap.detail))
        }
        Known::Known(_) | Known::Absent => None,
    }
}
