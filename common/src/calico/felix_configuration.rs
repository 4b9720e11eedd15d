//! Settings of Felix, Calico's agent on each node.

use serde::{Deserialize, Serialize};

use crate::slim::Metadata;

/// A FelixConfiguration: `default` for the cluster, `node.NAME` for one node, or one with a selector of nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FelixConfiguration {
    /// Metadata.
    pub metadata: Metadata,
    /// What it says.
    pub spec: FelixSpec,
}

/// What a [`FelixConfiguration`] says about what Felix makes on a node; nothing for what it leaves open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FelixSpec {
    /// Which nodes it is about, instead of by its name (v3.32 and later).
    pub node_selector: Option<String>,
    /// Whether the eBPF data plane is on.
    pub bpf_enabled: Option<bool>,
    /// Prefixes of the interfaces that pods have, separated by commas; `cali` unless it is said.
    pub interface_prefix: Option<String>,
    /// Whether there is a VXLAN device, whatever the IP pools ask for.
    pub vxlan_enabled: Option<bool>,
    /// Whether IP-in-IP is used, whatever the IP pools ask for.
    pub ipip_enabled: Option<bool>,
    /// Whether pods' packets between nodes are encrypted, IPv4.
    pub wireguard_enabled: Option<bool>,
    /// The same, IPv6.
    #[serde(rename = "wireguardEnabledV6")]
    pub wireguard_enabled_v6: Option<bool>,
    /// `Legacy`, `NFT`, `Auto`.
    pub iptables_backend: Option<String>,
    /// `Enabled`, `Disabled`, `Auto`; releases before v3.29 have no such mode.
    #[serde(rename = "nftablesMode")]
    pub nftables_mode: Option<String>,
    /// Whether IPv6 is programmed.
    #[serde(rename = "ipv6Support")]
    pub ipv6_support: Option<bool>,
}
