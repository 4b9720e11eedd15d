//! `check`: what is wrong with addresses, and why.

use clap::Args;
use common::checks::{IPAM, diagnose_by};
use common::cli::{Exit, FailOn, Failure, OutputFormat, verdict};
use common::collect::Addresses;
use common::report::v1::Report;
use common::report::{TextOptions, json, text, yaml};
use common::verbs::role::RoleFlags;
use common::verbs::{Session, rbac};

use super::observe::SourceFlags;
use crate::format::Format;

#[derive(Args, Clone, Debug)]
pub(crate) struct CheckFlags {
    /// From which severity on the exit code says so
    #[arg(long, value_enum, default_value_t = FailOn::Error, value_name = "SEVERITY")]
    fail_on: FailOn,
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    role: RoleFlags,
}

pub(crate) async fn run(
    session: &Session,
    format: Format,
    flags: &CheckFlags,
) -> Result<Exit, Failure> {
    if flags.role.print(session, "check", rbac::addresses_and_owners)? {
        return Ok(Exit::Good);
    }
    let began = std::time::Instant::now();
    let snapshot = flags.source.look(session, Addresses::All, true).await?;
    let diagnosis = diagnose_by(IPAM, &snapshot);
    let exit = verdict(&diagnosis, flags.fail_on);
    let mut report = Report::new(&snapshot, &diagnosis, exit.word());
    report.cluster.bundle = flags.source.name();
    session.printer.data(&match format {
        Format::Usual(OutputFormat::Json) => json(&report),
        Format::Usual(OutputFormat::Yaml) => yaml(&report),
        Format::Usual(OutputFormat::Text) => text(
            &report,
            &TextOptions {
                elapsed: Some(began.elapsed().as_secs_f64()),
                // Its verb explains codes.
                program: session.doctor().to_owned(),
                ..session.text_options()
            },
        ),
        other => return Err(other.refuse("check")),
    })?;
    Ok(exit)
}
