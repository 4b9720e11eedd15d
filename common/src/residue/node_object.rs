//! What Calico left at the Node object: annotations, and the condition that keeps pods away from the node.

use serde_json::Value;

use super::inventory::{Inventory, Kept, Means, Residue};
use super::{ResidueId, ResidueKind, Scope};
use crate::findings::Evidence;
use crate::plan::{JsonPatch, PatchOperation, pointer};
use crate::slim::Node;

/// Beginning of the keys of Calico's annotations.
const ANNOTATIONS: &str = "projectcalico.org/";
/// Set by calico-node, and when it ends.
const CONDITION: &str = "NetworkUnavailable";

/// A change of the Node object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePatch {
    /// What it does, imperative, without the node.
    pub title: String,
    /// `status`, or nothing for the object itself.
    pub subresource: Option<String>,
    /// The change, which tests what it replaces.
    pub patch: JsonPatch,
    /// What takes it back.
    pub undo: JsonPatch,
    /// What is gone after it.
    pub residues: Vec<ResidueId>,
}

/// Adds what Calico left at the Node object. While Calico lives on the node, all of it is in use.
pub fn add_node_object(found: &mut Inventory, node: &Node, scope: Scope) {
    if matches!(scope, Scope::Stale | Scope::OtherMode) {
        return;
    }
    for (key, value) in &node.metadata.annotations {
        if key.starts_with(ANNOTATIONS) {
            let id = ResidueId::new(ResidueKind::Annotation, key);
            found.residues.push(Residue {
                id,
                kind: ResidueKind::Annotation,
                what: format!("annotation {key}"),
                evidence: vec![Evidence::new("Node object", value.clone())],
                means: Means::Annotation(key.clone()),
            });
        }
    }
    condition(found, node);
    found.residues.sort_by(|a, b| a.id.cmp(&b.id));
    found.kept.sort_by(|a, b| a.id.cmp(&b.id));
}

fn condition(found: &mut Inventory, node: &Node) {
    let Some(condition) = node.condition(CONDITION) else { return };
    let id = ResidueId::new(ResidueKind::Condition, CONDITION);
    let said = format!("{} {}: {}", condition.status, condition.reason, condition.message);
    let what = format!("condition {CONDITION}={}", condition.status);
    if condition.reason.starts_with("Calico") {
        found.residues.push(Residue {
            id,
            kind: ResidueKind::Condition,
            what,
            evidence: vec![Evidence::new("Node object", said)],
            means: Means::Condition(CONDITION.to_owned()),
        });
    } else {
        found.kept.push(Kept { id, what, why: format!("it is not Calico's: {said}") });
    }
}

/// The changes of the Node object that remove what was found there.
pub fn patches(found: &Inventory, node: &Node) -> Vec<NodePatch> {
    [annotations(found, node), conditions(found, node)].into_iter().flatten().collect()
}

fn annotations(found: &Inventory, node: &Node) -> Option<NodePatch> {
    let (mut patch, mut undo) = (JsonPatch::default(), JsonPatch::default());
    let mut residues = Vec::new();
    for residue in &found.residues {
        let Means::Annotation(key) = &residue.means else { continue };
        let Some(value) = node.metadata.annotations.get(key) else { continue };
        let path = pointer(&["metadata", "annotations", key]);
        let value = || Some(Value::from(value.as_str()));
        patch = patch.change(&path, value(), None);
        undo = undo.change(&path, None, value());
        residues.push(residue.id.clone());
    }
    let title = format!("remove {}", ResidueKind::Annotation.counted(residues.len()));
    let is_any = !residues.is_empty();
    is_any.then_some(NodePatch { title, subresource: None, patch, undo, residues })
}

/// The list element is known by its type and its reason, wherever it stands by then.
fn conditions(found: &Inventory, node: &Node) -> Option<NodePatch> {
    let residue = found.residues.iter().find(|it| matches!(it.means, Means::Condition(_)))?;
    let all = &node.status.conditions;
    let at = all.iter().position(|it| it.kind == CONDITION)?;
    let path = pointer(&["status", "conditions", &at.to_string()]);
    let remove = [
        PatchOperation::Test { path: format!("{path}/type"), value: CONDITION.into() },
        PatchOperation::Test {
            path: format!("{path}/reason"),
            value: all[at].reason.as_str().into(),
        },
        PatchOperation::Remove { path },
    ];
    let end = pointer(&["status", "conditions", "-"]);
    let value = serde_json::to_value(&all[at]).ok()?;
    Some(NodePatch {
        title: format!("remove condition {CONDITION}"),
        subresource: Some("status".to_owned()),
        patch: JsonPatch(remove.into()),
        undo: JsonPatch(vec![PatchOperation::Add { path: end, value }]),
        residues: vec![residue.id.clone()],
    })
}
