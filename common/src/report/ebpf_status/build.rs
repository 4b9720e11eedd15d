//! From the status to its documents.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::v1::{API_VERSION, ClusterSummary};
use super::{
    EbpfStatusReport, EndpointReport, InvariantReport, KubeProxySummary, NodeReport, WantedReport,
};
use crate::bpf::Situation;
use crate::bpf::kube_proxy::{KubeProxyState, KubeProxyWay};
use crate::bpf::status::{
    EbpfStatus, EndpointMode, EndpointUse, Holds, Invariant, NodeState, Real, Wanted, Weight,
};
use crate::snapshot::{Gap, Known};

impl EbpfStatusReport {
    /// The report of `status`. The verdict is left to its caller.
    pub fn new(situation: &Situation<'_>, status: &EbpfStatus) -> Self {
        let mut counts = BTreeMap::new();
        for node in status.nodes.values() {
            *counts.entry(node.real.word()).or_default() += 1;
        }
        Self {
            api_version: API_VERSION,
            kind: "EbpfStatusReport",
            taken: situation.snapshot.taken,
            cluster: ClusterSummary::of(situation.snapshot),
            verdict: "healthy",
            class: status.class.word(),
            wanted: status.wanted.known().map(wanted),
            endpoint: status.endpoint.known().map(endpoint),
            kube_proxy: kube_proxy(situation, status),
            counts,
            nodes: status.nodes.iter().map(|(name, it)| node(name, it)).collect(),
            invariants: status.invariants.iter().map(invariant).collect(),
        }
    }
}

fn wanted(wanted: &Wanted) -> WantedReport {
    WantedReport { on: wanted.on, by: wanted.by.clone() }
}

fn endpoint(way: &EndpointUse) -> EndpointReport {
    let mode = match way.mode {
        EndpointMode::ClusterIp => "ClusterIP",
        EndpointMode::ConfigMap => "ConfigMap",
        EndpointMode::Bootstrap => "Bootstrap",
        EndpointMode::NodeLocal => "NodeLocal",
        EndpointMode::Environment => "Environment",
    };
    EndpointReport {
        mode,
        written: way.written.as_ref().map(ToString::to_string),
        by: way.by.clone(),
        used: way.used.iter().map(ToString::to_string).collect(),
    }
}

fn kube_proxy(situation: &Situation<'_>, status: &EbpfStatus) -> KubeProxySummary {
    let unknown = match &status.kube_proxy {
        KubeProxyState::Unknown(gap) => Some(gap.clone()),
        _ => None,
    };
    KubeProxySummary {
        state: status.kube_proxy.word(),
        serves: status.kube_proxy.serves(),
        pods: situation.kube_proxy_pods().known().map(Vec::len),
        distribution: status.distribution.id,
        unknown,
    }
}

fn node(name: &str, node: &NodeState) -> NodeReport {
    let why = match &node.real {
        Real::Fallback { why } => Some(why.clone()),
        Real::Unknown(gap) => Some(because(gap)),
        _ => None,
    };
    NodeReport {
        name: name.to_owned(),
        wanted: node.wanted.known().map(wanted),
        real: node.real.word(),
        why,
        interfaces: node.interfaces.known().copied(),
        frontends: node.frontends.known().copied(),
        kube_proxy_rules: node.rules.known().copied(),
        healthz: node.healthz.known().copied(),
        endpoint: node.endpoint.known().map(ToString::to_string),
        problems: node.problems.clone(),
    }
}

fn invariant(invariant: &Invariant) -> InvariantReport {
    let mut report = InvariantReport {
        id: invariant.id,
        title: invariant.title,
        holds: "yes",
        severity: None,
        seen: Vec::new(),
        todo: None,
        why: None,
    };
    match &invariant.holds {
        Holds::Yes => {}
        Holds::No { weight, seen, todo } => {
            report.holds = "no";
            report.severity = Some(match weight {
                Weight::Error => "error",
                Weight::Warning => "warning",
            });
            report.seen.clone_from(seen);
            report.todo = Some(todo.clone());
        }
        Holds::Unknown(gap) => {
            report.holds = "unknown";
            report.why = Some(because(gap));
        }
        Holds::NotApplicable { why } => {
            report.holds = "not-applicable";
            report.why = Some(why.clone());
        }
    }
    report
}

fn because(gap: &Gap) -> String {
    if gap.detail.is_empty() { format!("{}: {:?}", gap.what, gap.why) } else { gap.detail.clone() }
}

/// The document that `calico-ebpf kube-proxy status` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KubeProxyReport {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `KubeProxyReport`.
    pub kind: &'static str,
    /// What was looked at.
    pub cluster: ClusterSummary,
    /// The exit code in a word.
    pub verdict: &'static str,
    /// kube-proxy.
    pub kube_proxy: KubeProxySummary,
    /// The distribution, for people.
    pub distribution: &'static str,
    /// `node-selector`, `already-off`, `by-hand`, `impossible`.
    pub way: &'static str,
    /// How it is stopped, or why it cannot be.
    pub instruction: Option<String>,
    /// How it is started again.
    pub instruction_back: Option<String>,
    /// Who may undo it.
    pub warnings: Vec<String>,
    /// Nodes on which rules of kube-proxy were seen; null when that is not known of all.
    pub nodes_with_rules: Option<usize>,
    /// Those invariants that are about kube-proxy.
    pub invariants: Vec<InvariantReport>,
}

/// Invariants that are about kube-proxy.
const ABOUT_KUBE_PROXY: [&str; 4] = ["I1", "I2", "I7", "I8"];

impl KubeProxyReport {
    /// The part of `status` that is about kube-proxy, and how it is stopped.
    pub fn new(situation: &Situation<'_>, status: &EbpfStatus, way: &KubeProxyWay) -> Self {
        let whole = EbpfStatusReport::new(situation, status);
        let rules = status.nodes.values().map(|it| match it.rules {
            // Felix empties the chains and leaves them there.
            Known::Known(rules) => Some(usize::from(rules > 0)),
            Known::Absent => Some(0),
            Known::Unknown(_) => None,
        });
        let mut report = Self {
            api_version: API_VERSION,
            kind: "KubeProxyReport",
            cluster: whole.cluster,
            verdict: "healthy",
            kube_proxy: whole.kube_proxy,
            distribution: status.distribution.name,
            way: "node-selector",
            instruction: None,
            instruction_back: None,
            warnings: Vec::new(),
            nodes_with_rules: rules.sum(),
            invariants: whole
                .invariants
                .into_iter()
                .filter(|it| ABOUT_KUBE_PROXY.contains(&it.id))
                .collect(),
        };
        match way {
            KubeProxyWay::DaemonSet { warnings } => report.warnings.clone_from(warnings),
            KubeProxyWay::AlreadyOff => report.way = "already-off",
            KubeProxyWay::ByHand { instruction, instruction_back, .. } => {
                report.way = "by-hand";
                report.instruction = Some(instruction.clone());
                report.instruction_back = Some(instruction_back.clone());
            }
            KubeProxyWay::Impossible { why } => {
                report.way = "impossible";
                report.instruction = Some(why.clone());
            }
        }
        report
    }
}

/// Why this tool does not stop kube-proxy itself; none when it does, or needs not.
pub fn way_text(way: &KubeProxyWay) -> Option<String> {
    match way {
        KubeProxyWay::DaemonSet { .. } | KubeProxyWay::AlreadyOff => None,
        KubeProxyWay::ByHand { kind, instruction, .. } => {
            Some(format!("kube-proxy is the business of {kind} here. To stop it: {instruction}"))
        }
        KubeProxyWay::Impossible { why } => Some(format!("kube-proxy cannot be stopped: {why}")),
    }
}
