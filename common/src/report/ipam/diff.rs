//! `diff`: what became of addresses between two looks.

use jiff::Timestamp;
use serde::Serialize;

use super::address::owner;
use super::{PoolRow, grouped};
use crate::ipam::Ledger;
use crate::ipam::diff::{Change, diff};
use crate::report::layout::TextOptions;
use crate::report::v1::API_VERSION;
use crate::report::{escape, number, table};
use crate::snapshot::Snapshot;

/// Changes that text shows without `-v`.
const SHOWN: usize = 20;

/// The document that `diff` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiffReport {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `IpamDiff`.
    pub kind: &'static str,
    /// When the first look was had.
    pub before: Timestamp,
    /// When the second one was.
    pub after: Timestamp,
    /// The exit code in a word.
    pub verdict: &'static str,
    /// Pools whose numbers are others, and those that came or went.
    pub pools: Vec<PoolChange>,
    /// Addresses that were taken, released, or moved to another owner, sorted.
    pub changes: Vec<AddressChange>,
}

/// A pool whose numbers are others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolChange {
    /// Its name; null for what lies in no pool.
    pub name: Option<String>,
    /// Used addresses in the first look; null when the pool was not there.
    pub used_before: Option<u128>,
    /// In the second.
    pub used_after: Option<u128>,
    /// Blocks in the first look.
    pub blocks_before: Option<usize>,
    /// In the second.
    pub blocks_after: Option<usize>,
}

/// An address that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressChange {
    /// The address.
    pub address: String,
    /// `taken`, `released` or `moved`.
    pub change: &'static str,
    /// Who had it.
    pub owner_before: Option<String>,
    /// Who has it.
    pub owner_after: Option<String>,
    /// Node that it is, or was, taken on.
    pub node: Option<String>,
}

impl DiffReport {
    /// What is different in `after`.
    pub fn new(before: &Snapshot, after: &Snapshot, verdict: &'static str) -> Self {
        let (old, new) = (Ledger::new(before), Ledger::new(after));
        Self {
            api_version: API_VERSION,
            kind: "IpamDiff",
            before: before.taken,
            after: after.taken,
            verdict,
            pools: pools(&PoolRow::all(&old), &PoolRow::all(&new)),
            changes: diff(&old, &new).iter().map(change).collect(),
        }
    }
}

fn change(it: &Change<'_>) -> AddressChange {
    let (before, after) = it.owners();
    let last = it.after.or(it.before);
    AddressChange {
        address: it.address.to_string(),
        change: it.word(),
        owner_before: before.map(|it| owner(&it)),
        owner_after: after.map(|it| owner(&it)),
        node: last.and_then(|it| it.node().map(str::to_owned)),
    }
}

fn pools(old: &[PoolRow], new: &[PoolRow]) -> Vec<PoolChange> {
    let mut names: Vec<&Option<String>> = old.iter().chain(new).map(|it| &it.name).collect();
    names.sort();
    names.dedup();
    let one = |name: &Option<String>| {
        let find =
            |all: &[PoolRow]| all.iter().find(|it| it.name == *name).map(|it| (it.used, it.blocks));
        let (before, after) = (find(old), find(new));
        (before != after).then(|| PoolChange {
            name: name.clone(),
            used_before: before.map(|it| it.0),
            used_after: after.map(|it| it.0),
            blocks_before: before.map(|it| it.1),
            blocks_after: after.map(|it| it.1),
        })
    };
    names.into_iter().filter_map(one).collect()
}

/// The same for a person.
pub fn differences(report: &DiffReport, options: &TextOptions) -> String {
    let arrow = if options.unicode { "→" } else { "->" };
    let title = format!("{:.0} {arrow} {:.0}", report.before, report.after);
    let mut out = format!("{}\n\n", options.bold(&title));
    if report.pools.is_empty() && report.changes.is_empty() {
        out.push_str("Nothing is different.\n");
    }
    if !report.pools.is_empty() {
        out.push_str(&pool_table(&report.pools));
        out.push('\n');
    }
    let shown = if options.verbose { usize::MAX } else { SHOWN };
    let row = |it: &AddressChange| {
        let or_dash = |it: &Option<String>| escape(it.as_deref().unwrap_or("–"));
        vec![
            it.address.clone(),
            it.change.to_owned(),
            or_dash(&it.owner_before),
            or_dash(&it.owner_after),
            or_dash(&it.node),
        ]
    };
    if !report.changes.is_empty() {
        let rows: Vec<_> = report.changes.iter().take(shown).map(row).collect();
        out.push_str(&table(&["ADDRESS", "CHANGE", "BEFORE", "AFTER", "NODE"], &rows));
    }
    let more = report.changes.len().saturating_sub(shown);
    if more > 0 {
        out.push_str(&format!("… and {} more (-v shows them)\n", number(more)));
    }
    options.plain(out)
}

fn pool_table(all: &[PoolChange]) -> String {
    let row = |it: &PoolChange| {
        let or_dash = |it: Option<u128>| it.map_or_else(|| "–".to_owned(), grouped);
        let blocks = |it: Option<usize>| it.map_or_else(|| "–".to_owned(), number);
        vec![
            escape(it.name.as_deref().unwrap_or("(in no pool)")),
            or_dash(it.used_before),
            or_dash(it.used_after),
            blocks(it.blocks_before),
            blocks(it.blocks_after),
        ]
    };
    let head = ["POOL", "USED BEFORE", "USED AFTER", "BLOCKS BEFORE", "BLOCKS AFTER"];
    table(&head, &all.iter().map(row).collect::<Vec<_>>())
}
