//! `pools`: what pools are for, who may use them, and their use.

use clap::Args;
use common::cli::{Exit, Failure, OutputFormat};
use common::collect::Addresses;
use common::ipam::Ledger;
use common::report::ipam::{IpamReport, csv, metrics, pool_list, pools};
use common::report::{json, yaml};
use common::verbs::role::RoleFlags;
use common::verbs::{Session, rbac};

use super::observe::{SourceFlags, judge};
use super::show::Compat;
use crate::format::Format;

#[derive(Args, Clone, Debug)]
pub(crate) struct PoolsFlags {
    #[command(flatten)]
    source: SourceFlags,
    /// Print the table of another program, byte for byte
    #[arg(long, value_enum, value_name = "PROGRAM")]
    compat: Option<Compat>,
    #[command(flatten)]
    role: RoleFlags,
}

pub(crate) async fn run(
    session: &Session,
    format: Format,
    flags: &PoolsFlags,
) -> Result<Exit, Failure> {
    if flags.role.print(session, "pools", rbac::addresses)? {
        return Ok(Exit::Good);
    }
    let snapshot = flags.source.look(session, Addresses::Blocks, false).await?;
    let exit = judge(session, &snapshot)?;
    let ledger = Ledger::new(&snapshot);
    let mut report = IpamReport::new(&snapshot, &ledger, exit.word());
    report.cluster.bundle = flags.source.name();
    session.printer.data(&match (flags.compat, format) {
        (Some(Compat::Calicoctl), _) => pool_list(&report.pools),
        (None, Format::Usual(OutputFormat::Json)) => json(&report),
        (None, Format::Usual(OutputFormat::Yaml)) => yaml(&report),
        (None, Format::Usual(OutputFormat::Text)) => pools(&report, &session.text_options()),
        (None, Format::Csv) => csv(&report.pools),
        (None, Format::Prometheus) => metrics(&ledger),
    })?;
    Ok(exit)
}
