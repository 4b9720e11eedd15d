//! Ranges that should be apart and are not: pools, blocks, Services, nodes and their networks.

use core::net::IpAddr;
use std::collections::BTreeMap;

use ipnet::IpNet;

use super::{Ledger, cidr};
use crate::slim::Node;
use crate::snapshot::Snapshot;

/// Node's own address with the prefix length of its network, as calico-node found it.
const NODE_ADDRESSES: [&str; 2] =
    ["projectcalico.org/IPv4Address", "projectcalico.org/IPv6Address"];

/// What a range is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// A pool, by name.
    Pool(String),
    /// A block.
    Block,
    /// A network that these nodes are in, as their addresses tell.
    NodeNetwork(Vec<String>),
    /// Addresses of nodes.
    Nodes(Vec<String>),
    /// Cluster addresses of Services, as `namespace/name`.
    Services(Vec<String>),
    /// What nobody gets.
    Reservation(String),
    /// What the user named.
    Given,
}

/// Two ranges that have addresses in common, or one that is not where it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Overlap {
    /// What is wrong.
    pub kind: Kind,
    /// The one.
    pub range: IpNet,
    /// What it is.
    pub side: Side,
    /// The other.
    pub with: IpNet,
    /// What that is.
    pub other: Side,
}

/// What is wrong with two ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Two pools: an address may be given out twice.
    Pools,
    /// Two blocks: the same, and routes lead to two nodes.
    Blocks,
    /// A pool holds addresses of nodes: pods may get them.
    NodeAddresses,
    /// A pool and a network of nodes: pods cannot reach hosts there, and what leaves to them is not translated.
    NodeNetwork,
    /// A pool holds cluster addresses of Services.
    Services,
    /// A pool and a range that the user named.
    Given,
    /// A reservation that touches no pool: it keeps nothing.
    IdleReservation,
}

impl Kind {
    /// For programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pools => "pools",
            Self::Blocks => "blocks",
            Self::NodeAddresses => "node-addresses",
            Self::NodeNetwork => "node-network",
            Self::Services => "services",
            Self::Given => "given",
            Self::IdleReservation => "idle-reservation",
        }
    }

    /// What follows from it.
    pub fn consequence(self) -> &'static str {
        match self {
            Self::Pools => "an address can be given out twice",
            Self::Blocks => "an address can be given out twice, and routes lead to two nodes",
            Self::NodeAddresses => "a pod can get the address of a node",
            Self::NodeNetwork => {
                "pods cannot reach hosts of that network, and what they send there keeps its pod address"
            }
            Self::Services => "a pod can get the address of a Service",
            Self::Given => "pods cannot reach hosts there",
            Self::IdleReservation => "it keeps no address from being given out",
        }
    }

    /// False of what wastes nothing but attention.
    pub fn is_error(self) -> bool {
        self != Self::IdleReservation
    }
}

/// Everything that overlaps, sorted. `given` are ranges of the user's own: VPNs, data centres.
pub fn overlaps(snapshot: &Snapshot, ledger: &Ledger<'_>, given: &[IpNet]) -> Vec<Overlap> {
    let mut all = Vec::new();
    pools(ledger, &mut all);
    blocks(ledger, &mut all);
    nodes(snapshot, ledger, &mut all);
    services(snapshot, ledger, &mut all);
    for range in given {
        for pool in ledger.pools.iter().filter(|it| cidr::overlap(&it.cidr, range)) {
            let side = Side::Pool(pool.name().to_owned());
            all.push(Overlap {
                kind: Kind::Given,
                range: pool.cidr,
                side,
                with: *range,
                other: Side::Given,
            });
        }
    }
    reservations(snapshot, ledger, &mut all);
    all.sort();
    all
}

fn pools(ledger: &Ledger<'_>, all: &mut Vec<Overlap>) {
    for (place, a) in ledger.pools.iter().enumerate() {
        for b in ledger.pools.iter().skip(place + 1).filter(|b| cidr::overlap(&a.cidr, &b.cidr)) {
            all.push(Overlap {
                kind: Kind::Pools,
                range: a.cidr,
                side: Side::Pool(a.name().to_owned()),
                with: b.cidr,
                other: Side::Pool(b.name().to_owned()),
            });
        }
    }
}

fn blocks(ledger: &Ledger<'_>, all: &mut Vec<Overlap>) {
    let nets: Vec<IpNet> = ledger.blocks.iter().map(|block| block.cidr).collect();
    for (outer, inner) in cidr::nested(&nets) {
        if let (Some(range), Some(with)) = (nets.get(outer), nets.get(inner)) {
            let (side, other) = (Side::Block, Side::Block);
            all.push(Overlap { kind: Kind::Blocks, range: *range, side, with: *with, other });
        }
    }
}

fn nodes(snapshot: &Snapshot, ledger: &Ledger<'_>, all: &mut Vec<Overlap>) {
    let mut networks: BTreeMap<IpNet, Vec<String>> = BTreeMap::new();
    let mut inside: BTreeMap<usize, BTreeMap<IpAddr, String>> = BTreeMap::new();
    for node in &snapshot.nodes.items {
        for net in NODE_ADDRESSES.iter().filter_map(|key| network(node, key)) {
            networks.entry(net).or_default().push(node.metadata.name.clone());
        }
        let own = node.status.addresses.iter();
        for address in own.filter_map(|it| it.address.parse::<IpAddr>().ok()) {
            for (place, _) in
                ledger.pools.iter().enumerate().filter(|it| it.1.cidr.contains(&address))
            {
                inside.entry(place).or_default().insert(address, node.metadata.name.clone());
            }
        }
    }
    for (place, addresses) in inside {
        let (Some(pool), Some(first)) = (ledger.pools.get(place), addresses.keys().next()) else {
            continue;
        };
        let mut names: Vec<String> = addresses.values().cloned().collect();
        names.sort();
        names.dedup();
        all.push(Overlap {
            kind: Kind::NodeAddresses,
            range: pool.cidr,
            side: Side::Pool(pool.name().to_owned()),
            with: IpNet::from(*first),
            other: Side::Nodes(names),
        });
    }
    for (net, names) in networks {
        for pool in ledger.pools.iter().filter(|it| cidr::overlap(&it.cidr, &net)) {
            all.push(Overlap {
                kind: Kind::NodeNetwork,
                range: pool.cidr,
                side: Side::Pool(pool.name().to_owned()),
                with: net,
                other: Side::NodeNetwork(names.clone()),
            });
        }
    }
}

/// The network of a node. An address alone is none: some clouds give their nodes a prefix length of 32.
fn network(node: &Node, key: &str) -> Option<IpNet> {
    let net: IpNet = node.metadata.annotations.get(key)?.parse().ok()?;
    (net.prefix_len() < net.max_prefix_len()).then(|| net.trunc())
}

fn services(snapshot: &Snapshot, ledger: &Ledger<'_>, all: &mut Vec<Overlap>) {
    for pool in &ledger.pools {
        let mut inside: Vec<(IpAddr, String)> = Vec::new();
        for service in &snapshot.addresses.services.items {
            let Ok(address) = service.spec.cluster_ip.parse::<IpAddr>() else { continue };
            if pool.cidr.contains(&address) {
                let its = &service.metadata;
                inside.push((address, format!("{}/{}", its.namespace, its.name)));
            }
        }
        inside.sort();
        if let Some((first, _)) = inside.first() {
            all.push(Overlap {
                kind: Kind::Services,
                range: pool.cidr,
                side: Side::Pool(pool.name().to_owned()),
                with: IpNet::from(*first),
                other: Side::Services(inside.iter().map(|it| it.1.clone()).collect()),
            });
        }
    }
}

fn reservations(snapshot: &Snapshot, ledger: &Ledger<'_>, all: &mut Vec<Overlap>) {
    if !snapshot.ip_pools.is_whole() {
        return;
    }
    for reservation in &snapshot.addresses.reservations.items {
        for range in reservation.spec.reserved_cidrs.iter().filter_map(|it| cidr::parse(it)) {
            if !ledger.pools.iter().any(|pool| cidr::overlap(&pool.cidr, &range)) {
                all.push(Overlap {
                    kind: Kind::IdleReservation,
                    range,
                    side: Side::Reservation(reservation.metadata.name.clone()),
                    with: range,
                    other: Side::Given,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::calico::IpPool;
    use crate::ipam::fixtures::{block, cluster, node};
    use crate::slim::{NodeAddress, Service};

    fn with_pools(ranges: &[&str]) -> Snapshot {
        let mut it = cluster(&[]);
        it.addresses.blocks.items.clear();
        for (place, range) in ranges.iter().enumerate() {
            let mut pool = IpPool::default();
            pool.metadata.name = format!("p{place}");
            pool.spec.cidr = (*range).into();
            it.ip_pools.items.push(pool);
        }
        it
    }

    fn kinds(it: &Snapshot, given: &[&str]) -> Vec<Kind> {
        let given: Vec<IpNet> = given.iter().map(|it| cidr::parse(it).unwrap()).collect();
        overlaps(it, &Ledger::new(it), &given).iter().map(|it| it.kind).collect()
    }

    fn with_node(mut it: Snapshot, address: &str, annotation: &str) -> Snapshot {
        let mut one = node("n1");
        let kind = "InternalIP".to_owned();
        one.status.addresses.push(NodeAddress { kind, address: address.into() });
        one.metadata.annotations.insert(NODE_ADDRESSES[0].into(), annotation.into());
        it.nodes.items.push(one);
        it
    }

    #[test]
    fn pools_and_what_they_may_not_touch() {
        assert_eq!(kinds(&with_pools(&["10.0.0.0/16", "10.1.0.0/16"]), &["10.2.0.0/16"]), []);
        let nested = with_pools(&["10.0.0.0/8", "10.1.0.0/16"]);
        assert_eq!(kinds(&nested, &[]), [Kind::Pools]);
        assert_eq!(kinds(&with_pools(&["10.0.0.0/8"]), &["10.9.0.0/16"]), [Kind::Given]);
        // The default pool in a home network.
        let home = with_node(with_pools(&["192.168.0.0/16"]), "192.168.1.5", "192.168.1.5/24");
        assert_eq!(kinds(&home, &[]), [Kind::NodeAddresses, Kind::NodeNetwork]);
        let cloud = with_node(with_pools(&["192.168.0.0/16"]), "10.0.0.5", "10.0.0.5/32");
        assert_eq!(kinds(&cloud, &[]), []);
    }

    #[test]
    fn services_inside_a_pool_and_headless_ones() {
        let mut it = with_pools(&["10.0.0.0/8"]);
        let mut service = Service::default();
        service.spec.cluster_ip = "None".into();
        it.addresses.services.items.push(service.clone());
        assert_eq!(kinds(&it, &[]), []);
        service.spec.cluster_ip = "10.96.0.1".into();
        it.addresses.services.items.push(service);
        assert_eq!(kinds(&it, &[]), [Kind::Services]);
    }

    proptest! {
        /// The sweep finds an overlap exactly where comparing each with each does.
        #[test]
        fn the_sweep_misses_nothing(picks in prop::collection::vec((0u8..64, 26u8..=30), 0..12)) {
            let mut it = with_pools(&[]);
            for (third, prefix) in picks {
                let text = format!("10.0.0.{}/{prefix}", third.wrapping_mul(4));
                let text = cidr::parse(&text).unwrap().to_string();
                it.addresses.blocks.items.push(block(&text, &[]));
            }
            let ledger = Ledger::new(&it);
            let nets: Vec<IpNet> = ledger.blocks.iter().map(|it| it.cidr).collect();
            let inner = nets.iter().enumerate().filter(|(place, a)| {
                nets.iter().enumerate().any(|(other, b)| other != *place && b.contains(*a) && (b != *a || other < *place))
            });
            prop_assert_eq!(overlaps(&it, &ledger, &[]).len(), inner.count());
        }
    }
}
