//! `show` and `pools`.

use jiff::Timestamp;
use serde::Serialize;

use super::{BlockRow, BorrowedRow, PoolRow, SettingRow, grouped, percent};
use crate::ipam::Ledger;
use crate::report::layout::TextOptions;
use crate::report::text::header;
use crate::report::v1::{API_VERSION, ClusterSummary};
use crate::report::{escape, table};
use crate::snapshot::{Gap, Known, Snapshot};

/// The document that `show` and `pools` print.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IpamReport {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `IpamReport`.
    pub kind: &'static str,
    /// When the cluster was looked at.
    pub taken: Timestamp,
    /// What was looked at.
    pub cluster: ClusterSummary,
    /// The exit code in a word.
    pub verdict: &'static str,
    /// Every pool, sorted by name; last, without a name, what lies in none.
    pub pools: Vec<PoolRow>,
    /// Every block, sorted by name; null unless it was asked for.
    pub blocks: Option<Vec<BlockRow>>,
    /// Every borrowed address; null unless it was asked for.
    pub borrowed: Option<Vec<BorrowedRow>>,
    /// Addresses that name no node, so that nobody knows whether they are borrowed; null unless it was asked for.
    pub without_node: Option<usize>,
    /// Settings; null unless they were asked for, or when they could not be read.
    pub settings: Option<Vec<SettingRow>>,
    /// What could not be read.
    pub gaps: Vec<Gap>,
}

impl IpamReport {
    /// Pools and their use; the rest is for the caller to ask for.
    pub fn new(snapshot: &Snapshot, ledger: &Ledger<'_>, verdict: &'static str) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "IpamReport",
            taken: snapshot.taken,
            cluster: ClusterSummary::of(snapshot),
            verdict,
            pools: PoolRow::all(ledger),
            blocks: None,
            borrowed: None,
            without_node: None,
            settings: None,
            gaps: snapshot.gaps.clone(),
        }
    }

    /// Blocks as well.
    pub fn add_blocks(&mut self, ledger: &Ledger<'_>) {
        self.blocks = Some(BlockRow::all(ledger));
    }

    /// Borrowed addresses as well.
    pub fn add_borrowed(&mut self, ledger: &Ledger<'_>) {
        let (rows, nameless) = BorrowedRow::all(ledger);
        self.borrowed = Some(rows);
        self.without_node = Some(nameless);
    }

    /// Settings as well.
    pub fn add_settings(&mut self, ledger: &Ledger<'_>) {
        self.settings = match &ledger.settings {
            Known::Known(settings) => Some(SettingRow::all(settings)),
            _ => None,
        };
    }
}

/// Pools, and what else was asked for, for a person.
pub fn show(report: &IpamReport, options: &TextOptions) -> String {
    let mut out = format!("{}\n\n", options.bold(&header(&report.cluster)));
    out.push_str(&pool_table(&report.pools));
    if let Some(rows) = &report.blocks {
        out.push('\n');
        out.push_str(&blocks(rows));
    }
    if let Some(rows) = &report.borrowed {
        out.push('\n');
        out.push_str(&borrowed(rows, report.without_node.unwrap_or_default()));
    }
    if let Some(rows) = &report.settings {
        out.push('\n');
        out.push_str(&settings(rows));
    }
    options.plain(out)
}

fn name(pool: &PoolRow) -> String {
    pool.name.as_deref().map_or_else(|| "(in no pool)".to_owned(), escape)
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "–".to_owned() } else { escape(text) }
}

fn pool_table(pools: &[PoolRow]) -> String {
    let cools = pools.iter().any(|it| it.cooling > 0);
    let row = |it: &PoolRow| {
        let mut row = vec![
            name(it),
            or_dash(&it.cidr),
            crate::report::number(it.blocks),
            grouped(it.used),
            grouped(it.free),
            percent(it.used.saturating_add(it.cooling), it.size.unwrap_or(u128::MAX)),
            if it.disabled { "disabled".to_owned() } else { "–".to_owned() },
        ];
        if cools {
            row.insert(4, grouped(it.cooling));
        }
        row
    };
    let mut head = vec!["POOL", "CIDR", "BLOCKS", "USED", "FREE", "FULL", "NOTE"];
    if cools {
        head.insert(4, "COOLING");
    }
    table(&head, &pools.iter().map(row).collect::<Vec<_>>())
}

fn blocks(rows: &[BlockRow]) -> String {
    let row = |it: &BlockRow| {
        vec![
            escape(&it.cidr),
            escape(it.pool.as_deref().unwrap_or("(in no pool)")),
            escape(it.affinity.as_deref().unwrap_or("–")),
            grouped(it.used),
            grouped(it.free),
            percent(it.used.saturating_add(it.cooling), it.size),
            it.lent.to_string(),
        ]
    };
    let head = ["BLOCK", "POOL", "AFFINITY", "USED", "FREE", "FULL", "LENT"];
    table(&head, &rows.iter().map(row).collect::<Vec<_>>())
}

fn borrowed(rows: &[BorrowedRow], nameless: usize) -> String {
    if rows.is_empty() {
        return format!(
            "No address is borrowed. {nameless} name no node, so nobody knows of them.\n"
        );
    }
    let row = |it: &BorrowedRow| {
        vec![
            escape(&it.address),
            escape(&it.node),
            escape(&it.block),
            escape(it.block_owner.as_deref().unwrap_or("–")),
            escape(&it.kind),
            escape(&it.allocated_to),
        ]
    };
    let head = ["ADDRESS", "TAKEN ON", "BLOCK", "BLOCK OF", "TYPE", "FOR"];
    table(&head, &rows.iter().map(row).collect::<Vec<_>>())
}

fn settings(rows: &[SettingRow]) -> String {
    let row = |it: &SettingRow| vec![it.name.to_owned(), escape(&it.value), escape(&it.effective)];
    table(&["SETTING", "VALUE", "MEANS"], &rows.iter().map(row).collect::<Vec<_>>())
}

/// Pools with all that they are, for a person.
pub fn pools(report: &IpamReport, options: &TextOptions) -> String {
    let row = |it: &PoolRow| {
        let yes = |it: bool| if it { "yes" } else { "no" }.to_owned();
        vec![
            name(it),
            or_dash(&it.cidr),
            format!("/{}", it.block_size),
            yes(it.nat_outgoing),
            or_dash(&it.ipip_mode),
            or_dash(&it.vxlan_mode),
            yes(it.disabled),
            or_dash(&it.node_selector),
            or_dash(&it.namespace_selector),
            or_dash(&it.allowed_uses.join(",")),
            or_dash(it.managed_by.as_deref().unwrap_or_default()),
            grouped(it.used),
            grouped(it.free),
            percent(it.used.saturating_add(it.cooling), it.size.unwrap_or(u128::MAX)),
        ]
    };
    let head = [
        "POOL",
        "CIDR",
        "BLOCK",
        "NAT",
        "IPIP",
        "VXLAN",
        "DISABLED",
        "NODES",
        "NAMESPACES",
        "USES",
        "MANAGED BY",
        "USED",
        "FREE",
        "FULL",
    ];
    let rows: Vec<_> = report.pools.iter().map(row).collect();
    let out = format!("{}\n\n{}", options.bold(&header(&report.cluster)), table(&head, &rows));
    options.plain(out)
}
