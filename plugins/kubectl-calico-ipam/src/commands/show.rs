//! `show`: how full pools and blocks are.

use clap::{Args, ValueEnum};
use common::cli::{Exit, Failure, OutputFormat};
use common::collect::Addresses;
use common::ipam::Ledger;
use common::report::ipam::{
    IpamReport, block_table, borrowed_table, configuration_table, csv, metrics, show,
};
use common::report::{json, yaml};
use common::verbs::role::RoleFlags;
use common::verbs::{Session, rbac};

use super::ip;
use super::observe::{SourceFlags, judge};
use crate::format::Format;

/// Whose tables to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compat {
    /// calicoctl's, up to v3.32
    Calicoctl,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ShowFlags {
    #[command(flatten)]
    source: SourceFlags,
    /// Blocks as well
    #[arg(long, alias = "show-blocks")]
    blocks: bool,
    /// Addresses that nodes have of other nodes' blocks as well
    #[arg(long, alias = "show-borrowed")]
    borrowed: bool,
    /// Settings as well
    #[arg(long, alias = "show-configuration")]
    configuration: bool,
    /// The same as verb ip
    #[arg(long, value_name = "ADDRESS", hide_short_help = true)]
    ip: Vec<String>,
    /// Print the tables of another program, byte for byte
    #[arg(long, value_enum, value_name = "PROGRAM", conflicts_with = "ip")]
    compat: Option<Compat>,
    #[command(flatten)]
    role: RoleFlags,
}

pub(crate) async fn run(
    session: &Session,
    format: Format,
    flags: &ShowFlags,
) -> Result<Exit, Failure> {
    if flags.role.print(session, "show", rbac::addresses)? {
        return Ok(Exit::Good);
    }
    if !flags.ip.is_empty() {
        return ip::of(session, format, &flags.source, &flags.ip).await;
    }
    let snapshot = flags.source.look(session, Addresses::Blocks, false).await?;
    let exit = judge(session, &snapshot)?;
    let ledger = Ledger::new(&snapshot);
    let mut report = IpamReport::new(&snapshot, &ledger, exit.word());
    report.cluster.bundle = flags.source.name();
    if flags.blocks {
        report.add_blocks(&ledger);
    }
    if flags.borrowed {
        report.add_borrowed(&ledger);
    }
    if flags.configuration {
        report.add_settings(&ledger);
    }
    session.printer.data(&match (flags.compat, format) {
        (Some(Compat::Calicoctl), _) => compat(&report),
        (None, Format::Usual(OutputFormat::Json)) => json(&report),
        (None, Format::Usual(OutputFormat::Yaml)) => yaml(&report),
        (None, Format::Usual(OutputFormat::Text)) => show(&report, &session.text_options()),
        (None, Format::Prometheus) => metrics(&ledger),
        (None, Format::Csv) => rows(&report),
    })?;
    Ok(exit)
}

/// One table: calicoctl prints one thing at a time as well.
fn compat(report: &IpamReport) -> String {
    match (&report.borrowed, &report.settings) {
        (Some(rows), _) => borrowed_table(rows, report.without_node.unwrap_or_default()),
        (None, Some(rows)) => configuration_table(rows),
        (None, None) => block_table(&report.pools, report.blocks.as_deref()),
    }
}

/// The most detailed rows that were asked for.
fn rows(report: &IpamReport) -> String {
    match (&report.settings, &report.borrowed, &report.blocks) {
        (Some(rows), _, _) => csv(rows),
        (None, Some(rows), _) => csv(rows),
        (None, None, Some(rows)) => csv(rows),
        (None, None, None) => csv(&report.pools),
    }
}
