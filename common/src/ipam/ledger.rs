//! Pools, their blocks, and who has which address.

use core::net::IpAddr;
use std::collections::BTreeMap;

use ipnet::IpNet;

use super::{Allocation, Block, Fault, cidr};
use crate::calico::IpPool;
use crate::calico::ipam::{IpamBlock, IpamConfigSpec};
use crate::snapshot::{Known, Snapshot};

/// A pool whose range makes sense.
#[derive(Clone, Debug)]
pub struct Pool<'a> {
    /// As it is stored.
    pub object: &'a IpPool,
    /// Its range.
    pub cidr: IpNet,
}

impl<'a> Pool<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        &self.object.metadata.name
    }
}

/// Pools and blocks, sorted by name as the API server sorts them.
#[derive(Clone, Debug)]
pub struct Ledger<'a> {
    /// The pools.
    pub pools: Vec<Pool<'a>>,
    /// Pools whose range makes no sense.
    pub bad_pools: Vec<&'a IpPool>,
    /// The blocks. Those that are as good as deleted are not among them.
    pub blocks: Vec<Block<'a>>,
    /// Blocks whose range makes no sense.
    pub bad_blocks: Vec<(&'a IpamBlock, Fault)>,
    /// Settings; the defaults when there are none.
    pub settings: Known<IpamConfigSpec>,
    /// Places of blocks by their first address.
    by_address: BTreeMap<IpAddr, Vec<usize>>,
}

impl<'a> Ledger<'a> {
    /// The ledger of a cluster. What could not be read is not in it: see the listings of the snapshot.
    pub fn new(snapshot: &'a Snapshot) -> Self {
        let (pools, bad_pools) = pools(&snapshot.ip_pools.items);
        let (mut blocks, bad_blocks) = blocks(&snapshot.addresses.blocks.items);
        let mut by_address: BTreeMap<IpAddr, Vec<usize>> = BTreeMap::new();
        for (place, block) in blocks.iter_mut().enumerate() {
            block.pool = pools.iter().position(|pool| cidr::overlap(&pool.cidr, &block.cidr));
            by_address.entry(block.cidr.network()).or_default().push(place);
        }
        let found = snapshot
            .addresses
            .configurations
            .find("cluster/ipamconfigs.crd.projectcalico.org.json", |it| {
                it.metadata.name == "default"
            });
        let settings = match found {
            Known::Absent => Known::Known(IpamConfigSpec::default()),
            other => other.map(|it| it.spec.clone()),
        };
        Self { pools, bad_pools, blocks, bad_blocks, settings, by_address }
    }

    /// Everything that somebody has, block by block.
    pub fn allocations(&self) -> impl Iterator<Item = (&Block<'a>, Allocation<'a>)> {
        self.blocks.iter().flat_map(|block| block.allocations().map(move |it| (block, it)))
    }

    /// The blocks that hold an address; more than one when blocks overlap.
    pub fn blocks_of(&self, address: IpAddr) -> Vec<&Block<'a>> {
        // The largest block begins 4,095 addresses before at most.
        let before = self.by_address.range(..=address).rev().take(LONGEST_WALK);
        let mut found: Vec<&Block<'a>> = before
            .flat_map(|(_, places)| places)
            .filter_map(|place| self.blocks.get(*place))
            .filter(|block| block.cidr.contains(&address))
            .collect();
        found.sort_by_key(|block| block.name());
        found
    }

    /// The pool of a block.
    pub fn pool_of(&self, block: &Block<'_>) -> Option<&Pool<'a>> {
        self.pools.get(block.pool?)
    }

    /// The first pool that holds an address.
    pub fn pool_at(&self, address: IpAddr) -> Option<&Pool<'a>> {
        self.pools.iter().find(|pool| pool.cidr.contains(&address))
    }
}

/// Blocks have at most 4,096 addresses, so no block that begins more than 4,096 blocks before an address holds it.
const LONGEST_WALK: usize = 4096;

fn pools(all: &[IpPool]) -> (Vec<Pool<'_>>, Vec<&IpPool>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for object in all {
        match cidr::parse(&object.spec.cidr) {
            Some(cidr) => good.push(Pool { object, cidr }),
            None => bad.push(object),
        }
    }
    good.sort_by_key(Pool::name);
    (good, bad)
}

type Blocks<'a> = (Vec<Block<'a>>, Vec<(&'a IpamBlock, Fault)>);

fn blocks(all: &[IpamBlock]) -> Blocks<'_> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for object in all.iter().filter(|it| !it.spec.deleted) {
        match Block::new(object) {
            Some(block) => good.push(block),
            None => bad.push((object, Fault::Range(object.spec.cidr.clone()))),
        }
    }
    good.sort_by_key(Block::name);
    (good, bad)
}
