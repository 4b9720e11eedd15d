//! Restarts calico-node on a node by deleting its pod.
//!
//! The pod shares the host's network, so it starts without CNI; its init container rewrites the CNI binaries, the
//! conflist and calico-kubeconfig with a fresh token. What it costs: no policy updates on that node for some ten
//! seconds. Connections of running pods live on.

use super::need::Need;
use super::{Case, host_step};
use crate::plan::{
    Action, Applicability, Condition, Guard, ObjectRef, Step, StepId, Undo, Verification,
};
use crate::slim::{DaemonSet, Pod};
use crate::snapshot::{Known, Snapshot};

/// Seconds that each of a step's promises may take to come true. The slowest is calico-node itself: pull-free, it
/// needs 5 to 20 s on a healthy node, up to a minute on a busy one.
const WITHIN_SECONDS: u64 = 120;

/// The step that restarts calico-node on the node, or why that cannot help.
pub(super) fn steps(case: &Case<'_>, need: &Need<'_>) -> Result<Vec<Step>, String> {
    let (pod, owner) = restartable(case.snapshot, need.node, need)?;
    Ok(vec![step(case, need, pod, owner)])
}

/// The pod to delete and the DaemonSet that puts it back, or why a restart would not help or would lose the pod.
fn restartable<'a>(
    snapshot: &'a Snapshot,
    node: &str,
    need: &Need<'_>,
) -> Result<(&'a Pod, &'a DaemonSet), String> {
    host_step::kubelet_answers(snapshot, node)?;
    service_account_exists(snapshot, need)?;
    let pod = snapshot
        .calico_node_on(node)
        .ok_or("there is no calico-node pod on it; its DaemonSet does not schedule one there")?;
    let owner = owner_of(snapshot, pod)?;
    Ok((pod, owner))
}

/// calico-node asks for a token of the CNI plugin's ServiceAccount: while there is none, a restart changes nothing.
pub(super) fn service_account_exists(snapshot: &Snapshot, need: &Need<'_>) -> Result<(), String> {
    let about_credentials = need.asks("CAL-CNI-006");
    let Some(install) = snapshot.install.known().filter(|_| about_credentials) else {
        return Ok(());
    };
    let (namespace, name) = (&install.namespace, &install.cni_service_account);
    match snapshot.service_account(namespace, name) {
        Known::Absent => Err(format!(
            "ServiceAccount {namespace}/{name} does not exist, so calico-node cannot get a new token; \
             create it from the manifest of this Calico version first"
        )),
        // Not to be seen is no reason to refuse: the step's own verification tells whether the new token is accepted.
        Known::Known(_) | Known::Unknown(_) => Ok(()),
    }
}

fn owner_of<'a>(snapshot: &'a Snapshot, pod: &Pod) -> Result<&'a DaemonSet, String> {
    let name = pod.full_name();
    let owner =
        pod.metadata.controller().filter(|owner| owner.kind == "DaemonSet").ok_or_else(|| {
            format!("pod {name} belongs to no DaemonSet: nothing would put it back")
        })?;
    let found = snapshot
        .daemon_sets
        .find("cluster/daemonsets.apps.json", |it| it.metadata.uid == owner.uid);
    match found {
        Known::Known(it) if it.metadata.deletion_timestamp.is_none() => Ok(it),
        Known::Known(_) => Err(format!("DaemonSet {} is being deleted", owner.name)),
        Known::Absent => Err(format!("DaemonSet {} of pod {name} no longer exists", owner.name)),
        Known::Unknown(gap) => {
            Err(format!("DaemonSet {} could not be read: {}", owner.name, gap.detail))
        }
    }
}

fn step(case: &Case<'_>, need: &Need<'_>, pod: &Pod, owner: &DaemonSet) -> Step {
    let (node, uid) = (need.node, &pod.metadata.uid);
    let object = ObjectRef {
        group: String::new(),
        version: "v1".to_owned(),
        plural: "pods".to_owned(),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
    };
    let owner_ref = ObjectRef {
        group: "apps".to_owned(),
        version: "v1".to_owned(),
        plural: "daemonsets".to_owned(),
        namespace: owner.metadata.namespace.clone(),
        name: owner.metadata.name.clone(),
    };
    Step {
        id: StepId(format!("restart-calico-node/{node}")),
        title: format!("restart calico-node on {node}"),
        node: Some(node.to_owned()),
        action: Action::Delete { object: object.clone(), uid: uid.clone() },
        guards: vec![
            Guard::SameCluster { uid: case.target.cluster_uid.clone() },
            Guard::SameUid { object, uid: uid.clone() },
            Guard::OwnerExists { object: owner_ref, uid: owner.metadata.uid.clone() },
        ],
        undo: Undo::NotNeeded { why: "the DaemonSet puts the pod back".to_owned() },
        verify: verifications(node, pod, owner, need),
        after: Vec::new(),
        resolves: need.resolves(),
        applicability: Applicability::Safe,
    }
}

fn verifications(node: &str, pod: &Pod, owner: &DaemonSet, need: &Need<'_>) -> Vec<Verification> {
    let asks = |code: &str| need.asks(code);
    let node = || node.to_owned();
    let mut conditions = vec![Condition::DaemonPodReady {
        namespace: owner.metadata.namespace.clone(),
        daemon_set: owner.metadata.name.clone(),
        node: node(),
        old_uid: pod.metadata.uid.clone(),
    }];
    if asks("CAL-CNI-006") {
        conditions.push(Condition::CniCredentialsAccepted { node: node() });
    }
    // The kubelet reports within 10 s what has changed; until then the node looks as it did.
    if ["CAL-CNI-001", "CAL-CNI-002", "CAL-CNI-003"].into_iter().any(asks) {
        conditions.push(Condition::NodeNetworkReady { node: node() });
    }
    conditions
        .into_iter()
        .map(|condition| Verification { condition, within_seconds: WITHIN_SECONDS })
        .collect()
}

#[cfg(test)]
#[path = "restart_calico_node_tests.rs"]
mod tests;
