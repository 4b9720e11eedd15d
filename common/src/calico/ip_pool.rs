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
}
