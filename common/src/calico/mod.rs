//! Calico's vocabulary: lenient types for both API groups, names, defaults.

mod cluster_information;
pub mod credentials;
mod ip_pool;
pub mod names;
pub mod veth;

pub use cluster_information::{ClusterInformation, ClusterInformationSpec};
pub use ip_pool::{IpPool, IpPoolSpec};
