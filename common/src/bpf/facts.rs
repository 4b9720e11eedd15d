//! What one node shows of its data plane, parsed from the text of `node/bpf.sh`.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use crate::snapshot::{Gap, Known};

/// Where an API server is reached: what calico-node has in `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Address or name, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A protocol of a Service's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// 6
    Tcp,
    /// 17
    Udp,
    /// Any other, by its number.
    Other(u8),
}

/// What is translated: an address and port that a Service has on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NatFrontend {
    /// Address: a ClusterIP, an address of the node, an external one.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
}

/// What a NAT table holds for a frontend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Number of backends; 0 drops or refuses.
    pub backends: u32,
}

/// What one node shows of its data plane.
#[derive(Clone, Debug)]
pub struct BpfFacts {
    /// Where calico-node looks for the API server. Absent when its environment says nothing.
    pub endpoint: Known<Endpoint>,
    /// `FELIX_BPFENABLED` of calico-node's environment; absent when it is not set.
    pub variable: Known<bool>,
    /// Names of Calico's programs (`cali_…`, `calico_…`) by the interface that they are attached to, tc and tcx.
    pub programs: Known<BTreeMap<String, BTreeSet<String>>>,
    /// Paths of Calico's pins below /sys/fs/bpf.
    pub pins: Known<BTreeSet<String>>,
    /// Frontends of the NAT table, as `nat dump` prints it; absent where there is no such table (eBPF is off).
    pub nat: Known<BTreeMap<NatFrontend, Served>>,
    /// Frontends that kube-proxy's rules translate (iptables or nftables mode); absent when there are no such rules.
    pub kube_proxy: Known<BTreeSet<NatFrontend>>,
    /// What makes no sense in the text.
    pub faults: Vec<Gap>,
}
