//! What a node is meant to be, and what it is.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{BpfFacts, Endpoint, NodeDataPlane, Situation, text};
use super::{Wanted, endpoint, kernel, wanted_on};
use crate::snapshot::{Gap, Known};
use serde_json::Value;

/// Where kube-proxy, or Felix in its place, says whether it is well.
pub(super) const HEALTHZ: u16 = 10256;
/// The part of Felix that makes the data plane.
const MANAGER: &str = "BPFEndpointManager";
/// Annotation of a Service that eBPF is not to translate.
const EXCLUDED: &str = "/metadata/annotations/projectcalico.org~1natExcludeService";

/// Which data plane a node really has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Real {
    /// eBPF, as it is meant to be.
    On,
    /// None of eBPF, as it is meant to be.
    Off,
    /// eBPF is meant to be on, and is not.
    Fallback {
        /// Why, as far as that can be told.
        why: String,
    },
    /// eBPF is meant to be off, and something of it is there.
    Leftover,
    /// No calico-node is meant to run there.
    WithoutCalico,
    /// It could not be seen.
    Unknown(Gap),
}

impl Real {
    /// In a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Fallback { .. } => "fallback",
            Self::Leftover => "leftover",
            Self::WithoutCalico => "without-calico",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// A node.
#[derive(Clone, Debug)]
pub struct NodeState {
    /// What Felix there is told.
    pub wanted: Known<Wanted>,
    /// What it is.
    pub real: Real,
    /// Interfaces that Calico's programs are attached to.
    pub interfaces: Known<usize>,
    /// Addresses and ports that eBPF translates.
    pub frontends: Known<usize>,
    /// Addresses and ports that kube-proxy's rules translate.
    pub rules: Known<usize>,
    /// Whether somebody answers on kube-proxy's port for health checks.
    pub healthz: Known<bool>,
    /// Where calico-node reaches the API server.
    pub endpoint: Known<Endpoint>,
    /// What is wrong with eBPF there although it is on, in sentences.
    pub problems: Vec<String>,
}

pub(super) fn state(situation: &Situation<'_>, name: &str, facts: &Known<BpfFacts>) -> NodeState {
    let wanted = wanted_on(situation, name);
    let facts = match facts {
        Known::Known(facts) => facts,
        other => return unseen(situation, name, wanted, other),
    };
    let real = real(situation, name, facts, &wanted);
    let problems = if real == Real::On { problems(situation, facts) } else { Vec::new() };
    NodeState {
        wanted,
        real,
        interfaces: facts.programs.as_ref().map(BTreeMap::len),
        frontends: facts.nat.as_ref().map(BTreeMap::len),
        rules: facts.kube_proxy.as_ref().map(BTreeSet::len),
        healthz: facts.listeners.as_ref().map(|it| it.contains(&HEALTHZ)),
        endpoint: facts.endpoint.clone(),
        problems,
    }
}

fn unseen(
    situation: &Situation<'_>,
    name: &str,
    wanted: Known<Wanted>,
    facts: &Known<BpfFacts>,
) -> NodeState {
    let gap = facts.gap().cloned().unwrap_or_else(|| {
        let why = crate::snapshot::GapReason::NotAsked;
        Gap::new(format!("nodes/{name}/bpf.txt"), why, "the node was not looked at")
    });
    let is_managed = situation.snapshot.is_managed(name);
    let real = if is_managed { Real::Unknown(gap.clone()) } else { Real::WithoutCalico };
    NodeState {
        wanted,
        real,
        interfaces: Known::Unknown(gap.clone()),
        frontends: Known::Unknown(gap.clone()),
        rules: Known::Unknown(gap.clone()),
        healthz: Known::Unknown(gap.clone()),
        endpoint: Known::Unknown(gap),
        problems: Vec::new(),
    }
}

fn real(situation: &Situation<'_>, name: &str, facts: &BpfFacts, wanted: &Known<Wanted>) -> Real {
    let seen = match facts.state() {
        Known::Known(seen) => seen,
        Known::Unknown(gap) => return Real::Unknown(gap),
        Known::Absent => return Real::Off,
    };
    let is_wanted = match wanted {
        Known::Unknown(gap) => return Real::Unknown(gap.clone()),
        Known::Known(wanted) => wanted.on,
        Known::Absent => false,
    };
    match (is_wanted, seen) {
        (true, NodeDataPlane::Bpf) => Real::On,
        (true, _) => Real::Fallback { why: reason(situation, name, facts) },
        (false, NodeDataPlane::Iptables) => Real::Off,
        (false, _) => Real::Leftover,
    }
}

/// Why eBPF is not on. Felix says it in its log alone; what can be told without is told.
fn reason(situation: &Situation<'_>, name: &str, facts: &BpfFacts) -> String {
    if let Some(refusal) = facts.kernel.known().and_then(|it| kernel::refusal(it)) {
        return refusal;
    }
    let has_file_system = |mounts: &Vec<super::super::Mount>| {
        mounts.iter().any(|it| it.kind == "bpf" && it.point == "/sys/fs/bpf")
    };
    if facts.mounts.known().is_some_and(|it| !has_file_system(it)) {
        return "the BPF file system is not mounted into calico-node".to_owned();
    }
    if let Some(says) = not_ready(facts) {
        return says;
    }
    let pod = situation.snapshot.calico_node_on(name);
    let Some(pod) = pod else { return "there is no calico-node pod".to_owned() };
    let metadata = &pod.metadata;
    format!(
        "its reason is in the log: kubectl -n {} logs {} -c calico-node | grep BPF",
        metadata.namespace, metadata.name
    )
}

/// What Felix itself says of its data plane when it is not in order.
fn not_ready(facts: &BpfFacts) -> Option<String> {
    let said = facts.readiness.known()?.iter().find(|it| it.component == MANAGER)?;
    said.readiness.contains("non-ready").then(|| format!("Felix says: {MANAGER}: {}", said.detail))
}

/// What is wrong although programs are attached and there is a table.
fn problems(situation: &Situation<'_>, facts: &BpfFacts) -> Vec<String> {
    let mut all: Vec<String> = not_ready(facts).into_iter().collect();
    let (Some(service), Some(nat)) = (endpoint::kubernetes(situation), facts.nat.known()) else {
        return all;
    };
    if text(service, EXCLUDED).is_some() {
        return all;
    }
    let ports = service.pointer("/spec/ports").and_then(Value::as_array);
    let port = ports.and_then(|it| it.first()?.get("port")?.as_u64());
    for address in endpoint::cluster_ips(situation) {
        let found = nat.iter().find(|(key, _)| {
            key.address.to_string() == address && Some(u64::from(key.port)) == port
        });
        match found {
            // IPv6 has a table of its own, and may be off.
            None if address.contains(':') => {}
            None => all.push("the table of Services lacks default/kubernetes".to_owned()),
            Some((_, served)) if served.backends == 0 => {
                all.push("default/kubernetes has no backend in the table of Services".to_owned());
            }
            Some(_) => {}
        }
    }
    all
}
