//! Calico's vocabulary: lenient types for both API groups, names, defaults.

mod cluster_information;
pub mod credentials;
mod felix_configuration;
mod ip_pool;
pub mod ipam;
pub mod names;
pub mod selector;
pub mod veth;

pub use cluster_information::{ClusterInformation, ClusterInformationSpec};
pub use felix_configuration::{FelixConfiguration, FelixSpec};
pub use ip_pool::{IpPool, IpPoolSpec};
