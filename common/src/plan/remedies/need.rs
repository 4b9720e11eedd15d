//! What each node needs: the findings that ask for a remedy there, those that go away with them, and the pods that hang.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::RemedyName;
use crate::findings::{Finding, SubjectKind};
use crate::plan::{LeftOut, PodRef};
use crate::slim::Pod;
use crate::snapshot::Snapshot;

/// A cause that is to be repaired, with what follows from it.
#[derive(Clone, Debug)]
pub(super) struct Chosen<'a> {
    /// The cause.
    pub(super) cause: &'a Finding,
    /// What goes away with it.
    pub(super) symptoms: Vec<&'a Finding>,
}

/// Why one remedy is needed on one node.
#[derive(Clone, Debug)]
pub(super) struct Need<'a> {
    /// The node.
    pub(super) node: &'a str,
    /// The remedy.
    pub(super) remedy: RemedyName,
    /// Findings that ask for it, sorted by code and id.
    pub(super) causes: Vec<&'a Finding>,
    /// Findings that go away with them.
    pub(super) symptoms: Vec<&'a Finding>,
    /// Pods that these findings are about.
    pub(super) hanging: Vec<PodRef>,
}

impl Need<'_> {
    /// Ids of all findings, causes first.
    pub(super) fn resolves(&self) -> Vec<String> {
        self.causes.iter().chain(&self.symptoms).map(|finding| finding.id.to_string()).collect()
    }

    /// True when a finding with this code asks for the remedy.
    pub(super) fn asks(&self, code: &str) -> bool {
        self.causes.iter().any(|finding| finding.code.0 == code)
    }

    /// Its findings as left out on this node, for this reason.
    pub(super) fn left_out<'b>(&'b self, why: &'b str) -> impl Iterator<Item = LeftOut> + 'b {
        self.causes.iter().chain(&self.symptoms).map(move |finding| LeftOut {
            finding: finding.id.to_string(),
            why: format!("{}: {why}", self.node),
        })
    }
}

/// The needs of all nodes: first the node with most hanging pods (it proves most, soonest), then by name; on one node in
/// the order in which remedies build on each other. A finding that names no node is left out.
pub(super) fn by_node<'a>(
    snapshot: &Snapshot,
    chosen: &[Chosen<'a>],
    left_out: &mut Vec<LeftOut>,
) -> Vec<Vec<Need<'a>>> {
    let mut needs: BTreeMap<(&str, RemedyName), Need<'a>> = BTreeMap::new();
    for one in chosen {
        let all = || std::iter::once(one.cause).chain(one.symptoms.iter().copied());
        let mut found_nodes: BTreeSet<&str> = BTreeSet::new();
        for finding in all() {
            let Some(remedy) = remedy_of(one, finding) else { continue };
            for node in &finding.nodes {
                let remedy = on_this_node(snapshot, finding, remedy, node);
                found_nodes.insert(node);
                let need = needs.entry((node, remedy)).or_insert_with(|| Need {
                    node,
                    remedy,
                    causes: Vec::new(),
                    symptoms: Vec::new(),
                    hanging: Vec::new(),
                });
                need.causes.push(finding);
            }
        }
        for finding in all().filter(|finding| remedy_of(one, finding).is_none()) {
            for ((node, _), need) in &mut needs {
                let explains = need.causes.iter().any(|cause| all().any(|it| it.id == cause.id));
                if explains && finding.nodes.iter().any(|it| it == node) {
                    need.symptoms.push(finding);
                }
            }
        }
        let nowhere =
            |finding: &&Finding| !finding.nodes.iter().any(|it| found_nodes.contains(it.as_str()));
        left_out.extend(all().filter(nowhere).map(|finding| LeftOut {
            finding: finding.id.to_string(),
            why: "it names no node on which it could be repaired".to_owned(),
        }));
    }
    let mut nodes: BTreeMap<&str, Vec<Need<'a>>> = BTreeMap::new();
    for ((node, _), mut need) in needs {
        need.causes.sort_by_key(|finding| (finding.code, &finding.id));
        need.symptoms.sort_by_key(|finding| (finding.code, &finding.id));
        need.hanging = hanging(snapshot, &need);
        nodes.entry(node).or_default().push(need);
    }
    let mut nodes: Vec<_> = nodes.into_values().collect();
    nodes.sort_by_key(|needs| (Reverse(all_hanging(needs).len()), needs.first().map(|it| it.node)));
    nodes
}

/// A symptom's own remedy counts only where it is the cause's as well: once the cause is repaired, it goes by itself.
fn remedy_of(chosen: &Chosen<'_>, finding: &Finding) -> Option<RemedyName> {
    let is_cause = finding.id == chosen.cause.id;
    finding.remedy.filter(|remedy| is_cause || chosen.cause.remedy == Some(*remedy))
}

/// What calico-node's init container would do by itself is done by hand only where it cannot run.
fn on_this_node(
    snapshot: &Snapshot,
    finding: &Finding,
    remedy: RemedyName,
    node: &str,
) -> RemedyName {
    use RemedyName::{RenewCniKubeconfig, RestartCalicoNode, RestoreBinaries, RestoreConflist};
    if remedy != RestartCalicoNode || snapshot.calico_node_cannot_start(node).is_none() {
        return remedy;
    }
    match finding.code.0 {
        "CAL-CNI-001" | "CAL-CNI-002" => RestoreConflist,
        "CAL-CNI-004" => RestoreBinaries,
        "CAL-CNI-006" => RenewCniKubeconfig,
        _ => remedy,
    }
}

/// All pods that hang on one node, each once.
pub(super) fn all_hanging(needs: &[Need<'_>]) -> Vec<PodRef> {
    let all: BTreeSet<&PodRef> = needs.iter().flat_map(|need| &need.hanging).collect();
    all.into_iter().cloned().collect()
}

/// The pods on the node that the findings are about. calico-node's own pod is replaced, not waited for.
fn hanging(snapshot: &Snapshot, need: &Need<'_>) -> Vec<PodRef> {
    let names: BTreeSet<&str> = need
        .causes
        .iter()
        .chain(&need.symptoms)
        .filter(|finding| finding.subject.kind == SubjectKind::Pod)
        .flat_map(|finding| finding.subject.names.iter().map(String::as_str))
        .collect();
    let on_node = |pod: &&Pod| pod.spec.node_name == need.node && !pod.is_calico_node();
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
