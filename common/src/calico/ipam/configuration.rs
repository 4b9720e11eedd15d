//! Settings of IPAM and of its garbage collector.

use serde::{Deserialize, Serialize};

use crate::slim::Metadata;

/// What 0 of `maxBlocksPerHost` means (libcalico-go).
pub const DEFAULT_MAX_BLOCKS: u32 = 20;

/// Settings of IPAM (`crd.projectcalico.org`); there is one, `default`, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamConfig {
    /// Metadata.
    pub metadata: Metadata,
    /// Content.
    pub spec: IpamConfigSpec,
}

/// The same in `projectcalico.org`, where its kind has another name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamConfiguration {
    /// Metadata.
    pub metadata: Metadata,
    /// Content.
    pub spec: IpamConfigSpec,
}

impl From<IpamConfiguration> for IpamConfig {
    fn from(it: IpamConfiguration) -> Self {
        Self { metadata: it.metadata, spec: it.spec }
    }
}

/// Content of an [`IpamConfig`]; the defaults are those of a cluster without one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IpamConfigSpec {
    /// Addresses of a block are only for the node that it belongs to.
    pub strict_affinity: bool,
    /// Nodes take new blocks by themselves.
    pub auto_allocate_blocks: bool,
    /// Blocks that a node may have; 0 means [`DEFAULT_MAX_BLOCKS`].
    pub max_blocks_per_host: u32,
    /// `Enabled` or `Disabled` (from v3.32).
    #[serde(rename = "kubeVirtVMAddressPersistence")]
    pub kube_virt_vm_address_persistence: Option<String>,
    /// Seconds that an address rests after it was given back (from v3.33).
    pub ip_cooldown_seconds: Option<u32>,
}

impl Default for IpamConfigSpec {
    fn default() -> Self {
        Self {
            strict_affinity: false,
            auto_allocate_blocks: true,
            max_blocks_per_host: 0,
            kube_virt_vm_address_persistence: None,
            ip_cooldown_seconds: None,
        }
    }
}

/// Ranges that no new address is taken from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpReservation {
    /// Metadata.
    pub metadata: Metadata,
    /// Content.
    pub spec: IpReservationSpec,
}

/// Content of an [`IpReservation`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IpReservationSpec {
    /// The ranges.
    #[serde(rename = "reservedCIDRs")]
    pub reserved_cidrs: Vec<String>,
}

/// Settings of calico-kube-controllers; there is one, `default`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KubeControllersConfiguration {
    /// Metadata.
    pub metadata: Metadata,
    /// Content.
    pub spec: KubeControllersSpec,
}

/// Content of a [`KubeControllersConfiguration`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KubeControllersSpec {
    /// Settings by controller.
    pub controllers: ControllersSpec,
}

/// Settings by controller; absent means that it does not run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ControllersSpec {
    /// The one that collects addresses.
    pub node: Option<NodeController>,
    /// The one that gives addresses to Services (from v3.30).
    pub load_balancer: Option<LoadBalancerController>,
}

/// Settings of the controller of nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeController {
    /// How long an address must look leaked before it is collected, as Go writes durations; `0s` switches it off.
    pub leak_grace_period: Option<String>,
}

/// Settings of the controller of load balancers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadBalancerController {
    /// `AllServices` or `RequestedServicesOnly`.
    #[serde(rename = "assignIPs")]
    pub assign_ips: String,
}
