//! Pods that hang in their deletion: what keeps each of them, as far as it can be told.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::findings::Diagnosis;
use crate::plan::PodRef;
use crate::slim::Pod;
use crate::snapshot::{Known, Snapshot};

/// A deletion that is not over so long after it was due hangs.
const OVERDUE: SignedDuration = SignedDuration::from_secs(60);

/// A pod whose deletion hangs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The pod.
    pub pod: PodRef,
    /// The node it is bound to; empty for none.
    pub node: String,
    /// When its deletion was due.
    pub since: Timestamp,
    /// What keeps it.
    pub why: WhyStuck,
}

/// What keeps a pod whose deletion hangs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum WhyStuck {
    /// The Node object does not exist: nobody is left who could stop it.
    NodeGone,
    /// Somebody must act before it can go.
    Finalizers(Vec<String>),
    /// The kubelet of its node does not answer.
    KubeletSilent,
    /// A finding about its node that can be repaired: its code.
    Finding(String),
    /// Nothing was found.
    NotFound,
    /// Whether its node exists could not be read.
    Unreadable(String),
}

/// True when the pod's deletion hangs.
pub fn is_overdue(pod: &Pod, now: Timestamp) -> bool {
    pod.metadata.deletion_timestamp.is_some_and(|due| now.duration_since(due) >= OVERDUE)
}

/// What keeps `pod`, as far as `snapshot` and what it means can tell.
pub fn why_stuck(pod: &Pod, snapshot: &Snapshot, diagnosis: &Diagnosis) -> WhyStuck {
    if !pod.metadata.finalizers.is_empty() {
        return WhyStuck::Finalizers(pod.metadata.finalizers.clone());
    }
    let name = &pod.spec.node_name;
    if name.is_empty() {
        return WhyStuck::NotFound;
    }
    let node = match snapshot.nodes.find("cluster/nodes.json", |it| it.metadata.name == *name) {
        Known::Absent => return WhyStuck::NodeGone,
        Known::Unknown(gap) => return WhyStuck::Unreadable(gap.detail),
        Known::Known(node) => node,
    };
    let findings = diagnosis.roots.iter().map(|root| &root.finding);
    let mut here = findings.filter(|it| it.nodes.contains(name) && it.remedy.is_some());
    if let Some(finding) = here.next() {
        return WhyStuck::Finding(finding.code.to_string());
    }
    match node.condition("Ready").map(|it| it.status.as_str()) {
        Some("True" | "False") => WhyStuck::NotFound,
        _ => WhyStuck::KubeletSilent,
    }
}

impl Stuck {
    /// For a person, with the command that helps. `program` is how the user calls us, `doctor` how calico-doctor is called.
    pub fn text(&self, program: &str, doctor: &str) -> String {
        let node = &self.node;
        match &self.why {
            WhyStuck::NodeGone => {
                format!("there is no node {node}: nobody is left who could stop it")
            }
            WhyStuck::Finalizers(names) => {
                format!("waits for finalizer {}: whoever set it must act", names.join(", "))
            }
            WhyStuck::KubeletSilent => format!(
                "the kubelet of {node} does not answer: start it; if the machine is gone for good, delete its Node object"
            ),
            WhyStuck::Finding(code) => format!("{code} on {node}: {program} node {node}"),
            WhyStuck::NotFound if node.is_empty() => "it is bound to no node".to_owned(),
            WhyStuck::NotFound => {
                format!(
                    "no cause found on {node}; look closer: {doctor} check --probe --node {node}"
                )
            }
            WhyStuck::Unreadable(why) => format!("whether node {node} exists is not known: {why}"),
        }
    }
}
