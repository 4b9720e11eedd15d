//! Calico's eBPF data plane: what a node shows of it, what a cluster needs for it, and what state it is in.
//!
//! Everything here is pure: `collect` and `execute` look, this decides. `kubectl calico-ebpf` and doctor share it.

mod complaint;
pub mod endpoint;
mod facts;
pub mod kube_proxy;
pub mod load;
pub mod requirements;
mod situation;
pub mod status;

pub use complaint::{complaint, last_words};
pub use facts::{
    BpfFacts, DataLink, Endpoint, KubeProxyRules, Mount, NatFrontend, NodeDataPlane, Protocol,
    Reported, Served, is_workload,
};
pub use situation::{
    ENDPOINT_CONFIG_MAP, KUBE_PROXY, Situation, TIGERA_OPERATOR, endpoint_namespace, felix_group,
    is_kube_proxy, is_mirror, is_windows, text,
};
