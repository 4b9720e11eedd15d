//! What `status` prints: per node, calico-node and what it keeps up.
//!
//! Every fact is what was seen, or null with its reason in `unknown`. A node is healthy only when all of calico-node, Felix,
//! BIRD (where it is in use), the CNI plugin's credentials and the tunnel devices were seen to be.

mod agents;
mod judge;
#[cfg(test)]
mod tests;
mod text;
mod tunnels;

use jiff::Timestamp;
use serde::Serialize;

use super::v1::ClusterSummary;
use crate::snapshot::BlockRoutes;

pub use text::status_text;

/// The document that `status` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// [`super::v1::API_VERSION`].
    pub api_version: &'static str,
    /// `StatusReport`.
    pub kind: &'static str,
    /// When the cluster was looked at.
    pub taken: Timestamp,
    /// What was looked at.
    pub cluster: ClusterSummary,
    /// The exit code in a word.
    pub verdict: &'static str,
    /// The nodes, sorted by name.
    pub nodes: Vec<NodeStatus>,
    /// Facts about the whole that could not be had.
    pub unknown: Vec<UnknownFact>,
    /// What went wrong with the run itself; empty in a good one.
    pub errors: Vec<String>,
}

/// Whether a node's network is kept up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeVerdict {
    /// All was seen to be well.
    Healthy,
    /// Something is not.
    Unhealthy,
    /// Nothing that was seen speaks against it, but not all could be seen.
    Unknown,
    /// No calico-node is meant to run there.
    NotManaged,
}

/// One node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// The whole in a word.
    pub verdict: NodeVerdict,
    /// Its calico-node pod; null when there is none, or when that is unknown.
    pub pod: Option<PodStatus>,
    /// Felix.
    pub felix: AgentStatus,
    /// BIRD.
    pub bird: AgentStatus,
    /// The CNI plugin's credentials.
    pub token: Option<TokenStatus>,
    /// Tunnel devices that pools ask for, and others of Calico that are there, sorted by name.
    pub tunnels: Option<Vec<TunnelStatus>>,
    /// Routes to blocks of addresses.
    pub routes: Option<BlockRoutes>,
    /// Seconds since its boot.
    pub uptime_seconds: Option<u64>,
    /// When it booted, as far as its clock is known.
    pub booted_at: Option<Timestamp>,
    /// What is wrong, in sentences.
    pub problems: Vec<String>,
    /// What could not be seen.
    pub unknown: Vec<UnknownFact>,
}

/// A fact that could not be had.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct UnknownFact {
    /// `felix`, `bird`, `token`, `tunnels`, `routes`, `uptime`, `pod`, `nodes`.
    pub what: &'static str,
    /// Why.
    pub why: String,
}

/// A calico-node pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// `namespace/name`.
    pub name: String,
    /// `ready`, or in a word or two why it is not: `not ready`, `ImagePullBackOff`, `being deleted`, `Evicted`.
    pub state: String,
    /// True when its condition Ready is true.
    pub ready: bool,
    /// True when its container calico-node runs.
    pub running: bool,
    /// How often its container was restarted.
    pub restarts: i64,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Tag of its image.
    pub version: Option<String>,
}

/// A part of calico-node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AgentStatus {
    /// False when this install does without it; null when that is unknown.
    pub used: Option<bool>,
    /// Whether it calls itself alive.
    pub live: Option<bool>,
    /// Whether it calls itself ready.
    pub ready: Option<bool>,
}

/// The CNI plugin's token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenStatus {
    /// Whether the API server would accept it; null when that could not be judged.
    pub accepted: Option<bool>,
    /// When it was issued.
    pub issued_at: Option<Timestamp>,
    /// When its time is over.
    pub expires_at: Option<Timestamp>,
}

/// A tunnel device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TunnelStatus {
    /// Its name.
    pub name: String,
    /// `vxlan`, `ipip`, `wireguard`.
    pub kind: &'static str,
    /// True when it is there.
    pub present: bool,
    /// True when it is up.
    pub up: bool,
    /// Largest packet in bytes.
    pub mtu: Option<u32>,
    /// VNI of a VXLAN device.
    pub vni: Option<u32>,
    /// UDP port of a VXLAN device.
    pub port: Option<u16>,
}
