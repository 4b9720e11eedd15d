//! `top`: who has most addresses.

use jiff::Timestamp;
use serde::Serialize;

use super::{grouped, percent, share};
use crate::ipam::Ledger;
use crate::report::layout::TextOptions;
use crate::report::text::header;
use crate::report::v1::{API_VERSION, ClusterSummary};
use crate::report::{escape, table};
use crate::snapshot::Snapshot;

/// The document that `top` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopReport {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `IpamTop`.
    pub kind: &'static str,
    /// When the cluster was looked at.
    pub taken: Timestamp,
    /// What was looked at.
    pub cluster: ClusterSummary,
    /// The exit code in a word.
    pub verdict: &'static str,
    /// `nodes`, `namespaces` or `pools`.
    pub by: &'static str,
    /// Number of all; `rows` may have fewer.
    pub total: usize,
    /// Those with most addresses first.
    pub rows: Vec<TopRow>,
}

/// One of those that have addresses.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopRow {
    /// Its name.
    pub name: String,
    /// Addresses that it has.
    pub used: u128,
    /// Of nodes: addresses of other nodes' blocks among them.
    pub borrowed: Option<u64>,
    /// Of nodes and pools: number of blocks.
    pub blocks: Option<usize>,
    /// Of nodes: addresses of its blocks; of pools: addresses.
    pub size: Option<u128>,
    /// Of nodes and pools: used addresses of these, between 0 and 1.
    pub full: Option<f64>,
}

impl TopReport {
    /// The first `limit` by addresses; 0 means all.
    pub fn new(snapshot: &Snapshot, by: &'static str, mut rows: Vec<TopRow>, limit: usize) -> Self {
        rows.sort_by(|a, b| (b.used, &a.name).cmp(&(a.used, &b.name)));
        let total = rows.len();
        if limit > 0 {
            rows.truncate(limit);
        }
        Self {
            api_version: API_VERSION,
            kind: "IpamTop",
            taken: snapshot.taken,
            cluster: ClusterSummary::of(snapshot),
            verdict: "healthy",
            by,
            total,
            rows,
        }
    }
}

impl TopRow {
    /// Nodes.
    pub fn nodes(ledger: &Ledger<'_>) -> Vec<Self> {
        let row = |(name, it): (&str, crate::ipam::NodeUsage)| Self {
            name: name.to_owned(),
            used: u128::from(it.taken),
            borrowed: Some(it.borrowed),
            blocks: Some(it.blocks),
            size: Some(it.counts.size),
            full: Some(share(it.counts.used, it.counts.size)),
        };
        ledger.node_usage().into_iter().map(row).collect()
    }

    /// Namespaces.
    pub fn namespaces(ledger: &Ledger<'_>) -> Vec<Self> {
        let row = |(name, used): (&str, u64)| Self {
            name: name.to_owned(),
            used: u128::from(used),
            borrowed: None,
            blocks: None,
            size: None,
            full: None,
        };
        ledger.namespace_usage().into_iter().map(row).collect()
    }

    /// Pools.
    pub fn pools(ledger: &Ledger<'_>) -> Vec<Self> {
        let usage = ledger.pool_usage();
        let row = |(pool, it): (&crate::ipam::Pool<'_>, &crate::ipam::PoolUsage)| Self {
            name: pool.name().to_owned(),
            used: it.counts.used,
            borrowed: None,
            blocks: Some(it.blocks),
            size: it.size,
            full: it.size.map(|size| share(it.counts.used, size)),
        };
        ledger.pools.iter().zip(&usage).map(row).collect()
    }
}

/// The same for a person.
pub fn top(report: &TopReport, options: &TextOptions) -> String {
    let head: &[&str] = match report.by {
        "nodes" => &["NODE", "ADDRESSES", "BORROWED", "BLOCKS", "OF", "FULL"],
        "namespaces" => &["NAMESPACE", "ADDRESSES"],
        _ => &["POOL", "ADDRESSES", "BLOCKS", "OF", "FULL"],
    };
    let row = |it: &TopRow| {
        let mut row = vec![escape(&it.name), grouped(it.used)];
        row.extend(it.borrowed.map(|it| it.to_string()));
        row.extend(it.blocks.map(crate::report::number));
        if let (Some(size), Some(full)) = (it.size, it.full) {
            row.push(grouped(size));
            row.push(if size == 0 { percent(0, 0) } else { format!("{:.1}%", full * 100.0) });
        }
        row
    };
    let rows: Vec<_> = report.rows.iter().map(row).collect();
    let mut out = format!("{}\n\n{}", options.bold(&header(&report.cluster)), table(head, &rows));
    let more = report.total.saturating_sub(report.rows.len());
    if more > 0 {
        out.push_str(&format!("… and {} more {}\n", crate::report::number(more), report.by));
    }
    options.plain(out)
}
