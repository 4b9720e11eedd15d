//! Stops and removes pod sandboxes whose pod is gone, or is to go and cannot because CNI DEL does not succeed.
//!
//! The kubelet keeps running. Where CNI DEL cannot succeed, a configuration of the no-op plugin `loopback` stands in front
//! of all others for a minute at most: network namespace and host interface go, no new pod starts meanwhile, and running
//! pods are untouched. What it costs: the addresses of these sandboxes stay allocated until they are released.

use std::collections::BTreeSet;

use super::Case;
use super::host_step::{HostStep, kubelet_answers, step};
use super::need::Need;
use crate::findings::SubjectKind;
use crate::plan::{Condition, HostOperation, SandboxRef, Step};
use crate::slim::Pod;
use crate::snapshot::{Known, Sandbox, Snapshot, Vantage};

pub(super) fn steps(case: &Case<'_>, need: &Need<'_>) -> Result<Vec<Step>, String> {
    kubelet_answers(case.snapshot, need.node)?;
    let sandboxes = sandboxes(case.snapshot, need)?;
    if sandboxes.is_empty() {
        return Err("the runtime lists no sandbox of these pods any more".to_owned());
    }
    let ids = sandboxes.iter().map(|it| it.id.clone()).collect();
    let title = match sandboxes.len() {
        1 => "stop and remove 1 pod sandbox".to_owned(),
        many => format!("stop and remove {many} pod sandboxes"),
    };
    let operation = HostOperation::RemoveSandboxes { sandboxes, loopback: true };
    Ok(vec![step(
        case,
        need,
        HostStep {
            id: "free-sandboxes",
            title: &title,
            operation,
            no_undo: "the pods of these sandboxes are gone",
            verify: vec![Condition::SandboxesGone { node: need.node.to_owned(), ids }],
        },
    )])
}

/// The sandboxes that the findings are about: of the pods they name, and such as belong to no pod at all.
fn sandboxes(snapshot: &Snapshot, need: &Need<'_>) -> Result<Vec<SandboxRef>, String> {
    let host = match snapshot.host(need.node) {
        Known::Known(host) => host,
        Known::Absent => return Err("the node was not looked at".to_owned()),
        Known::Unknown(gap) => return Err(format!("its sandboxes are not known: {}", gap.detail)),
    };
    let listed = match &host.sandboxes {
        Known::Known(listed) => listed,
        Known::Absent => return Err("the runtime lists no sandboxes".to_owned()),
        Known::Unknown(_) if host.vantage == Vantage::CalicoNode => {
            return Err("sandboxes are seen from the host only; --probe looks there".to_owned());
        }
        Known::Unknown(gap) => return Err(format!("its sandboxes are not known: {}", gap.detail)),
    };
    if !snapshot.pods.is_whole() {
        return Err(
            "not all pods could be read, so nobody can tell which sandbox is an orphan".into()
        );
    }
    let of_pods = uids_of_terminating(snapshot, need);
    let orphans = orphans(need);
    let wanted =
        |it: &&Sandbox| of_pods.contains(it.uid.as_str()) || orphans.contains(it.id.as_str());
    let mut sandboxes: Vec<SandboxRef> = listed.iter().filter(wanted).map(reference).collect();
    sandboxes.sort();
    Ok(sandboxes)
}

/// The pods on the node that the findings name, and that are being deleted: a pod that is to live keeps its sandbox.
fn uids_of_terminating<'a>(snapshot: &'a Snapshot, need: &Need<'_>) -> BTreeSet<&'a str> {
    let is_named = |pod: &&Pod| need.hanging.iter().any(|it| it.uid == pod.metadata.uid);
    let pods = snapshot.pods.items.iter().filter(is_named).filter(|pod| pod.is_terminating());
    pods.map(|pod| pod.metadata.uid.as_str()).collect()
}

/// Sandboxes that findings name themselves, as `Sandbox/<node>/<id>`.
fn orphans<'a>(need: &Need<'a>) -> BTreeSet<&'a str> {
    let prefix = format!("Sandbox/{}/", need.node);
    need.causes
        .iter()
        .filter(|finding| finding.subject.kind == SubjectKind::Object)
        .flat_map(|finding| &finding.subject.names)
        .filter_map(|name| name.strip_prefix(&prefix))
        .collect()
}

fn reference(sandbox: &Sandbox) -> SandboxRef {
    SandboxRef {
        id: sandbox.id.clone(),
        namespace: sandbox.namespace.clone(),
        name: sandbox.name.clone(),
        uid: sandbox.uid.clone(),
        // Its pod is gone or is to go: a sandbox that still runs may be stopped.
        ready: true,
    }
}
