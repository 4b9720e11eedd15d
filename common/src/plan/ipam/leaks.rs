//! Which addresses and handles nobody uses, and how large a part of a pool or of a node they are.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::calico::ipam::IpamHandle;
use crate::ipam::leak::{GRACE, Judge, Verdict};
use crate::ipam::{Allocation, Block, Ledger, Population};
use crate::plan::LeftOut;
use crate::plan::describe::{counted, number};
use crate::snapshot::{Flavour, Gap, GapReason, Known, Snapshot};

/// Handle of what Windows keeps.
const WINDOWS: &str = "windows-reserved-ipam-handle";
/// So many may always go, however small a pool or a node is: a person can look at each.
const FEW: usize = 20;
/// More of a pool's used addresses must be wished for expressly.
const POOL_PERCENT: u128 = 5;
/// More of what was taken on a node that exists must be wished for expressly.
const NODE_PERCENT: u128 = 50;

/// What leaked.
#[derive(Clone, Debug, Default)]
pub struct Leaks<'a> {
    /// By block, in the ledger's order; blocks without a leak are not in it.
    pub blocks: Vec<(&'a Block<'a>, Vec<Allocation<'a>>)>,
    /// What nobody shows and stays all the same, and why.
    pub left_out: Vec<LeftOut>,
}

/// Why nothing may be changed in this cluster; none when it may.
///
/// # Errors
/// What would have to be known, and was not read.
pub fn obstacle(snapshot: &Snapshot) -> Result<Option<String>, Gap> {
    match &snapshot.flavour {
        Known::Known(Flavour::CrdV1 | Flavour::NativeV3) => {}
        Known::Known(Flavour::Migrating) => {
            let what = "Calico's objects are being moved to another API group: both hold objects";
            return Ok(Some(what.to_owned()));
        }
        Known::Absent => return Ok(Some("Calico stores nothing in this cluster".to_owned())),
        Known::Unknown(gap) => return Err(gap.clone()),
    }
    let addresses = &snapshot.addresses;
    for (is_whole, gap, what) in [
        (addresses.blocks.is_whole(), &addresses.blocks.gap, "blocks"),
        (addresses.handles.is_whole(), &addresses.handles.gap, "handles"),
    ] {
        if !is_whole {
            let part = || Gap::new(what, GapReason::NotAsked, "only a part was read");
            return Err(gap.clone().unwrap_or_else(part));
        }
    }
    let information = &snapshot.cluster_information;
    if let Some(gap) = &information.gap {
        return Err(gap.clone());
    }
    let locked = information.items.iter().any(|it| it.spec.datastore_ready == Some(false));
    Ok(locked.then(|| {
        "Calico's datastore is locked (datastoreReady: false): somebody migrates or upgrades it"
            .to_owned()
    }))
}

impl<'a> Leaks<'a> {
    /// What leaked; with `node`, of what was taken there. All addresses of a handle go, or none: Calico releases by handles.
    pub fn find(ledger: &'a Ledger<'a>, judge: &Judge<'_>, node: Option<&str>) -> Self {
        let mut living = BTreeSet::new();
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        let mut leaked = Vec::new();
        for block in &ledger.blocks {
            let mut here = Vec::new();
            for it in block.allocations() {
                let is_meant = node.is_none_or(|node| it.node() == Some(node));
                let why = match judge.judge(&it) {
                    Verdict::Leaked(_) => {
                        if is_meant {
                            here.push(it);
                        }
                        continue;
                    }
                    Verdict::Used => None,
                    Verdict::Young(reason, Some(_)) => {
                        Some(format!("{}, but not for long enough", reason.text()))
                    }
                    Verdict::Young(reason, None) => {
                        Some(format!("{}, but nothing tells since when", reason.text()))
                    }
                    Verdict::Kept(keep) => Some(keep.text().to_owned()),
                };
                living.extend(it.entry.handle());
                if let Some(why) = why.filter(|_| is_meant) {
                    *reasons.entry(why).or_default() += 1;
                }
            }
            leaked.push((block, here));
        }
        for (block, here) in &mut leaked {
            let faults = block.faults();
            let why = match faults.first() {
                Some(fault) => format!("block {} is inconsistent: {fault}", block.cidr),
                None => "another address of its handle stays".to_owned(),
            };
            let before = here.len();
            let stays =
                |it: &Allocation<'_>| it.entry.handle().is_some_and(|it| living.contains(it));
            here.retain(|it| faults.is_empty() && !stays(it));
            if before > here.len() {
                *reasons.entry(why).or_default() += before - here.len();
            }
        }
        leaked.retain(|(_, here)| !here.is_empty());
        let left_out = reasons
            .into_iter()
            .map(|(why, count)| LeftOut { finding: counted(count, "address"), why })
            .collect();
        Self { blocks: leaked, left_out }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.blocks.iter().map(|it| it.1.len()).sum()
    }

    /// Why a person must wish for so many expressly, sorted; empty when it is usual.
    pub fn too_many(&self, ledger: &Ledger<'_>, population: &Population<'_>) -> Vec<String> {
        let mut of_pools: BTreeMap<usize, usize> = BTreeMap::new();
        let mut of_nodes: BTreeMap<&str, usize> = BTreeMap::new();
        for (block, here) in &self.blocks {
            if let Some(pool) = block.pool {
                *of_pools.entry(pool).or_default() += here.len();
            }
            for it in here {
                if let Some(node) = it.node().filter(|it| population.nodes.contains_key(it)) {
                    *of_nodes.entry(node).or_default() += 1;
                }
            }
        }
        let usage = ledger.pool_usage();
        let nodes = ledger.node_usage();
        let mut all = Vec::new();
        for (pool, count) in of_pools {
            let used = usage.get(pool).map_or(0, |it| it.counts.used);
            let name = ledger.pools.get(pool).map_or("", |it| it.name());
            all.extend(beyond(count, used, POOL_PERCENT, &format!("pool {name}")));
        }
        for (node, count) in of_nodes {
            let taken = nodes.get(node).map_or(0, |it| u128::from(it.taken));
            all.extend(beyond(count, taken, NODE_PERCENT, &format!("node {node}")));
        }
        all
    }
}

fn beyond(count: usize, of: u128, percent: u128, whose: &str) -> Option<String> {
    let many = u128::try_from(count).unwrap_or(u128::MAX);
    let is_beyond = count > FEW && many.saturating_mul(100) > of.saturating_mul(percent);
    is_beyond.then(|| {
        format!(
            "{} of the {of} used addresses of {whose} would go, more than {percent} %",
            number(count)
        )
    })
}

/// Handles under which no address is held anywhere, old enough not to be just made; with `node`, those of its tunnels. What is
/// not certain is not among them.
pub fn idle_handles<'a>(snapshot: &'a Snapshot, node: Option<&str>) -> Vec<&'a IpamHandle> {
    // Whatever a block says: a handle that is named in it may be in use.
    let blocks = &snapshot.addresses.blocks.items;
    let named: BTreeSet<&str> =
        blocks.iter().flat_map(|it| &it.spec.attributes).filter_map(|it| it.handle()).collect();
    let grace = SignedDuration::try_from(GRACE).unwrap_or(SignedDuration::MAX);
    let is_old = |at: Timestamp| snapshot.taken.duration_since(at) >= grace;
    let is_idle = |it: &&IpamHandle| {
        let id = it.spec.handle_id.as_str();
        let plain = id.split('\r').next().unwrap_or(id);
        !it.spec.deleted
            && !id.is_empty()
            && !id.starts_with(WINDOWS)
            && !it.metadata.uid.is_empty()
            && it.metadata.creation_timestamp.is_some_and(is_old)
            && !named.contains(plain)
            && node.is_none_or(|node| id.ends_with(&format!("-tunnel-addr-{node}")))
    };
    let mut idle: Vec<&IpamHandle> =
        snapshot.addresses.handles.items.iter().filter(is_idle).collect();
    idle.sort_by_key(|it| &it.metadata.name);
    idle
}
