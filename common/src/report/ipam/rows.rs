//! Rows of tables: what is known of a pool, a block, a borrowed address, a setting.

use serde::Serialize;

use super::share;
use crate::calico::ipam::{DEFAULT_MAX_BLOCKS, IpamConfigSpec};
use crate::calico::names::MANAGED_BY;
use crate::ipam::{Block, Ledger, Owner, Pool, PoolUsage};

/// A pool and its use.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolRow {
    /// Its name; null for blocks that lie in no pool.
    pub name: Option<String>,
    /// Its range; empty for those.
    pub cidr: String,
    /// Prefix length of its blocks.
    pub block_size: u8,
    /// True when no new addresses are taken from it.
    pub disabled: bool,
    /// Whether traffic that leaves the pools is translated.
    pub nat_outgoing: bool,
    /// `Always`, `CrossSubnet`, `Never`.
    pub ipip_mode: String,
    /// `Always`, `CrossSubnet`, `Never`.
    pub vxlan_mode: String,
    /// True when its blocks are not exported to BGP peers.
    #[serde(rename = "disableBGPExport")]
    pub disable_bgp_export: bool,
    /// Which nodes take addresses from it.
    pub node_selector: String,
    /// Whose pods do.
    pub namespace_selector: String,
    /// `Workload`, `Tunnel`, `LoadBalancer`.
    pub allowed_uses: Vec<String>,
    /// `Automatic` or `Manual`.
    pub assignment_mode: String,
    /// What manages the object, as its label says.
    pub managed_by: Option<String>,
    /// Number of its blocks.
    pub blocks: usize,
    /// Number of its addresses; null when it does not fit (::/0).
    pub size: Option<u128>,
    /// Addresses that somebody has.
    pub used: u128,
    /// Addresses that rest until their cooldown is over.
    pub cooling: u128,
    /// Addresses that nobody has and that do not rest.
    pub free: u128,
    /// Share of `used` and `cooling`, between 0 and 1.
    pub full: f64,
    /// Addresses that are in no queue of free ones: what calicoctl calls in use.
    #[serde(skip)]
    pub not_queued: u128,
}

fn or(text: &str, default: &str) -> String {
    if text.is_empty() { default.to_owned() } else { text.to_owned() }
}

impl PoolRow {
    /// All pools in their order, then what lies in none, if anything does.
    pub fn all(ledger: &Ledger<'_>) -> Vec<Self> {
        let usage = ledger.pool_usage();
        let mut rows: Vec<_> =
            ledger.pools.iter().zip(&usage).map(|(pool, usage)| Self::of(pool, usage)).collect();
        let orphans = ledger.orphan_usage();
        if orphans.blocks > 0 {
            rows.push(Self { name: None, ..Self::used("", &orphans, orphans.counts.size) });
        }
        rows
    }

    fn of(pool: &Pool<'_>, usage: &PoolUsage) -> Self {
        let spec = &pool.object.spec;
        let uses = || vec!["Workload".to_owned(), "Tunnel".to_owned()];
        Self {
            name: Some(pool.name().to_owned()),
            block_size: spec.block_prefix(),
            disabled: spec.disabled,
            nat_outgoing: spec.nat_outgoing,
            ipip_mode: or(&spec.ipip_mode, "Never"),
            vxlan_mode: or(&spec.vxlan_mode, "Never"),
            disable_bgp_export: spec.disable_bgp_export,
            node_selector: or(&spec.node_selector, "all()"),
            namespace_selector: or(&spec.namespace_selector, "all()"),
            allowed_uses: Some(spec.allowed_uses.clone())
                .filter(|it| !it.is_empty())
                .unwrap_or_else(uses),
            assignment_mode: or(&spec.assignment_mode, "Automatic"),
            managed_by: pool.object.metadata.labels.get(MANAGED_BY).cloned(),
            size: usage.size,
            free: usage.free(),
            ..Self::used(&spec.cidr, usage, usage.size.unwrap_or(u128::MAX))
        }
    }

    fn used(cidr: &str, usage: &PoolUsage, size: u128) -> Self {
        let counts = usage.counts;
        Self {
            name: None,
            cidr: cidr.to_owned(),
            block_size: 0,
            disabled: false,
            nat_outgoing: false,
            ipip_mode: String::new(),
            vxlan_mode: String::new(),
            disable_bgp_export: false,
            node_selector: String::new(),
            namespace_selector: String::new(),
            allowed_uses: Vec::new(),
            assignment_mode: String::new(),
            managed_by: None,
            blocks: usage.blocks,
            size: Some(size),
            used: counts.used,
            cooling: counts.cooling,
            free: counts.free(),
            full: share(counts.used.saturating_add(counts.cooling), size),
            not_queued: counts.not_queued,
        }
    }
}

/// A block and its use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockRow {
    /// Its range.
    pub cidr: String,
    /// Pool that it lies in; null when it lies in none.
    pub pool: Option<String>,
    /// `host:<node>` and the like; null when it belongs to nobody.
    pub affinity: Option<String>,
    /// Number of its addresses.
    pub size: u128,
    /// Addresses that somebody has.
    pub used: u128,
    /// Addresses that rest.
    pub cooling: u128,
    /// The others.
    pub free: u128,
    /// Of the used ones, those that another node took.
    pub lent: u64,
    /// Writes since it was made.
    pub writes: Option<i64>,
    /// What calicoctl calls in use.
    #[serde(skip)]
    pub not_queued: u128,
}

impl BlockRow {
    /// All blocks in their order.
    pub fn all(ledger: &Ledger<'_>) -> Vec<Self> {
        ledger.blocks.iter().map(|block| Self::of(ledger, block)).collect()
    }

    fn of(ledger: &Ledger<'_>, block: &Block<'_>) -> Self {
        let lent = block.allocations().filter(|it| is_lent(block, it.node())).count();
        Self {
            cidr: block.cidr.to_string(),
            pool: ledger.pool_of(block).map(|pool| pool.name().to_owned()),
            affinity: block.object.spec.affinity.clone().filter(|it| !it.is_empty()),
            size: block.counts.size,
            used: block.counts.used,
            cooling: block.counts.cooling,
            free: block.counts.free(),
            lent: u64::try_from(lent).unwrap_or(u64::MAX),
            writes: block.object.metadata.generation,
            not_queued: block.counts.not_queued,
        }
    }
}

/// True when `node` took an address of a block that is not its own.
fn is_lent(block: &Block<'_>, node: Option<&str>) -> bool {
    node.is_some_and(|node| block.host() != Some(node))
}

/// An address that a node took from a block of another, or of nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BorrowedRow {
    /// The address.
    pub address: String,
    /// The node that took it.
    pub node: String,
    /// The block.
    pub block: String,
    /// Node that the block belongs to; null when it belongs to nobody.
    pub block_owner: Option<String>,
    /// `pod`, `vmi`, or attribute `type`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it was taken for.
    pub allocated_to: String,
}

impl BorrowedRow {
    /// All of them, block by block, and the number of addresses that name no node.
    pub fn all(ledger: &Ledger<'_>) -> (Vec<Self>, usize) {
        let mut rows = Vec::new();
        let mut nameless = 0;
        for (block, it) in ledger.allocations() {
            let Some(node) = it.entry.secondary.node.as_deref() else {
                nameless += 1;
                continue;
            };
            if !is_lent(block, Some(node)) {
                continue;
            }
            let kind = it.entry.secondary.kind.as_deref();
            let (kind, allocated_to) = match it.owner() {
                Owner::Pod { namespace, name } => ("pod", format!("{namespace}/{name}")),
                Owner::VirtualMachine { namespace, name } => ("vmi", format!("{namespace}/{name}")),
                _ => (kind.unwrap_or_default(), node.to_owned()),
            };
            rows.push(Self {
                address: it.address.to_string(),
                node: node.to_owned(),
                block: block.cidr.to_string(),
                block_owner: block.host().map(str::to_owned),
                kind: kind.to_owned(),
                allocated_to,
            });
        }
        (rows, nameless)
    }
}

/// A setting of IPAM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SettingRow {
    /// Its name in the API.
    pub name: &'static str,
    /// What is written in the object, or the default of a cluster without one.
    pub value: String,
    /// What it means.
    pub effective: String,
}

impl SettingRow {
    /// All settings that this cluster can have.
    pub fn all(its: &IpamConfigSpec) -> Vec<Self> {
        let row = |name, value: String, effective: Option<String>| Self {
            name,
            effective: effective.unwrap_or_else(|| value.clone()),
            value,
        };
        let most = Some(its.max_blocks_per_host).filter(|it| *it > 0).unwrap_or(DEFAULT_MAX_BLOCKS);
        let mut rows = vec![
            row("strictAffinity", its.strict_affinity.to_string(), None),
            row("autoAllocateBlocks", its.auto_allocate_blocks.to_string(), None),
            row("maxBlocksPerHost", its.max_blocks_per_host.to_string(), Some(most.to_string())),
        ];
        if let Some(persistence) = &its.kube_virt_vm_address_persistence {
            rows.push(row("kubeVirtVMAddressPersistence", persistence.clone(), None));
        }
        if let Some(seconds) = its.ip_cooldown_seconds {
            rows.push(row("ipCooldownSeconds", seconds.to_string(), None));
        }
        rows
    }
}
