//! `status`: what the data plane is meant to be, what it is, and whether all that must hold does. Creates nothing.

use std::time::Duration;

use clap::Args;
use common::bpf::Situation;
use common::bpf::status::{EbpfStatus, Holds, Invariant, OpenRun, Weight};
use common::cli::{Exit, FailOn, Failure, Kind, OutputFormat};
use common::cluster::Cluster;
use common::execute::journal;
use common::report::{EbpfStatusReport, ebpf_status_text, json, yaml};
use common::snapshot::Snapshot;
use common::verbs::role::RoleFlags;
use common::verbs::{Session, change, look};

use super::ground;
use crate::roles;

/// How to look.
#[derive(Args, Clone, Debug)]
pub(crate) struct StatusFlags {
    /// Show every node, not only those with which something is wrong
    #[arg(long)]
    per_node: bool,
    /// Go on looking every 2 seconds until ^C, and tell when something has changed
    #[arg(long)]
    watch: bool,
    /// From which severity on an invariant that does not hold makes the run fail
    #[arg(long, value_enum, default_value_t = FailOn::Error, value_name = "SEVERITY")]
    fail_on: FailOn,
    #[command(flatten)]
    role: RoleFlags,
}

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);

pub(crate) async fn run(session: &Session, flags: &StatusFlags) -> Result<Exit, Failure> {
    if flags.role.print(session, "status", roles::status)? {
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    if flags.watch {
        return watch(session, &cluster, flags).await;
    }
    match report(session, &cluster, flags.fail_on).await? {
        Ok((report, exit)) => {
            print(session, &report, flags.per_node)?;
            Ok(exit)
        }
        Err(exit) => Ok(exit),
    }
}

/// One look. `Err(exit)` in the answer: nothing could be read, and that was said.
async fn report(
    session: &Session,
    cluster: &Cluster,
    fail_on: FailOn,
) -> Result<Result<(EbpfStatusReport, Exit), Exit>, Failure> {
    let look = match ground::installation(session, cluster).await? {
        Ok(look) => look,
        Err(exit) => return Ok(Err(exit)),
    };
    let situation = ground::situation(cluster, &look).await?;
    let status = of(&situation)?;
    let mut exit = exit_of(&status.invariants, fail_on);
    if look::tell_forbidden(session, &look.snapshot) {
        exit = exit.or(Exit::Incomplete);
    }
    let mut report = EbpfStatusReport::new(&situation, &status);
    report.verdict = exit.word();
    Ok(Ok((report, exit)))
}

/// The status, with the runs that this machine remembers.
pub(super) fn of(situation: &Situation<'_>) -> Result<EbpfStatus, Failure> {
    Ok(EbpfStatus::of(situation, &open_runs(situation.snapshot)?))
}

/// Runs of this plugin on this cluster that did not end.
fn open_runs(snapshot: &Snapshot) -> Result<Vec<OpenRun>, Failure> {
    let Some(uid) = snapshot.cluster.uid.known() else { return Ok(Vec::new()) };
    let directory = journal::directory().map_err(change::internal)?;
    let runs = journal::unfinished_runs(&directory, uid)
        .map_err(|error| Failure::new(Kind::Internal, error))?;
    let ours = runs.into_iter().filter(|run| run.made_by.starts_with("kubectl-calico-ebpf/"));
    let open = |run: journal::UnfinishedRun| OpenRun {
        id: run.plan.0,
        made_by: run.made_by,
        goes_on: run.running,
        progress: format!("{} of {} steps are done", run.finished, run.steps),
    };
    Ok(ours.map(open).collect())
}

/// 3 for what does not hold, 5 for what is not known, and 4 for warnings when they are to count.
pub(super) fn exit_of(invariants: &[Invariant], fail_on: FailOn) -> Exit {
    let of = |it: &Invariant| match &it.holds {
        Holds::No { weight: Weight::Error, .. } => Exit::Findings,
        Holds::No { .. } if fail_on == FailOn::Warning => Exit::Warnings,
        Holds::Unknown(_) => Exit::Incomplete,
        Holds::No { .. } | Holds::Yes | Holds::NotApplicable { .. } => Exit::Good,
    };
    invariants.iter().fold(Exit::Good, |exit, it| exit.or(of(it)))
}

fn print(session: &Session, report: &EbpfStatusReport, per_node: bool) -> Result<(), Failure> {
    session.printer.data(&match session.format {
        OutputFormat::Json => json(report),
        OutputFormat::Yaml => yaml(report),
        OutputFormat::Text => ebpf_status_text(report, &session.text_options(), per_node),
    })
}

/// Tells the whole first, then one line or document whenever something has changed.
async fn watch(session: &Session, cluster: &Cluster, flags: &StatusFlags) -> Result<Exit, Failure> {
    let mut before: Option<String> = None;
    loop {
        // A cluster that does not answer for a while, as when its API server restarts, is no reason to stop.
        match report(session, cluster, flags.fail_on).await {
            Ok(Ok((report, _))) => {
                let now = match session.format {
                    OutputFormat::Text => report.line_fingerprint(),
                    OutputFormat::Json | OutputFormat::Yaml => report.fingerprint(),
                };
                if before.as_ref() != Some(&now) {
                    tell(session, &report, before.is_none(), flags.per_node)?;
                }
                before = Some(now);
            }
            Ok(Err(_)) => {}
            Err(failure) if failure.kind == Kind::Access => {
                session.printer.talk(&failure.chain());
            }
            Err(failure) => return Err(failure),
        }
        look::pause(EVERY).await?;
    }
}

fn tell(
    session: &Session,
    report: &EbpfStatusReport,
    is_first: bool,
    per_node: bool,
) -> Result<(), Failure> {
    match session.format {
        OutputFormat::Json => session.printer.data(&report.json_line()),
        OutputFormat::Yaml => session.printer.data(&format!("---\n{}", yaml(report))),
        OutputFormat::Text if is_first => print(session, report, per_node),
        OutputFormat::Text => session.printer.data(&report.line()),
    }
}
