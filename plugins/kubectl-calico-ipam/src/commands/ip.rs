//! `ip`: all that is known of addresses.

use std::net::IpAddr;

use clap::Args;
use common::cli::{Exit, Failure, OutputFormat};
use common::collect::Addresses;
use common::ipam::leak::Judge;
use common::ipam::{Ledger, Population};
use common::report::ipam::{AddressReport, FoundAddress, addresses};
use common::report::{escape, json, yaml};
use common::verbs::role::RoleFlags;
use common::verbs::{Session, rbac};

use super::observe::{SourceFlags, judge};
use crate::format::Format;

#[derive(Args, Clone, Debug)]
pub(crate) struct IpFlags {
    /// The addresses
    #[arg(required = true, value_name = "ADDRESS")]
    addresses: Vec<String>,
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    role: RoleFlags,
}

pub(crate) async fn run(
    session: &Session,
    format: Format,
    flags: &IpFlags,
) -> Result<Exit, Failure> {
    if flags.role.print(session, "ip", rbac::addresses_and_owners)? {
        return Ok(Exit::Good);
    }
    of(session, format, &flags.source, &flags.addresses).await
}

/// Tells of addresses, whichever verb asked.
pub(crate) async fn of(
    session: &Session,
    format: Format,
    source: &SourceFlags,
    texts: &[String],
) -> Result<Exit, Failure> {
    let wanted = parse(texts)?;
    let snapshot = source.look(session, Addresses::All, true).await?;
    let mut exit = judge(session, &snapshot)?;
    let ledger = Ledger::new(&snapshot);
    let population = Population::new(&snapshot);
    let judges = Judge::new(&snapshot, &population);
    if let Err(gap) = &judges {
        exit = exit.or(Exit::Incomplete);
        let text = format!("not judged whether they leaked: {}: {}", gap.what, gap.detail);
        session.printer.talk(&escape(&text));
    }
    let found = wanted
        .iter()
        .map(|it| FoundAddress::of(*it, &ledger, &population, judges.as_ref().ok()))
        .collect();
    let mut report = AddressReport::new(&snapshot, exit.word(), found);
    report.cluster.bundle = source.name();
    session.printer.data(&match format {
        Format::Usual(OutputFormat::Json) => json(&report),
        Format::Usual(OutputFormat::Yaml) => yaml(&report),
        Format::Usual(OutputFormat::Text) => addresses(&report, &session.text_options()),
        other => return Err(other.refuse("ip")),
    })?;
    Ok(exit)
}

pub(crate) fn parse(texts: &[String]) -> Result<Vec<IpAddr>, Failure> {
    let one = |text: &String| {
        text.parse().map_err(|_| {
            Failure::usage(format!("{text:?} is no address"))
                .hint("an address looks like 10.244.1.7 or fd00::7, without a prefix length")
        })
    };
    texts.iter().map(one).collect()
}
