//! What steps on a node's host have in common.

use super::Case;
use super::need::Need;
use crate::plan::{
    Action, Applicability, Condition, Guard, HostOperation, Step, StepId, Undo, Verification,
};
use crate::snapshot::{Known, Snapshot};

/// Seconds that a promise about the host may take: it is looked at through a pod that may have to start first.
const WITHIN_SECONDS: u64 = 60;

/// One step on a host, before it is put in its place.
pub(super) struct HostStep<'a> {
    /// First part of its id, and what tells it from others of its kind on the node: `restore-binaries/calico`.
    pub(super) id: &'a str,
    /// Imperative, without the node.
    pub(super) title: &'a str,
    /// What is done.
    pub(super) operation: HostOperation,
    /// Why there is no undo, when there is none.
    pub(super) no_undo: &'a str,
    /// What must come true.
    pub(super) verify: Vec<Condition>,
}

/// The step, asking for consent: it changes a host.
pub(super) fn step(case: &Case<'_>, need: &Need<'_>, it: HostStep<'_>) -> Step {
    let node = || need.node.to_owned();
    let undo = match it.operation.undo() {
        Some(operation) => Undo::OnHost { node: node(), operation },
        None => Undo::Impossible { why: it.no_undo.to_owned() },
    };
    let within = |condition| Verification { condition, within_seconds: WITHIN_SECONDS };
    Step {
        id: StepId(format!("{}/{}", it.id, need.node)),
        title: format!("{} on {}", it.title, need.node),
        node: Some(node()),
        action: Action::OnHost { node: node(), operation: it.operation },
        guards: vec![Guard::SameCluster { uid: case.target.cluster_uid.clone() }],
        undo,
        verify: it.verify.into_iter().map(within).collect(),
        after: Vec::new(),
        resolves: need.resolves(),
        applicability: Applicability::Ask,
    }
}

/// A dead kubelet neither stops a pod nor starts one: a deletion would hang, and no pod of ours would start.
pub(super) fn kubelet_answers(snapshot: &Snapshot, node: &str) -> Result<(), String> {
    match snapshot.nodes.find("cluster/nodes.json", |it| it.metadata.name == node) {
        Known::Absent => Err("the node no longer exists".to_owned()),
        Known::Unknown(gap) => Err(format!("the node could not be read: {}", gap.detail)),
        Known::Known(node) => match node.condition("Ready").map(|it| it.status.as_str()) {
            Some("True" | "False") => Ok(()),
            Some(_) => {
                Err("its kubelet does not answer; start the kubelet (or the machine) first".into())
            }
            None => Err("its kubelet never reported; start the kubelet first".to_owned()),
        },
    }
}
