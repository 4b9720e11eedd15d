//! One block, its addresses, and whether it holds what every block must (libcalico-go writes these rules nowhere down: they
//! are what its allocator keeps up).

use core::fmt;
use core::net::IpAddr;
use std::collections::BTreeSet;

use ipnet::IpNet;
use jiff::Timestamp;

use super::{Owner, cidr};
use crate::calico::ipam::{BlockAttribute, IpamBlock};

/// Most addresses that a block can have: prefix lengths are 20 to 32, and 116 to 128.
const LARGEST: u128 = 4096;

/// A block whose range makes sense.
#[derive(Clone, Debug)]
pub struct Block<'a> {
    /// As it is stored.
    pub object: &'a IpamBlock,
    /// Its range.
    pub cidr: IpNet,
    /// Place of the pool that it lies in, among the ledger's pools.
    pub pool: Option<usize>,
    /// Numbers of its addresses.
    pub counts: Counts,
}

/// Numbers of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub size: u128,
    /// Somebody has them.
    pub used: u128,
    /// They rest until their cooldown is over.
    pub cooling: u128,
    /// What `calicoctl ipam show` calls in use: all that is not in the queue of free ones.
    pub not_queued: u128,
}

impl Counts {
    /// What nobody has and what does not rest.
    pub fn free(&self) -> u128 {
        self.size.saturating_sub(self.used).saturating_sub(self.cooling)
    }
}

impl core::ops::AddAssign for Counts {
    fn add_assign(&mut self, it: Self) {
        self.size = self.size.saturating_add(it.size);
        self.used = self.used.saturating_add(it.used);
        self.cooling = self.cooling.saturating_add(it.cooling);
        self.not_queued = self.not_queued.saturating_add(it.not_queued);
    }
}

/// State of an address of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State<'a> {
    /// Somebody has it.
    Allocated(Allocation<'a>),
    /// It was given back then, and rests.
    Cooling(Timestamp),
    /// It is free, with so many to be given out before it; none when it is not in the queue, and so never will be.
    Free(Option<usize>),
}

/// An address that somebody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation<'a> {
    /// The address.
    pub address: IpAddr,
    /// Its distance from the first one of the block.
    pub ordinal: usize,
    /// Who has it.
    pub entry: &'a BlockAttribute,
    /// The block's sequence number when it was taken; 0 in blocks of old releases.
    pub sequence: u64,
}

impl<'a> Allocation<'a> {
    /// What it was taken for.
    pub fn owner(&self) -> Owner<'a> {
        Owner::of(self.entry)
    }

    /// The node that it was taken on.
    pub fn node(&self) -> Option<&'a str> {
        match self.owner() {
            Owner::Tunnel { node, .. } if !node.is_empty() => Some(node),
            _ => self.entry.secondary.node.as_deref(),
        }
    }
}

/// What is wrong inside a block.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The range makes no sense.
    Range(String),
    /// The object's name is not that of its range.
    Name(String),
    /// There are more or fewer entries than addresses.
    Length {
        /// Entries.
        is: usize,
        /// Addresses.
        must: u128,
    },
    /// An address refers to an entry that is not there.
    NoEntry {
        /// The address.
        ordinal: usize,
        /// The place of the entry.
        entry: i64,
    },
    /// Nobody refers to this entry.
    Unused(usize),
    /// The queue of free addresses holds a number that is none of this block.
    Outside(i64),
    /// An address is in the queue of free ones twice.
    Twice(i64),
    /// An address is in the queue of free ones and has an owner.
    FreeAndTaken(i64),
    /// These addresses are in no queue and nobody's: they can never be given out.
    Lost(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(text) => write!(f, "{text:?} is no range of addresses of a block"),
            Self::Name(name) => write!(f, "its range belongs to the name {name}"),
            Self::Length { is, must } => write!(f, "{is} entries for {must} addresses"),
            Self::NoEntry { ordinal, entry } => {
                write!(f, "address {ordinal} refers to owner {entry}, who is not there")
            }
            Self::Unused(entry) => write!(f, "owner {entry} has no address"),
            Self::Outside(it) => write!(f, "{it} in the queue of free addresses is none of it"),
            Self::Twice(it) => write!(f, "address {it} is in the queue of free ones twice"),
            Self::FreeAndTaken(it) => {
                write!(f, "address {it} is in the queue of free ones and has an owner")
            }
            Self::Lost(count) => {
                write!(f, "{count} addresses are neither anybody's nor in the queue of free ones")
            }
        }
    }
}

impl<'a> Block<'a> {
    /// A block; none when its range makes no sense.
    pub fn new(object: &'a IpamBlock) -> Option<Self> {
        let cidr = cidr::parse(&object.spec.cidr)?;
        let size = cidr::size(&cidr).filter(|size| *size <= LARGEST)?;
        let queued = u128::try_from(object.spec.unallocated.len()).ok()?;
        let counts = Counts { size, not_queued: size.saturating_sub(queued), ..Counts::default() };
        let mut it = Self { object, cidr, pool: None, counts };
        for ordinal in 0..it.object.spec.allocations.len() {
            match it.state(ordinal) {
                State::Allocated(_) => it.counts.used += 1,
                State::Cooling(_) => it.counts.cooling += 1,
                State::Free(_) => {}
            }
        }
        Some(it)
    }

    /// Its name as an object.
    pub fn name(&self) -> &'a str {
        &self.object.metadata.name
    }

    /// The node that it belongs to.
    pub fn host(&self) -> Option<&'a str> {
        self.object.spec.affinity.as_deref()?.strip_prefix("host:")
    }

    /// True when it belongs to nobody: no new addresses are taken from it, but the last one given back removes it.
    pub fn has_no_affinity(&self) -> bool {
        self.object.spec.affinity.as_deref().unwrap_or_default().is_empty()
    }

    /// State of an address.
    pub fn state(&self, ordinal: usize) -> State<'a> {
        match self.entry(ordinal) {
            Some((entry, address)) => match entry.released_at {
                Some(at) => State::Cooling(at),
                None => State::Allocated(Allocation {
                    address,
                    ordinal,
                    entry,
                    sequence: self.sequence(ordinal),
                }),
            },
            None => State::Free(self.queue_place(ordinal)),
        }
    }

    /// The addresses that somebody has, in their order.
    pub fn allocations(&self) -> impl Iterator<Item = Allocation<'a>> + '_ {
        (0..self.object.spec.allocations.len()).filter_map(|ordinal| match self.state(ordinal) {
            State::Allocated(it) => Some(it),
            _ => None,
        })
    }

    fn entry(&self, ordinal: usize) -> Option<(&'a BlockAttribute, IpAddr)> {
        let spec = &self.object.spec;
        let place = usize::try_from((*spec.allocations.get(ordinal)?)?).ok()?;
        let address = cidr::address(&self.cidr, u128::try_from(ordinal).ok()?)?;
        Some((spec.attributes.get(place)?, address))
    }

    fn sequence(&self, ordinal: usize) -> u64 {
        let all = &self.object.spec.sequence_number_for_allocation;
        all.get(&ordinal.to_string()).copied().unwrap_or_default()
    }

    fn queue_place(&self, ordinal: usize) -> Option<usize> {
        let ordinal = i64::try_from(ordinal).ok()?;
        self.object.spec.unallocated.iter().position(|it| *it == ordinal)
    }

    /// What is wrong inside it, sorted.
    pub fn faults(&self) -> Vec<Fault> {
        let spec = &self.object.spec;
        let mut faults = Vec::new();
        let name = cidr::block_name(&self.cidr);
        if !self.object.metadata.name.is_empty() && self.object.metadata.name != name {
            faults.push(Fault::Name(name));
        }
        let is = spec.allocations.len();
        if u128::try_from(is) != Ok(self.counts.size) {
            faults.push(Fault::Length { is, must: self.counts.size });
        }
        let mut referred = BTreeSet::new();
        for (ordinal, entry) in spec.allocations.iter().enumerate() {
            let Some(entry) = *entry else { continue };
            match usize::try_from(entry).ok().filter(|it| *it < spec.attributes.len()) {
                Some(place) => drop(referred.insert(place)),
                None => faults.push(Fault::NoEntry { ordinal, entry }),
            }
        }
        let unused = (0..spec.attributes.len()).filter(|it| !referred.contains(it));
        faults.extend(unused.map(Fault::Unused));
        self.queue_faults(&mut faults);
        faults.sort();
        faults
    }

    fn queue_faults(&self, faults: &mut Vec<Fault>) {
        let spec = &self.object.spec;
        let mut queued = BTreeSet::new();
        for number in &spec.unallocated {
            let place = usize::try_from(*number).ok();
            match place.and_then(|it| spec.allocations.get(it)) {
                None => faults.push(Fault::Outside(*number)),
                Some(_) if !queued.insert(*number) => faults.push(Fault::Twice(*number)),
                Some(Some(_)) => faults.push(Fault::FreeAndTaken(*number)),
                Some(None) => {}
            }
        }
        let is_lost = |(place, entry): (usize, &Option<i64>)| {
            entry.is_none() && !i64::try_from(place).is_ok_and(|it| queued.contains(&it))
        };
        let lost = spec.allocations.iter().enumerate().filter(|it| is_lost(*it)).count();
        if lost > 0 {
            faults.push(Fault::Lost(lost));
        }
    }
}
