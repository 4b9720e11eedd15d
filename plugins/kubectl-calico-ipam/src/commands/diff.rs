//! `diff`: what became of addresses between two looks.

use std::path::PathBuf;

use clap::Args;
use common::cli::{Exit, Failure, OutputFormat};
use common::collect::Addresses;
use common::report::ipam::{DiffReport, csv, differences};
use common::report::{json, yaml};
use common::verbs::Session;

use super::observe::{SourceFlags, judge};
use crate::format::Format;

#[derive(Args, Clone, Debug)]
pub(crate) struct DiffFlags {
    /// The earlier look: a bundle
    #[arg(value_name = "BEFORE")]
    before: PathBuf,
    /// The later one: a bundle; the cluster as it is now when it is left out
    #[arg(value_name = "AFTER")]
    after: Option<PathBuf>,
}

pub(crate) async fn run(
    session: &Session,
    format: Format,
    flags: &DiffFlags,
) -> Result<Exit, Failure> {
    let look = async |bundle: Option<PathBuf>| {
        SourceFlags { bundle }.look(session, Addresses::Blocks, false).await
    };
    let before = look(Some(flags.before.clone())).await?;
    let after = look(flags.after.clone()).await?;
    let exit = judge(session, &before)?.or(judge(session, &after)?);
    let report = DiffReport::new(&before, &after, exit.word());
    session.printer.data(&match format {
        Format::Usual(OutputFormat::Json) => json(&report),
        Format::Usual(OutputFormat::Yaml) => yaml(&report),
        Format::Usual(OutputFormat::Text) => differences(&report, &session.text_options()),
        Format::Csv => csv(&report.changes),
        Format::Prometheus => return Err(format.refuse("diff")),
    })?;
    Ok(exit)
}
