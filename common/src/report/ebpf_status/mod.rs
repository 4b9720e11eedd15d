//! What `calico-ebpf status` and `calico-ebpf kube-proxy status` print.

mod build;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::v1::ClusterSummary;
use crate::snapshot::Gap;

pub use build::{KubeProxyReport, way_text};
pub use text::{ebpf_status_text, kube_proxy_text};

/// The document that `calico-ebpf status` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EbpfStatusReport {
    /// [`super::v1::API_VERSION`].
    pub api_version: &'static str,
    /// `EbpfStatusReport`.
    pub kind: &'static str,
    /// When the cluster was looked at.
    pub taken: Timestamp,
    /// What was looked at.
    pub cluster: ClusterSummary,
    /// The exit code in a word.
    pub verdict: &'static str,
    /// `Off`, `On`, `OnWithKubeProxy`, `Mixed`, `Enabling`, `Broken`, `Unknown`.
    pub class: &'static str,
    /// What the cluster is meant to be; null when that is not known.
    pub wanted: Option<WantedReport>,
    /// How calico-node reaches the API server; null when that is not known.
    pub endpoint: Option<EndpointReport>,
    /// kube-proxy.
    pub kube_proxy: KubeProxySummary,
    /// How many nodes there are of each real state.
    pub counts: BTreeMap<&'static str, usize>,
    /// The nodes that run Linux, sorted by name.
    pub nodes: Vec<NodeReport>,
    /// What must hold.
    pub invariants: Vec<InvariantReport>,
}

/// What is wished for.
#[derive(Clone, Debug, Serialize)]
pub struct WantedReport {
    /// Whether eBPF is to be on.
    pub on: bool,
    /// Who says so.
    pub by: String,
}

/// How calico-node reaches the API server.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointReport {
    /// `ClusterIP`, `ConfigMap`, `Bootstrap`, `NodeLocal`, `Environment`.
    pub mode: &'static str,
    /// Where, as it is written down.
    pub written: Option<String>,
    /// Where it is written down.
    pub by: String,
    /// What is used on the nodes that were looked at.
    pub used: Vec<String>,
}

/// kube-proxy.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KubeProxySummary {
    /// `running`, `stopped`, `static-pod`, `in-process`, `absent`, `unknown`.
    pub state: &'static str,
    /// Whether it serves; null when that is not known.
    pub serves: Option<bool>,
    /// Its pods that have not ended; null when that is not known.
    pub pods: Option<usize>,
    /// The distribution, in a word.
    pub distribution: &'static str,
    /// Why the state is not known.
    pub unknown: Option<Gap>,
}

/// A node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    /// Its name.
    pub name: String,
    /// What Felix there is told; null when that is not known.
    pub wanted: Option<WantedReport>,
    /// `on`, `off`, `fallback`, `leftover`, `without-calico`, `unknown`.
    pub real: &'static str,
    /// Why it falls back, or is not known.
    pub why: Option<String>,
    /// Interfaces with Calico's programs; null when that is not known.
    pub interfaces: Option<usize>,
    /// What eBPF translates; null when there is no table, or that is not known.
    pub frontends: Option<usize>,
    /// What kube-proxy's rules translate; null when there are none, or that is not known.
    pub kube_proxy_rules: Option<usize>,
    /// Whether somebody answers on port 10256; null when that is not known.
    pub healthz: Option<bool>,
    /// Where calico-node reaches the API server.
    pub endpoint: Option<String>,
    /// What is wrong although eBPF is on.
    pub problems: Vec<String>,
}

/// What must hold.
#[derive(Clone, Debug, Serialize)]
pub struct InvariantReport {
    /// `I1`
    pub id: &'static str,
    /// It, as a sentence.
    pub title: &'static str,
    /// `yes`, `no`, `unknown`, `not-applicable`.
    pub holds: &'static str,
    /// `error` or `warning`, where it does not hold.
    pub severity: Option<&'static str>,
    /// What was seen, where it does not hold.
    pub seen: Vec<String>,
    /// What to do about it.
    pub todo: Option<String>,
    /// Why it is not known, or not applicable.
    pub why: Option<String>,
}
