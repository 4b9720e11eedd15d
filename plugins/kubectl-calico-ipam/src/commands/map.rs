//! `map`: pools as grids of blocks.

use clap::Args;
use common::cli::{Exit, Failure, OutputFormat};
use common::collect::Addresses;
use common::ipam::Ledger;
use common::report::ipam::{MapReport, map};
use common::report::{json, yaml};
use common::verbs::role::RoleFlags;
use common::verbs::{Session, rbac};

use super::observe::{SourceFlags, judge};
use crate::format::Format;

#[derive(Args, Clone, Debug)]
pub(crate) struct MapFlags {
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    role: RoleFlags,
}

pub(crate) async fn run(
    session: &Session,
    format: Format,
    flags: &MapFlags,
) -> Result<Exit, Failure> {
    if flags.role.print(session, "map", rbac::addresses)? {
        return Ok(Exit::Good);
    }
    let snapshot = flags.source.look(session, Addresses::Blocks, false).await?;
    let exit = judge(session, &snapshot)?;
    let ledger = Ledger::new(&snapshot);
    let options = session.text_options();
    let mut report = MapReport::new(&snapshot, &ledger, &options, exit.word());
    report.cluster.bundle = flags.source.name();
    session.printer.data(&match format {
        Format::Usual(OutputFormat::Json) => json(&report),
        Format::Usual(OutputFormat::Yaml) => yaml(&report),
        Format::Usual(OutputFormat::Text) => map(&report, &options),
        other => return Err(other.refuse("map")),
    })?;
    Ok(exit)
}
