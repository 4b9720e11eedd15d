//! `top`: who has most addresses.

use clap::{Args, ValueEnum};
use common::cli::{Exit, Failure, OutputFormat};
use common::collect::Addresses;
use common::ipam::Ledger;
use common::report::ipam::{TopReport, TopRow, csv, top};
use common::report::{json, yaml};
use common::verbs::role::RoleFlags;
use common::verbs::{Session, rbac};

use super::observe::{SourceFlags, judge};
use crate::format::Format;

/// Of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// Nodes
    Nodes,
    /// Namespaces of pods, virtual machines and Services
    Namespaces,
    /// Pools
    Pools,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct TopFlags {
    /// Of what
    #[arg(value_enum)]
    by: By,
    /// How many to show in text; 0 shows all. Other formats always have all
    #[arg(long, default_value_t = 20, value_name = "NUMBER")]
    limit: usize,
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    role: RoleFlags,
}

pub(crate) async fn run(
    session: &Session,
    format: Format,
    flags: &TopFlags,
) -> Result<Exit, Failure> {
    if flags.role.print(session, "top", rbac::addresses)? {
        return Ok(Exit::Good);
    }
    let snapshot = flags.source.look(session, Addresses::Blocks, false).await?;
    let exit = judge(session, &snapshot)?;
    let ledger = Ledger::new(&snapshot);
    let (word, rows) = match flags.by {
        By::Nodes => ("nodes", TopRow::nodes(&ledger)),
        By::Namespaces => ("namespaces", TopRow::namespaces(&ledger)),
        By::Pools => ("pools", TopRow::pools(&ledger)),
    };
    let limit = if format == Format::Usual(OutputFormat::Text) { flags.limit } else { 0 };
    let mut report = TopReport::new(&snapshot, word, rows, limit);
    report.verdict = exit.word();
    report.cluster.bundle = flags.source.name();
    session.printer.data(&match format {
        Format::Usual(OutputFormat::Json) => json(&report),
        Format::Usual(OutputFormat::Yaml) => yaml(&report),
        Format::Usual(OutputFormat::Text) => top(&report, &session.text_options()),
        Format::Csv => csv(&report.rows),
        Format::Prometheus => return Err(format.refuse("top")),
    })?;
    Ok(exit)
}
