//! Which nodes are probed.
//!
//! Up to [`ALL_NODES_LIMIT`] nodes: all of them. In larger clusters: the suspect ones, at most [`ALL_NODES_LIMIT`], and
//! [`SAMPLE`] others. A node is suspect when its calico-node pod is not Ready, or when a pod that needs the pod network
//! is bound to it and has not started, or should be gone and is not. Of the other nodes nothing is then known, and
//! nothing is said.

use std::collections::{BTreeMap, BTreeSet};

use crate::slim::{Node, Pod};
use crate::snapshot::Snapshot;

/// Nodes up to which all are probed, and suspects that are probed at most.
pub const ALL_NODES_LIMIT: usize = 200;
/// Nodes without a symptom that are probed in larger clusters.
pub const SAMPLE: usize = 5;

/// A node to probe, or the reason why it cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// Through this pod.
    Through(&'a Pod),
    /// Nobody could be asked there.
    NoPod(String),
    /// Somebody should be there and cannot be asked.
    NotRunning(String),
}

/// The nodes to probe, by name.
pub(super) fn targets(seen: &Snapshot) -> BTreeMap<String, Target<'_>> {
    let agents = agents(seen);
    let mut names: BTreeSet<&str> =
        seen.nodes.items.iter().map(|node| node.metadata.name.as_str()).collect();
    // Nodes may be unreadable for this user while pods are not.
    names.extend(agents.keys());
    let chosen = if names.len() > ALL_NODES_LIMIT { choose(seen, &names, &agents) } else { names };
    let node = |name: &str| seen.nodes.items.iter().find(|node| node.metadata.name == name);
    chosen
        .into_iter()
        .map(|name| (name.to_owned(), target(node(name), agents.get(name).copied())))
        .collect()
}

/// How this one node is probed, whether it would be picked or not.
pub(super) fn target_of<'a>(seen: &'a Snapshot, name: &str) -> Target<'a> {
    let node = seen.nodes.items.iter().find(|node| node.metadata.name == name);
    target(node, agents(seen).get(name).copied())
}

/// The calico-node pod of each node; one that is being deleted only when there is no other.
fn agents(seen: &Snapshot) -> BTreeMap<&str, &Pod> {
    let mut agents: BTreeMap<&str, &Pod> = BTreeMap::new();
    for pod in seen.calico_node_pods().filter(|pod| !pod.spec.node_name.is_empty()) {
        let place = agents.entry(&pod.spec.node_name).or_insert(pod);
        let rank = |pod: &Pod| (!is_running(pod), pod.is_terminating(), pod.metadata.name.clone());
        if rank(pod) < rank(place) {
            *place = pod;
        }
    }
    agents
}

fn is_running(pod: &Pod) -> bool {
    pod.status.phase == "Running"
        && pod
            .status
            .container_statuses
            .iter()
            .any(|it| it.name == crate::node::PROBE_CONTAINER && it.state.running.is_some())
}

fn target<'a>(node: Option<&Node>, agent: Option<&'a Pod>) -> Target<'a> {
    let Some(pod) = agent else {
        return Target::NoPod("no calico-node pod is bound to the node".to_owned());
    };
    if node.is_some_and(|node| !kubelet_reports(node)) {
        return Target::NotRunning("the node's kubelet has stopped reporting".to_owned());
    }
    if is_running(pod) {
        Target::Through(pod)
    } else {
        let state = if pod.is_terminating() { "being deleted" } else { pod.status.phase.as_str() };
        Target::NotRunning(format!("calico-node pod {} does not run: {state}", pod.full_name()))
    }
}

/// The node controller sets Ready to Unknown when the kubelet is silent.
fn kubelet_reports(node: &Node) -> bool {
    node.condition("Ready").is_none_or(|ready| ready.status != "Unknown")
}

fn choose<'a>(
    seen: &'a Snapshot,
    names: &BTreeSet<&'a str>,
    agents: &BTreeMap<&'a str, &'a Pod>,
) -> BTreeSet<&'a str> {
    let mut suspects: BTreeSet<&str> = seen
        .pods
        .items
        .iter()
        .filter(|pod| !pod.spec.host_network && (is_unstarted(pod) || should_be_gone(pod, seen)))
        .map(|pod| pod.spec.node_name.as_str())
        .filter(|name| names.contains(name))
        .collect();
    let is_well = |name: &&str| agents.get(name).is_some_and(|pod| pod.is_ready());
    suspects.extend(names.iter().filter(|name| !is_well(name)));
    let others = names.difference(&suspects).take(SAMPLE).copied().collect::<Vec<_>>();
    suspects.into_iter().take(ALL_NODES_LIMIT).chain(others).collect()
}

fn is_unstarted(pod: &Pod) -> bool {
    pod.status.phase == "Pending" && !pod.spec.node_name.is_empty()
}

fn should_be_gone(pod: &Pod, seen: &Snapshot) -> bool {
    pod.metadata.deletion_timestamp.is_some_and(|due| due < seen.taken)
}
