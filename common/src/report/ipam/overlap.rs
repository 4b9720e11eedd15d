//! `overlap`: ranges that should be apart.

use jiff::Timestamp;
use serde::Serialize;

use crate::ipam::overlap::{Overlap, Side};
use crate::report::escape;
use crate::report::layout::{Mark, TextOptions, names};
use crate::report::text::header;
use crate::report::v1::{API_VERSION, ClusterSummary};
use crate::snapshot::Snapshot;

/// The document that `overlap` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OverlapReport {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `IpamOverlaps`.
    pub kind: &'static str,
    /// When the cluster was looked at.
    pub taken: Timestamp,
    /// What was looked at.
    pub cluster: ClusterSummary,
    /// The exit code in a word.
    pub verdict: &'static str,
    /// What was compared with the pools, for people.
    pub compared: Vec<&'static str>,
    /// Everything that overlaps.
    pub overlaps: Vec<OverlapRow>,
}

/// Two ranges that should be apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OverlapRow {
    /// What is wrong, in a word.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `error` or `info`.
    pub severity: &'static str,
    /// The one.
    pub range: String,
    /// What it is.
    pub is: String,
    /// The other.
    pub with: String,
    /// What that is.
    pub with_is: String,
    /// Objects behind the other: nodes, Services.
    pub names: Vec<String>,
    /// What follows from it.
    pub consequence: &'static str,
}

impl OverlapReport {
    /// A report; `compared` says what was looked at besides pools and blocks.
    pub fn new(
        snapshot: &Snapshot,
        found: &[Overlap],
        compared: Vec<&'static str>,
        verdict: &'static str,
    ) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "IpamOverlaps",
            taken: snapshot.taken,
            cluster: ClusterSummary::of(snapshot),
            verdict,
            compared,
            overlaps: found.iter().map(row).collect(),
        }
    }
}

fn row(it: &Overlap) -> OverlapRow {
    let (is, _) = words(&it.side);
    let (with_is, names) = words(&it.other);
    OverlapRow {
        kind: it.kind.word(),
        severity: if it.kind.is_error() { "error" } else { "info" },
        range: it.range.to_string(),
        is,
        with: it.with.to_string(),
        with_is,
        names,
        consequence: it.kind.consequence(),
    }
}

fn words(side: &Side) -> (String, Vec<String>) {
    match side {
        Side::Pool(name) => (format!("pool {name}"), Vec::new()),
        Side::Block => ("block".to_owned(), Vec::new()),
        Side::NodeNetwork(all) => (format!("network of {}", names(all)), all.clone()),
        Side::Nodes(all) => (format!("address of {}", names(all)), all.clone()),
        Side::Services(all) => (format!("address of {}", names(all)), all.clone()),
        Side::Reservation(name) => (format!("reservation {name}"), Vec::new()),
        Side::Given => ("named by you".to_owned(), Vec::new()),
    }
}

/// The same for a person.
pub fn overlaps(report: &OverlapReport, options: &TextOptions) -> String {
    let mut out = format!("{}\n\n", options.bold(&header(&report.cluster)));
    for it in &report.overlaps {
        let mark = options.mark(if it.severity == "error" { Mark::Bad } else { Mark::Warn });
        let title = match it.kind {
            "idle-reservation" => format!("{} {} lies in no pool", it.is, it.range),
            _ => format!("{} {} and {} ({})", it.is, it.range, it.with, it.with_is),
        };
        out.push_str(&format!("{mark} {}\n", escape(&title)));
        out.push_str(&options.block("so", it.consequence));
    }
    let against = report.compared.join(", ");
    if report.overlaps.is_empty() {
        out.push_str(&format!("{} no range overlaps another\n", options.mark(Mark::Good)));
    }
    out.push_str(&options.dim(&format!("compared: {against}\n")));
    options.plain(out)
}
