//! From a snapshot to the status of its nodes.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::super::v1::{API_VERSION, ClusterSummary};
use super::{NodeStatus, NodeVerdict, PodStatus, StatusReport, TokenStatus, UnknownFact};
use super::{agents, tunnels};
use crate::calico::credentials::refusal;
use crate::slim::Pod;
use crate::snapshot::{Gap, HostFacts, Known, Snapshot};

/// Container of a calico-node pod that everything is in.
const CONTAINER: &str = "calico-node";
/// Facts without which a node is not called healthy.
const NEEDED: [&str; 5] = ["pod", "felix", "bird", "token", "tunnels"];

impl StatusReport {
    /// The status of the nodes called `only`, or of all when it is empty. The verdict is left to [`Self::judge`]'s caller.
    pub fn new(snapshot: &Snapshot, only: &BTreeSet<String>) -> Self {
        let names = node_names(snapshot);
        let nodes = names
            .into_iter()
            .filter(|name| only.is_empty() || only.contains(*name))
            .map(|name| node(snapshot, name))
            .collect();
        let unknown =
            snapshot.nodes.gap.as_ref().map(|gap| unknown("nodes", gap)).into_iter().collect();
        Self {
            api_version: API_VERSION,
            kind: "StatusReport",
            taken: snapshot.taken,
            cluster: ClusterSummary::of(snapshot),
            verdict: "healthy",
            nodes,
            unknown,
            errors: Vec::new(),
        }
    }

    /// The worst that is known: something is wrong, or not all is known, or all is well.
    pub fn judge(&self) -> NodeVerdict {
        let has = |verdict| self.nodes.iter().any(|node| node.verdict == verdict);
        if has(NodeVerdict::Unhealthy) {
            NodeVerdict::Unhealthy
        } else if has(NodeVerdict::Unknown) || !self.unknown.is_empty() || self.nodes.is_empty() {
            NodeVerdict::Unknown
        } else {
            NodeVerdict::Healthy
        }
    }
}

/// Nodes by name, and those that only calico-node pods tell of.
fn node_names(snapshot: &Snapshot) -> BTreeSet<&str> {
    let nodes = snapshot.nodes.items.iter().map(|node| node.metadata.name.as_str());
    let of_pods = snapshot.calico_node_pods().map(|pod| pod.spec.node_name.as_str());
    nodes.chain(of_pods).filter(|name| !name.is_empty()).collect()
}

pub(super) fn unknown(what: &'static str, gap: &Gap) -> UnknownFact {
    let why = if gap.detail.is_empty() { format!("{:?}", gap.why) } else { gap.detail.clone() };
    UnknownFact { what, why }
}

fn node(snapshot: &Snapshot, name: &str) -> NodeStatus {
    let mut status = NodeStatus {
        name: name.to_owned(),
        verdict: NodeVerdict::Unknown,
        pod: None,
        felix: agents::FELIX,
        bird: super::AgentStatus::default(),
        token: None,
        tunnels: None,
        routes: None,
        uptime_seconds: None,
        booted_at: None,
        problems: Vec::new(),
        unknown: Vec::new(),
    };
    if !snapshot.is_managed(name) {
        status.verdict = NodeVerdict::NotManaged;
        status.felix = super::AgentStatus::default();
        return status;
    }
    pod(snapshot, &mut status);
    agents::add(snapshot, &mut status);
    token(snapshot, &mut status);
    tunnels::add(snapshot, &mut status);
    let facts = snapshot.host(name);
    let routes = facts.as_ref().and_then(|it| it.block_routes.as_ref());
    status.routes = known("routes", routes, &mut status).copied();
    uptime(&facts, &mut status);
    status.unknown.sort();
    status.verdict = verdict(&status);
    status
}

/// The value of a fact; what is unknown is noted.
pub(super) fn known<T>(what: &'static str, fact: Known<T>, status: &mut NodeStatus) -> Option<T> {
    match fact {
        Known::Known(value) => Some(value),
        Known::Absent => None,
        Known::Unknown(gap) => {
            status.unknown.push(unknown(what, &gap));
            None
        }
    }
}

fn verdict(status: &NodeStatus) -> NodeVerdict {
    if !status.problems.is_empty() {
        NodeVerdict::Unhealthy
    } else if status.unknown.iter().any(|it| NEEDED.contains(&it.what)) {
        NodeVerdict::Unknown
    } else {
        NodeVerdict::Healthy
    }
}

fn pod(snapshot: &Snapshot, status: &mut NodeStatus) {
    let Some(pod) = snapshot.calico_node_on(&status.name) else {
        if let Some(gap) = &snapshot.pods.gap {
            status.unknown.push(unknown("pod", gap));
        } else if snapshot.pods.is_whole() {
            status.problems.push("there is no calico-node pod".to_owned());
        } else {
            let why = "pods were not read".to_owned();
            status.unknown.push(UnknownFact { what: "pod", why });
        }
        return;
    };
    let found = pod_status(pod);
    if !found.ready {
        let name = &found.name;
        status.problems.push(match found.state.as_str() {
            "not ready" => format!("calico-node pod {name} is not ready"),
            state => format!("calico-node pod {name} is not ready: {state}"),
        });
    }
    status.pod = Some(found);
}

fn pod_status(pod: &Pod) -> PodStatus {
    let container = pod.status.container_statuses.iter().find(|it| it.name == CONTAINER);
    let image = pod.spec.containers.iter().find(|it| it.name == CONTAINER).map(|it| &it.image);
    let ready = pod.is_ready() && !pod.is_finished();
    PodStatus {
        name: pod.full_name(),
        state: if ready && !pod.is_terminating() { "ready".to_owned() } else { state(pod) },
        ready,
        running: !pod.is_finished() && container.is_some_and(|it| it.state.running.is_some()),
        restarts: container.map_or(0, |it| it.restart_count),
        created: pod.metadata.creation_timestamp,
        version: image.and_then(|image| tag(image)),
    }
}

/// Why a pod is not ready, as shortly as kubectl says it.
fn state(pod: &Pod) -> String {
    if pod.is_terminating() {
        return "being deleted".to_owned();
    }
    if pod.is_finished() {
        let reason = &pod.status.reason;
        return if reason.is_empty() { pod.status.phase.clone() } else { reason.clone() };
    }
    let all = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
    let waits = |reason: &str| !reason.is_empty() && reason != "PodInitializing";
    let waiting = all.filter_map(|it| it.state.waiting.as_ref()).map(|it| it.reason.as_str());
    match waiting.filter(|reason| waits(reason)).map(str::to_owned).next() {
        Some(reason) => reason,
        None if pod.status.phase == "Running" => "not ready".to_owned(),
        None => pod.status.phase.clone(),
    }
}

/// `v3.28.4` of `docker.io/calico/node:v3.28.4@sha256:…`.
fn tag(image: &str) -> Option<String> {
    let name = image.split('@').next()?.rsplit('/').next()?;
    name.split_once(':').map(|(_, tag)| tag.to_owned())
}

fn token(snapshot: &Snapshot, status: &mut NodeStatus) {
    let file = snapshot.host(&status.name).and_then(|facts| facts.cni_kubeconfig.as_ref());
    let file = match file {
        Known::Known(file) => file,
        Known::Absent => {
            status
                .problems
                .push("calico-kubeconfig, the CNI plugin's credentials, is missing".to_owned());
            return;
        }
        Known::Unknown(gap) => {
            status.unknown.push(unknown("token", &gap));
            return;
        }
    };
    let claims = file.token.known().cloned().unwrap_or_default();
    let accepted = match refusal(file, &snapshot.credentials_for(file), snapshot.taken) {
        Known::Absent => Some(true),
        Known::Known(refusal) => {
            status.problems.push(format!("the CNI plugin's credentials are rejected: {refusal}"));
            Some(false)
        }
        Known::Unknown(gap) => {
            status.unknown.push(unknown("token", &gap));
            None
        }
    };
    let (issued_at, expires_at) = (claims.issued_at, claims.expires_at);
    status.token = Some(TokenStatus { accepted, issued_at, expires_at });
}

fn uptime(facts: &Known<&HostFacts>, status: &mut NodeStatus) {
    let uptime = facts.as_ref().and_then(|it| it.uptime_seconds.as_ref());
    status.uptime_seconds = known("uptime", uptime, status).copied();
    let clock = facts.known().and_then(|it| it.time.known().copied());
    status.booted_at = status.uptime_seconds.zip(clock).and_then(|(seconds, clock)| {
        let seconds = i64::try_from(seconds).ok()?;
        clock.checked_sub(SignedDuration::from_secs(seconds)).ok()
    });
}
