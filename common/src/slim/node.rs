//! Nodes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Metadata;

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Metadata.
    pub metadata: Metadata,
    /// Desired state.
    pub spec: NodeSpec,
    /// Observed state.
    pub status: NodeStatus,
}

/// Desired state of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// What the cloud calls it: `aws:///eu-central-1a/i-0abc`.
    #[serde(rename = "providerID")]
    pub provider_id: String,
    /// True when it is cordoned.
    pub unschedulable: bool,
    /// Taints.
    pub taints: Vec<Taint>,
}

/// A taint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Effect.
    pub effect: String,
}

/// Observed state of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// Conditions.
    pub conditions: Vec<NodeCondition>,
    /// Addresses.
    pub addresses: Vec<NodeAddress>,
    /// System facts.
    pub node_info: NodeInfo,
    /// Images on the node: the fifty largest.
    pub images: Vec<ContainerImage>,
}

/// An image on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerImage {
    /// Its names, by tag and by digest.
    pub names: Vec<String>,
}

/// An address of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeAddress {
    /// `InternalIP`, `Hostname`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The address.
    pub address: String,
}

/// A condition of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeCondition {
    /// `Ready`, `NetworkUnavailable`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False`, `Unknown`.
    pub status: String,
    /// Machine-readable reason.
    pub reason: String,
    /// Text for a person.
    pub message: String,
    /// When it changed last.
    pub last_transition_time: Option<Timestamp>,
    /// When the kubelet last confirmed it.
    pub last_heartbeat_time: Option<Timestamp>,
}

/// System facts of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeInfo {
    /// Kernel.
    pub kernel_version: String,
    /// `containerd://1.6.20`.
    pub container_runtime_version: String,
    /// `v1.34.4`.
    pub kubelet_version: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub os_image: String,
    /// `linux` or `windows`.
    pub operating_system: String,
    /// As Go calls it: `amd64`, `arm64`.
    pub architecture: String,
    /// Changes with every boot.
    #[serde(rename = "bootID")]
    pub boot_id: String,
}

impl Node {
    /// The condition of this type.
    pub fn condition(&self, kind: &str) -> Option<&NodeCondition> {
        self.status.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// False for Windows nodes, where none of the Linux facts hold.
    pub fn is_linux(&self) -> bool {
        let os = &self.status.node_info.operating_system;
        os.is_empty() || os == "linux"
    }
}
