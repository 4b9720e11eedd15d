//! What has to be known besides the node itself before anything on it may be called left over.

use core::net::IpAddr;
use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::calico::veth;
use crate::plan::RulesBackend;
use crate::slim::{DaemonSet, Node, Pod};
use crate::snapshot::{Coverage, Gap, GapReason, Known, Snapshot};

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Calico lives on the node: only what it certainly does not need any more.
    Stale,
    /// The same without what pods left: checks judge that, by more than a scan.
    OtherMode,
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
    /// The same of the device for IPv6.
    pub vxlan_v6: Known<bool>,
    /// Whether a pool uses IP-in-IP.
    pub ipip: Known<bool>,
    /// Whether WireGuard is enabled.
    pub wireguard: Known<bool>,
    /// Whether Felix runs its BPF data plane.
    pub bpf: Known<bool>,
    /// Whether Felix programs IPv6.
    pub ipv6: Known<bool>,
    /// Whether BIRD routes between nodes.
    pub bird: Known<bool>,
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
            vxlan_v6: unknown("the IP pools"),
            ipip: unknown("the IP pools"),
            wireguard: unknown("FelixConfiguration"),
            bpf: unknown("FelixConfiguration"),
            ipv6: unknown("FelixConfiguration"),
            bird: unknown("DaemonSet calico-node"),
            backend: unknown("FelixConfiguration"),
            tunnel_addresses: BTreeSet::new(),
        }
    }
}

/// Annotations of a Node that hold addresses: the node's own, and those of its tunnel devices.
const NODE_ADDRESSES: [&str; 2] =
    ["projectcalico.org/IPv4Address", "projectcalico.org/IPv6Address"];
const TUNNEL_ADDRESSES: [&str; 5] = [
    "projectcalico.org/IPv4IPIPTunnelAddr",
    "projectcalico.org/IPv4VXLANTunnelAddr",
    "projectcalico.org/IPv6VXLANTunnelAddr",
    "projectcalico.org/IPv4WireguardInterfaceAddr",
    "projectcalico.org/IPv6WireguardInterfaceAddr",
];

/// Whether Calico lives on a node. Unknown unless it is certain that it neither does nor is about to.
pub fn lives_on(snapshot: &Snapshot, node: &str) -> Known<bool> {
    if let Some(pod) = snapshot.calico_node_on(node)
        && !pod.is_finished()
    {
        return Known::Known(true);
    }
    // DaemonSets are asked for by the label of calico-node: all of those that count are in the answer.
    let sets = &snapshot.daemon_sets;
    let sets_are_seen = sets.gap.is_none() && sets.coverage != Coverage::None;
    if !snapshot.pods.is_whole() || !sets_are_seen {
        let gap = snapshot.pods.gap.clone().or_else(|| snapshot.daemon_sets.gap.clone());
        return gap.map_or_else(|| unknown("pods and DaemonSets"), Known::Unknown);
    }
    // A DaemonSet that lacks pods may be about to make this node's.
    let lacks = |it: &&DaemonSet| {
        names_calico_node(it)
            && it.status.current_number_scheduled < it.status.desired_number_scheduled
    };
    match snapshot.daemon_sets.items.iter().find(lacks) {
        None => Known::Known(false),
        Some(set) => Known::Unknown(Gap::new(
            "cluster/daemonsets.apps.json",
            GapReason::Undecodable,
            format!("DaemonSet {} is still to get pods on some nodes", set.metadata.name),
        )),
    }
}

fn names_calico_node(set: &DaemonSet) -> bool {
    matches!(set.metadata.name.as_str(), "calico-node" | "canal")
}

impl Surroundings {
    /// What the snapshot says about `node`. `pools` are ranges that a person named besides.
    pub fn of(snapshot: &Snapshot, node: &str, scope: Scope, pools: &[IpNet]) -> Self {
        let found = snapshot.nodes.items.iter().find(|it| it.metadata.name == node);
        let (vxlan, ipip) = encapsulation(snapshot);
        Self {
            pod_links: pod_links(snapshot, node),
            node_addresses: node_addresses(snapshot),
            pools: all_pools(snapshot, pools),
            vxlan,
            ipip,
            tunnel_addresses: found
                .into_iter()
                .flat_map(|it| annotated(it, &TUNNEL_ADDRESSES))
                .collect(),
            ..Self::unknown(scope, node, Vec::new())
        }
    }
}

/// Interfaces by the names of the pods: a pod that has finished has none any more.
fn pod_links(snapshot: &Snapshot, node: &str) -> Known<BTreeSet<String>> {
    if !snapshot.pods.is_whole() {
        return unknown("the node's pods");
    }
    let has_one =
        |it: &&Pod| it.spec.node_name == node && !it.spec.host_network && !it.is_finished();
    let pods = snapshot.pods.items.iter().filter(has_one);
    Known::Known(pods.map(|it| veth::of_pod(&it.metadata.namespace, &it.metadata.name)).collect())
}

fn node_addresses(snapshot: &Snapshot) -> Known<BTreeSet<IpAddr>> {
    if !snapshot.nodes.is_whole() {
        return unknown("the addresses of the cluster's nodes");
    }
    let of = |node: &Node| -> Vec<IpAddr> {
        let told = node.status.addresses.iter().filter_map(|it| it.address.parse().ok());
        let keys: Vec<&str> = [NODE_ADDRESSES.as_slice(), &TUNNEL_ADDRESSES].concat();
        told.chain(annotated(node, &keys)).collect()
    };
    Known::Known(snapshot.nodes.items.iter().flat_map(of).collect())
}

/// Addresses in annotations, with or without the length of a prefix.
fn annotated(node: &Node, keys: &[&str]) -> Vec<IpAddr> {
    let value = |key: &&str| node.metadata.annotations.get(*key);
    let address = |it: &String| it.split('/').next().and_then(|it| it.parse().ok());
    keys.iter().filter_map(value).filter_map(address).collect()
}

/// Pools that there are no more of may have been there: none is as good as unknown.
fn all_pools(snapshot: &Snapshot, named: &[IpNet]) -> Known<Vec<IpNet>> {
    let own = || snapshot.ip_pools.items.iter().filter_map(|it| it.spec.cidr.parse().ok());
    let all: Vec<IpNet> = named.iter().copied().chain(own()).collect();
    if all.is_empty() { unknown("the IP pools") } else { Known::Known(all) }
}

/// Whether a pool asks for VXLAN, and for IP-in-IP. That no pool does says nothing about FelixConfiguration, which may.
fn encapsulation(snapshot: &Snapshot) -> (Known<bool>, Known<bool>) {
    let asks = |mode: &str| matches!(mode, "Always" | "CrossSubnet");
    let pools = &snapshot.ip_pools.items;
    let known = |is: bool| if is { Known::Known(true) } else { unknown("FelixConfiguration") };
    (
        known(pools.iter().any(|it| asks(&it.spec.vxlan_mode))),
        known(pools.iter().any(|it| asks(&it.spec.ipip_mode))),
    )
}

fn unknown<T>(what: &str) -> Known<T> {
    Known::Unknown(Gap::new(what, GapReason::NotAsked, "no cluster was asked"))
}
