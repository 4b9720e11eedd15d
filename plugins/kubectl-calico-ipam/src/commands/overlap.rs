//! `overlap`: ranges that should be apart and are not.

use clap::Args;
use common::cli::{Exit, Failure, OutputFormat};
use common::collect::Addresses;
use common::ipam::overlap::overlaps;
use common::ipam::{Ledger, cidr};
use common::report::ipam::{OverlapReport, csv, overlaps as text};
use common::report::{escape, json, yaml};
use common::snapshot::{Gap, Snapshot};
use common::verbs::role::RoleFlags;
use common::verbs::{Session, rbac};

use super::observe::{SourceFlags, judge};
use crate::format::Format;

#[derive(Args, Clone, Debug)]
pub(crate) struct OverlapFlags {
    /// Compare pools with this range as well, a VPN's or a data centre's (can be repeated)
    #[arg(long, value_name = "CIDR")]
    also: Vec<String>,
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    role: RoleFlags,
}

pub(crate) async fn run(
    session: &Session,
    format: Format,
    flags: &OverlapFlags,
) -> Result<Exit, Failure> {
    if flags.role.print(session, "overlap", rbac::addresses_and_owners)? {
        return Ok(Exit::Good);
    }
    let range = |text: &String| {
        cidr::parse(text).ok_or_else(|| {
            Failure::usage(format!("{text:?} is no range")).hint("a range looks like 10.8.0.0/16")
        })
    };
    let given = flags.also.iter().map(range).collect::<Result<Vec<_>, _>>()?;
    let snapshot = flags.source.look(session, Addresses::All, true).await?;
    let mut exit = judge(session, &snapshot)?;
    for gap in unread(&snapshot) {
        exit = exit.or(Exit::Incomplete);
        session.printer.talk(&escape(&format!("not compared: {}: {}", gap.what, gap.detail)));
    }
    let ledger = Ledger::new(&snapshot);
    let found = overlaps(&snapshot, &ledger, &given);
    if found.iter().any(|it| it.kind.is_error()) {
        exit = exit.or(Exit::Findings);
    }
    let mut report =
        OverlapReport::new(&snapshot, &found, compared(&snapshot, &given), exit.word());
    report.cluster.bundle = flags.source.name();
    session.printer.data(&match format {
        Format::Usual(OutputFormat::Json) => json(&report),
        Format::Usual(OutputFormat::Yaml) => yaml(&report),
        Format::Usual(OutputFormat::Text) => text(&report, &session.text_options()),
        Format::Csv => csv(&report.overlaps),
        Format::Prometheus => return Err(format.refuse("overlap")),
    })?;
    Ok(exit)
}

/// Lists without which something is not compared.
fn unread(snapshot: &Snapshot) -> Vec<Gap> {
    [&snapshot.nodes.gap, &snapshot.addresses.services.gap].into_iter().flatten().cloned().collect()
}

fn compared(snapshot: &Snapshot, given: &[impl Sized]) -> Vec<&'static str> {
    let mut all = vec!["pools", "blocks"];
    if snapshot.nodes.get().known().is_some() {
        all.push("addresses and networks of nodes");
    }
    if snapshot.addresses.services.get().known().is_some() {
        all.push("addresses of Services");
    }
    if !given.is_empty() {
        all.push("what you named");
    }
    all
}
