//! Restarts calico-node on a node by deleting its pod.
//!
//! The pod shares the host's network, so it starts without CNI; its init container rewrites the CNI binaries, the
//! conflist and calico-kubeconfig with a fresh token. What it costs: no policy updates on that node for some ten
//! seconds. Connections of running pods live on.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::RemedyName;
use crate::findings::{Finding, Root, SubjectKind};
use crate::plan::{
    Action, Applicability, Condition, Guard, LeftOut, ObjectRef, PodRef, Step, StepId, Target,
    Undo, Verification,
};
use crate::slim::{DaemonSet, Pod};
use crate::snapshot::{Known, Snapshot};

/// Seconds that each of a step's promises may take to come true. The slowest is calico-node itself: pull-free, it
/// needs 5 to 20 s on a healthy node, up to a minute on a busy one.
const WITHIN_SECONDS: u64 = 120;

/// What one node needs, and why.
struct Need<'a> {
    /// Findings that ask for the restart, sorted by code and id.
    causes: Vec<&'a Finding>,
    /// Findings that go away with them.
    symptoms: Vec<&'a Finding>,
    /// Pods that hang because of them.
    hanging: Vec<PodRef>,
}

/// One step per node that the chosen causes name: first the node with most hanging pods (it proves most, soonest),
/// then by name, one at a time. Nodes where a restart cannot help go to `left_out`.
pub(super) fn steps(
    target: &Target,
    snapshot: &Snapshot,
    chosen: &[&Root],
    left_out: &mut Vec<LeftOut>,
) -> Vec<Step> {
    let mut needs: Vec<(&str, Need<'_>)> = needs(snapshot, chosen, left_out).into_iter().collect();
    needs.sort_by_key(|(node, need)| (Reverse(need.hanging.len()), *node));
    let mut steps: Vec<Step> = Vec::new();
    for (node, need) in needs {
        match restartable(snapshot, node, &need) {
            Ok((pod, owner)) => {
                let after = steps.last().map(|step| step.id.clone());
                steps.push(step(target, node, pod, owner, &need, after));
            }
            Err(why) => left_out.extend(need.causes.iter().chain(&need.symptoms).map(|finding| {
                LeftOut { finding: finding.id.to_string(), why: format!("{node}: {why}") }
            })),
        }
    }
    steps
}

/// Who needs a restart. A finding that names no node at all is left out here.
fn needs<'a>(
    snapshot: &Snapshot,
    chosen: &[&'a Root],
    left_out: &mut Vec<LeftOut>,
) -> BTreeMap<&'a str, Need<'a>> {
    let mut needs: BTreeMap<&str, Need<'_>> = BTreeMap::new();
    for root in chosen {
        let all = || std::iter::once(&root.finding).chain(&root.symptoms);
        for finding in all().filter(|finding| is_ours(finding)) {
            for node in &finding.nodes {
                let need = needs.entry(node).or_insert_with(|| Need {
                    causes: Vec::new(),
                    symptoms: Vec::new(),
                    hanging: Vec::new(),
                });
                need.causes.push(finding);
            }
        }
        for symptom in root.symptoms.iter().filter(|finding| !is_ours(finding)) {
            for node in &symptom.nodes {
                if let Some(need) = needs.get_mut(node.as_str()) {
                    need.symptoms.push(symptom);
                }
            }
        }
        let nowhere =
            |finding: &&Finding| !finding.nodes.iter().any(|it| needs.contains_key(it.as_str()));
        left_out.extend(all().filter(nowhere).map(|finding| LeftOut {
            finding: finding.id.to_string(),
            why: "it names no node on which calico-node could be restarted".to_owned(),
        }));
    }
    for (node, need) in &mut needs {
        need.causes.sort_by_key(|finding| (finding.code, &finding.id));
        need.symptoms.sort_by_key(|finding| (finding.code, &finding.id));
        need.hanging = hanging(snapshot, node, need);
    }
    needs
}

fn is_ours(finding: &Finding) -> bool {
    finding.remedy == Some(RemedyName::RestartCalicoNode)
}

/// The pods on `node` that its findings are about. calico-node's own pod is replaced, not waited for.
fn hanging(snapshot: &Snapshot, node: &str, need: &Need<'_>) -> Vec<PodRef> {
    let names: BTreeSet<&str> = need
        .causes
        .iter()
        .chain(&need.symptoms)
        .filter(|finding| finding.subject.kind == SubjectKind::Pod)
        .flat_map(|finding| finding.subject.names.iter().map(String::as_str))
        .collect();
    let on_node = |pod: &&Pod| pod.spec.node_name == node && !pod.is_calico_node();
    let mut pods: Vec<PodRef> = snapshot
        .pods
        .items
        .iter()
        .filter(on_node)
        .filter(|pod| names.contains(pod.full_name().as_str()))
        .map(|pod| PodRef {
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
        })
        .collect();
    pods.sort();
    pods.dedup();
    pods
}

/// The pod to delete and the DaemonSet that puts it back, or why a restart would not help or would lose the pod.
fn restartable<'a>(
    snapshot: &'a Snapshot,
    node: &str,
    need: &Need<'_>,
) -> Result<(&'a Pod, &'a DaemonSet), String> {
    kubelet_answers(snapshot, node)?;
    service_account_exists(snapshot, need)?;
    let pod = snapshot
        .calico_node_on(node)
        .ok_or("there is no calico-node pod on it; its DaemonSet does not schedule one there")?;
    let owner = owner_of(snapshot, pod)?;
    Ok((pod, owner))
}

/// A dead kubelet neither stops the old pod nor starts the new one: the deletion would hang.
fn kubelet_answers(snapshot: &Snapshot, node: &str) -> Result<(), String> {
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

/// calico-node asks for a token of the CNI plugin's ServiceAccount: while there is none, a restart changes nothing.
fn service_account_exists(snapshot: &Snapshot, need: &Need<'_>) -> Result<(), String> {
    let about_credentials = need.causes.iter().any(|finding| finding.code.0 == "CAL-CNI-006");
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

fn step(
    target: &Target,
    node: &str,
    pod: &Pod,
    owner: &DaemonSet,
    need: &Need<'_>,
    after: Option<StepId>,
) -> Step {
    let uid = &pod.metadata.uid;
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
            Guard::SameCluster { uid: target.cluster_uid.clone() },
            Guard::SameUid { object, uid: uid.clone() },
            Guard::OwnerExists { object: owner_ref, uid: owner.metadata.uid.clone() },
        ],
        undo: Undo::NotNeeded { why: "the DaemonSet puts the pod back".to_owned() },
        verify: verifications(node, pod, owner, need),
        after: after.into_iter().collect(),
        resolves: need
            .causes
            .iter()
            .chain(&need.symptoms)
            .map(|finding| finding.id.to_string())
            .collect(),
        applicability: Applicability::Safe,
    }
}

fn verifications(node: &str, pod: &Pod, owner: &DaemonSet, need: &Need<'_>) -> Vec<Verification> {
    let asks = |code: &str| need.causes.iter().any(|finding| finding.code.0 == code);
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
    if asks("CAL-CNI-001") {
        conditions.push(Condition::NodeNetworkReady { node: node() });
    }
    if !need.hanging.is_empty() {
        conditions.push(Condition::PodsSettled { node: node(), pods: need.hanging.clone() });
    }
    conditions
        .into_iter()
        .map(|condition| Verification { condition, within_seconds: WITHIN_SECONDS })
        .collect()
}

#[cfg(test)]
#[path = "restart_calico_node_tests.rs"]
mod tests;
