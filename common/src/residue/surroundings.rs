//! What has to be known besides the node itself before anything on it may be called left over.

use core::net::IpAddr;
use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::plan::RulesBackend;
use crate::snapshot::{Gap, GapReason, Known};

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Calico lives on the node: only what it certainly does not need any more.
    Stale,
    /// Calico is not installed on the node: all of it.
    NotInstalled,
    /// Calico is about to leave the node: all of it, except what a living pod uses.
    AllState,
}

/// What Felix programs its rules with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FelixBackend {
    /// iptables, this implementation of it.
    Iptables(RulesBackend),
    /// nftables.
    Nftables,
    /// BPF programs. It still programs some rules, and nobody can say from outside with what.
    Bpf,
}

/// The cluster, as far as it decides about one node. What is unknown is taken for a reason to keep.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// What is looked for.
    pub scope: Scope,
    /// The node.
    pub node: String,
    /// Names of the interfaces that the pods of the node have, such as have finished excepted.
    pub pod_links: Known<BTreeSet<String>>,
    /// Addresses of the cluster's nodes, those of their tunnels included.
    pub node_addresses: Known<BTreeSet<IpAddr>>,
    /// Ranges of the IP pools.
    pub pools: Known<Vec<IpNet>>,
    /// Whether a pool uses VXLAN, or anything else asks for Calico's VXLAN device.
    pub vxlan: Known<bool>,
    /// Whether a pool uses IP-in-IP.
    pub ipip: Known<bool>,
    /// Whether WireGuard is enabled.
    pub wireguard: Known<bool>,
    /// Whether Felix runs its BPF data plane.
    pub bpf: Known<bool>,
    /// What Felix programs its rules with.
    pub backend: Known<FelixBackend>,
    /// Addresses of this node's own tunnel devices, as its Node object says.
    pub tunnel_addresses: BTreeSet<IpAddr>,
}

impl Surroundings {
    /// A machine of whose cluster nothing is known. `pools` are the ranges of addresses that a person named; without any,
    /// no route is called left over that is not told by its device.
    pub fn unknown(scope: Scope, node: &str, pools: Vec<IpNet>) -> Self {
        Self {
            scope,
            node: node.to_owned(),
            pod_links: unknown("the node's pods"),
            node_addresses: unknown("the addresses of the cluster's nodes"),
            pools: if pools.is_empty() { unknown("the IP pools") } else { Known::Known(pools) },
            vxlan: unknown("the IP pools"),
            ipip: unknown("the IP pools"),
            wireguard: unknown("FelixConfiguration"),
            bpf: unknown("FelixConfiguration"),
            backend: unknown("FelixConfiguration"),
            tunnel_addresses: BTreeSet::new(),
        }
    }
}

fn unknown<T>(what: &str) -> Known<T> {
    Known::Unknown(Gap::new(what, GapReason::NotAsked, "no cluster was asked"))
}
