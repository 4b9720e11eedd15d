//! Steps of a plan that remove what was found on a node.

use super::{Inventory, NodePatch, Removal, ResidueId, ResidueKind, patches, removal};
use crate::plan::{
    Action, Applicability, Condition, Guard, ObjectRef, Step, StepId, Undo, Verification,
};
use crate::slim::Node;

/// Seconds that a second look at the host may take: through a pod that may have to start first.
const WITHIN_SECONDS: u64 = 90;

/// What there is besides the inventory.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// The node's name.
    pub name: &'a str,
    /// The Node object; none when it does not exist, or is not to be changed.
    pub object: Option<&'a Node>,
    /// Uid of the cluster.
    pub cluster_uid: &'a str,
    /// Directory on this machine in which what the node has is saved first; none when that is not wanted.
    pub backup: Option<&'a str>,
}

/// The steps in order, each after the one before: what is saved first, then the host, then the Node object. None when nothing
/// can be removed.
pub fn steps(found: &Inventory, host: &Host<'_>) -> Vec<Step> {
    let removals = removal(found);
    let changes = host.object.map(|node| (node, patches(found, node)));
    let mut all = Vec::new();
    if let Some(directory) = host.backup.filter(|_| !removals.is_empty()) {
        all.push(backed_up(host, directory));
    }
    // Each step says how it is verified: the executor begins none that does not.
    let on_hosts = removals.iter().enumerate();
    all.extend(on_hosts.map(|(index, one)| on_host(host, index, one, &one.residues)));
    if let Some((node, patches)) = changes {
        all.extend(patches.iter().map(|patch| at_object(host, node, patch)));
    }
    chained(all)
}

fn kind(removal: &Removal) -> Option<ResidueKind> {
    removal.residues.first().and_then(ResidueId::kind)
}

fn chained(mut steps: Vec<Step>) -> Vec<Step> {
    let ids: Vec<StepId> = steps.iter().map(|it| it.id.clone()).collect();
    for (step, before) in steps.iter_mut().skip(1).zip(ids) {
        step.after = vec![before];
    }
    steps
}

fn step(host: &Host<'_>, id: &str, title: &str, action: Action) -> Step {
    Step {
        id: StepId(format!("{id}/{}", host.name)),
        title: format!("{title} on {}", host.name),
        node: Some(host.name.to_owned()),
        action,
        guards: vec![Guard::SameCluster { uid: host.cluster_uid.to_owned() }],
        undo: Undo::NotNeeded { why: "nothing is changed".to_owned() },
        verify: Vec::new(),
        after: Vec::new(),
        resolves: Vec::new(),
        applicability: Applicability::Ask,
    }
}

fn within(condition: Condition) -> Vec<Verification> {
    vec![Verification { condition, within_seconds: WITHIN_SECONDS }]
}

fn backed_up(host: &Host<'_>, directory: &str) -> Step {
    let (node, directory) = (host.name.to_owned(), directory.to_owned());
    let action = Action::BackUp { node: node.clone(), directory: directory.clone() };
    let verify = within(Condition::BackedUp { node, directory });
    Step { verify, ..step(host, "back-up", "save what there is of Calico", action) }
}

fn on_host(host: &Host<'_>, index: usize, one: &Removal, ids: &[ResidueId]) -> Step {
    let node = || host.name.to_owned();
    let action = Action::OnHost { node: node(), operation: one.operation.clone() };
    let undo = match one.operation.undo() {
        Some(operation) => Undo::OnHost { node: node(), operation },
        None if host.backup.is_some() => {
            Undo::Impossible { why: "what was there is in the saved archive".to_owned() }
        }
        None => Undo::Impossible { why: "nothing was saved".to_owned() },
    };
    let ids: Vec<String> = ids.iter().map(|it| it.0.clone()).collect();
    let verify = if ids.is_empty() {
        Vec::new()
    } else {
        within(Condition::ResiduesGone { node: node(), ids })
    };
    let word = kind(one).map_or("residue", ResidueKind::word);
    Step {
        undo,
        verify,
        resolves: one.residues.iter().map(|it| it.0.clone()).collect(),
        ..step(host, &format!("remove-{word}/{}", index + 1), &one.title, action)
    }
}

fn at_object(host: &Host<'_>, node: &Node, change: &NodePatch) -> Step {
    let object = ObjectRef {
        group: String::new(),
        version: "v1".to_owned(),
        plural: "nodes".to_owned(),
        namespace: String::new(),
        name: host.name.to_owned(),
    };
    let uid = || node.metadata.uid.clone();
    let action = Action::Patch {
        object: object.clone(),
        uid: uid(),
        patch: change.patch.clone(),
        subresource: change.subresource.clone(),
    };
    let undo = Undo::Patch {
        object: object.clone(),
        uid: uid(),
        patch: change.undo.clone(),
        subresource: change.subresource.clone(),
    };
    let word = change.subresource.as_deref().unwrap_or("object");
    Step {
        undo,
        verify: within(Condition::Patched { object, uid: uid(), patch: change.patch.clone() }),
        resolves: change.residues.iter().map(|it| it.0.clone()).collect(),
        ..step(host, &format!("remove-at-node/{word}"), &change.title, action)
    }
}
