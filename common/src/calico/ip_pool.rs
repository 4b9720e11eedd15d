//! IP pools.

use serde::{Deserialize, Serialize};

use crate::slim::Metadata;

/// A range of addresses for pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpPool {
    /// Metadata.
    pub metadata: Metadata,
    /// Desired state.
    pub spec: IpPoolSpec,
}

/// Desired state of an [`IpPool`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IpPoolSpec {
    /// The range.
    pub cidr: String,
    /// `Always`, `CrossSubnet`, `Never`; empty means Never.
    pub ipip_mode: String,
    /// `Always`, `CrossSubnet`, `Never`; empty means Never.
    pub vxlan_mode: String,
    /// True when no new addresses are taken from it.
    pub disabled: bool,
    /// Length of the prefix of its blocks; 0 means [`IpPoolSpec::DEFAULT_BLOCK_SIZE`].
    pub block_size: u8,
    /// True when addresses that leave the pool are translated.
    pub nat_outgoing: bool,
    /// True when its blocks are not exported to BGP peers.
    #[serde(rename = "disableBGPExport")]
    pub disable_bgp_export: bool,
    /// Which nodes take addresses from it, in Calico's language of selectors; empty means all.
    pub node_selector: String,
    /// Whose pods take addresses from it (from v3.31); empty means all.
    pub namespace_selector: String,
    /// `Workload`, `Tunnel`, `LoadBalancer`; empty means the first two.
    pub allowed_uses: Vec<String>,
    /// `Automatic` or `Manual` (from v3.30); empty means Automatic.
    pub assignment_mode: String,
}

impl IpPoolSpec {
    /// Prefix lengths of blocks of pools that name none: IPv4, IPv6.
    pub const DEFAULT_BLOCK_SIZE: (u8, u8) = (26, 122);

    /// Prefix length of its blocks.
    pub fn block_prefix(&self) -> u8 {
        let (v4, v6) = Self::DEFAULT_BLOCK_SIZE;
        match self.block_size {
            0 if self.cidr.contains(':') => v6,
            0 => v4,
            size => size,
        }
    }
}
