//! Objects of Calico IPAM, alike in both API groups: what libcalico-go writes, read leniently.
//!
//! One block is written by one node and by whoever releases an address in it; its `sequenceNumber` grows with every write.

mod affinity;
mod attributes;
mod block;
mod configuration;
mod handle;

pub use affinity::{AffinityState, BlockAffinity, BlockAffinitySpec};
pub use attributes::{AllocationAttributes, go_time};
pub use block::{BlockAttribute, IpamBlock, IpamBlockSpec};
pub use configuration::{
    ControllersSpec, DEFAULT_MAX_BLOCKS, IpReservation, IpReservationSpec, IpamConfig,
    IpamConfigSpec, IpamConfiguration, KubeControllersConfiguration, KubeControllersSpec,
    LoadBalancerController, NodeController,
};
pub use handle::{IpamHandle, IpamHandleSpec};

use serde::{Deserialize, Deserializer};

/// A boolean that one API group writes as `true` and the other as `"true"`.
pub(super) fn lenient_bool<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Bool(bool),
        Text(String),
    }
    Ok(match Option::<Either>::deserialize(from)? {
        Some(Either::Bool(it)) => it,
        Some(Either::Text(it)) => it.eq_ignore_ascii_case("true"),
        None => false,
    })
}
