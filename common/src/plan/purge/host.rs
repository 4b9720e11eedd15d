//! What is removed from a node's host and from its Node object.

use super::{Case, within};
use crate::plan::{Action, Condition, JsonPatch, PatchOperation, Step, pointer};
use crate::residue::{Removal, ResidueId, ResidueKind, removal};

/// Seconds that a second look at the host may take: through a pod that may have to start first.
const LOOK_SECONDS: u64 = 90;
/// Seconds that a change of an object may take to be seen.
const SEEN_SECONDS: u64 = 30;

/// Saves what the node has; nothing when nobody looked, or nothing is there.
pub(super) fn back_up(case: &Case<'_>) -> Option<Step> {
    removals(case).first()?;
    let (node, directory) = (case.name().to_owned(), case.leaving.backup.to_owned());
    let action = Action::BackUp { node: node.clone(), directory: directory.clone() };
    let done = Condition::BackedUp { node, directory };
    let undo = crate::plan::Undo::NotNeeded { why: "nothing is changed".to_owned() };
    let verify = vec![within(LOOK_SECONDS, done)];
    Some(Step { undo, verify, ..case.step("back-up", "save what there is of Calico", action) })
}

fn removals(case: &Case<'_>) -> Vec<Removal> {
    case.found.map(removal).unwrap_or_default()
}

/// The network configurations, and everything else, each in order. Without the first, no pod starts; the credentials are the
/// last of the second.
pub(super) fn steps(case: &Case<'_>) -> (Vec<Step>, Vec<Step>) {
    let (first, rest): (Vec<Removal>, Vec<Removal>) =
        removals(case).into_iter().partition(is_configuration);
    let mut number = 0;
    let mut numbered = |all: &[Removal]| -> Vec<Step> {
        let mut steps = Vec::new();
        for one in all {
            number += 1;
            steps.push(on_host(case, number, one));
        }
        steps
    };
    (numbered(&first), numbered(&rest))
}

/// True for a file that a container runtime reads.
fn is_configuration(removal: &Removal) -> bool {
    let endings = [".conf", ".conflist", ".json"];
    removal.residues.iter().all(|id| {
        id.kind() == Some(ResidueKind::File) && endings.iter().any(|it| id.0.ends_with(it))
    })
}

fn kind(removal: &Removal) -> Option<ResidueKind> {
    removal.residues.first().and_then(ResidueId::kind)
}

fn on_host(case: &Case<'_>, number: usize, one: &Removal) -> Step {
    let node = || case.name().to_owned();
    let action = Action::OnHost { node: node(), operation: one.operation.clone() };
    let ids: Vec<String> = one.residues.iter().map(|it| it.0.clone()).collect();
    let gone = Condition::ResiduesGone { node: node(), ids: ids.clone() };
    let word = kind(one).map_or("residue", ResidueKind::word);
    Step {
        undo: case.no_undo(),
        verify: vec![within(LOOK_SECONDS, gone)],
        resolves: ids,
        ..case.step(&format!("remove-{word}-{number}"), &one.title, action)
    }
}

/// Annotations and the condition at the Node object. calico-node changes both when it ends, so they go whatever they say.
pub(super) fn at_object(case: &Case<'_>) -> Vec<Step> {
    let node = case.node;
    let of_calico = |key: &&String| key.starts_with("projectcalico.org/");
    let keys: Vec<&String> = node.metadata.annotations.keys().filter(of_calico).collect();
    let mut steps = Vec::new();
    if !keys.is_empty() {
        let remove = |key: &&String| PatchOperation::Remove {
            path: pointer(&["metadata", "annotations", key]),
        };
        let patch = JsonPatch(keys.iter().map(remove).collect());
        let ids: Vec<String> =
            keys.iter().map(|key| ResidueId::new(ResidueKind::Annotation, key).0).collect();
        let title = format!("remove {}", ResidueKind::Annotation.counted(ids.len()));
        steps.push(patched(case, "remove-annotations", &title, (patch, None), ids));
    }
    let is_it = |it: &crate::slim::NodeCondition| {
        it.kind == "NetworkUnavailable" && it.reason.starts_with("Calico")
    };
    if let Some(at) = node.status.conditions.iter().position(is_it) {
        let path = pointer(&["status", "conditions", &at.to_string()]);
        let kind = format!("{path}/type");
        let patch = JsonPatch(vec![
            PatchOperation::Test { path: kind, value: "NetworkUnavailable".into() },
            PatchOperation::Remove { path },
        ]);
        let ids = vec![ResidueId::new(ResidueKind::Condition, "NetworkUnavailable").0];
        let title = "remove condition NetworkUnavailable";
        let change = (patch, Some("status".to_owned()));
        steps.push(patched(case, "remove-condition", title, change, ids));
    }
    steps
}

fn patched(
    case: &Case<'_>,
    id: &str,
    title: &str,
    (patch, subresource): (JsonPatch, Option<String>),
    resolves: Vec<String>,
) -> Step {
    let (object, uid) = (case.object(), case.node.metadata.uid.clone());
    let done =
        Condition::Patched { object: object.clone(), uid: uid.clone(), patch: patch.clone() };
    let action = Action::Patch { object, uid, patch, subresource };
    Step {
        undo: case.no_undo(),
        verify: vec![within(SEEN_SECONDS, done)],
        resolves,
        ..case.step(id, title, action)
    }
}
