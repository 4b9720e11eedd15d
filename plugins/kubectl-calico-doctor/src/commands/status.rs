//! `status`: per node, what keeps its network up. Creates nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use common::bundle;
use common::cli::{Exit, Failure, Kind, OutputFormat};
use common::collect::Want;
use common::report::{NodeVerdict, StatusReport, json, status_text, yaml};
use common::snapshot::Snapshot;

use common::verbs::role::RoleFlags;
use common::verbs::{Session, look, rbac};

/// Value of `-o` that only this verb knows: more columns.
pub(crate) const WIDE: &str = "wide";

#[derive(Args, Clone, Debug)]
#[command(after_help = "Output formats: text (the default), wide, json, yaml")]
pub(crate) struct StatusFlags {
    /// Show this node only (can be repeated)
    #[arg(long = "node", value_name = "NAME")]
    nodes: Vec<String>,
    /// Look at this bundle (a folder, .tar.gz or .tgz) instead of a cluster
    #[arg(long, value_name = "PATH")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    role: RoleFlags,
}

pub(crate) async fn run(
    session: &Session,
    flags: &StatusFlags,
    output: Option<&str>,
) -> Result<Exit, Failure> {
    if flags.role.print(session, "status", rbac::status)? {
        return Ok(Exit::Good);
    }
    let snapshot = match &flags.bundle {
        Some(path) => bundle::load(path).map_err(look::bundle_failure)?,
        None => at_cluster(session).await?,
    };
    let only: BTreeSet<String> = flags.nodes.iter().cloned().collect();
    let mut report = StatusReport::new(&snapshot, &only);
    report.cluster.bundle = flags.bundle.as_deref().map(Path::display).map(|it| it.to_string());
    let mut exit = exit(&report);
    if look::tell_forbidden(session, &snapshot) {
        exit = exit.or(Exit::Incomplete);
    }
    if let Some(name) = only.iter().find(|name| !report.nodes.iter().any(|it| it.name == **name)) {
        return Err(Failure::new(Kind::NotFound, format!("there is no node {name:?}"))
            .hint(format!("{} status names all nodes", session.program)));
    }
    report.verdict = exit.word();
    session.printer.data(&match session.format {
        OutputFormat::Json => json(&report),
        OutputFormat::Yaml => yaml(&report),
        OutputFormat::Text => status_text(&report, &session.text_options(), output == Some(WIDE)),
    })?;
    Ok(exit)
}

/// Everything but events and our Lease: how the nodes are now is not told by what happened, nor by who repairs them.
async fn at_cluster(session: &Session) -> Result<Snapshot, Failure> {
    let cluster = look::connect(session).await?;
    let want = Want { events: false, lease: false, ..Want::ALL };
    look::snapshot(session, &cluster, want).await
}

fn exit(report: &StatusReport) -> Exit {
    match report.judge() {
        NodeVerdict::Unhealthy => Exit::Findings,
        NodeVerdict::Unknown => Exit::Incomplete,
        NodeVerdict::Healthy | NodeVerdict::NotManaged => Exit::Good,
    }
}
