//! `node --all-state`: takes everything of Calico off nodes, in the order that wedges no pod.

mod guarded;
mod scan;

use std::collections::BTreeSet;

use clap::Args;
use common::cli::{Exit, FailOn, Failure, Kind, OutputFormat};
use common::cluster::Cluster;
use common::collect::{HostProbes, Which, circumstances};
use common::execute::{journal, new_plan_id};
use common::findings::Code;
use common::node::pod::{NodePods, Op};
use common::plan::purge::{Leaving, plan_all_state};
use common::plan::safeguards::Circumstances;
use common::plan::{Outcome, Plan, RunResult};
use common::report::outcome as outcome_text;
use common::report::v1::FixReport;
use common::residue::Inventory;
use common::verbs::look::{self, Look};
use common::verbs::node_flags::{PodFlags, announce, close};
use common::verbs::repair::{self, ChangeFlags, DryRun};
use common::verbs::undo::exit_of;
use common::verbs::{Session, change};

/// Flags that only mean something together with `--all-state`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct AllStateFlags {
    /// Take everything of Calico off the nodes: they leave Calico, or the cluster
    #[arg(long, conflicts_with_all = ["free_stuck", "probe"])]
    all_state: bool,
    /// With --all-state: what pods keep in emptyDir volumes may be lost
    #[arg(long, requires = "all_state")]
    delete_emptydir_data: bool,
    /// With --all-state: override this one guard (can be repeated)
    #[arg(long, value_name = "CAL-GRD-NNN", requires = "all_state", value_parser = guarded::code)]
    force: Vec<Code>,
    /// With --all-state: so many nodes may fail before nothing more is begun
    #[arg(long, value_name = "N", requires = "all_state", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    max_failures: u32,
}

impl AllStateFlags {
    /// Whether everything is to go.
    pub(crate) fn is_wanted(&self) -> bool {
        self.all_state
    }
}

/// What the user asked for.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) nodes: &'a BTreeSet<String>,
    pub(crate) flags: &'a AllStateFlags,
    pub(crate) backup: Option<&'a str>,
    pub(crate) change: ChangeFlags,
    pub(crate) pods: &'a PodFlags,
}

/// The user's words, after the plugin's name.
const VERB: &str = "node --all-state";

pub(crate) async fn run(
    session: &Session,
    cluster: &Cluster,
    request: &Request<'_>,
) -> Result<Exit, Failure> {
    let look = look::before_a_change(session, cluster).await?;
    let exit = look.exit(FailOn::Error);
    if exit == Exit::Error {
        look.print(session, exit)?;
        return Ok(exit);
    }
    let asking = Box::pin(circumstances(cluster, &look.snapshot));
    let around = look::interruptible(asking).await?;
    let dry = request.change.dry_run != DryRun::None;
    // What only a host tells is judged once it was looked at; a dry run makes no pod for that.
    guarded::check(session, cluster, request, (&look.snapshot, &around), dry)?;
    let run = new_plan_id();
    if dry {
        let unseen: Vec<_> = request.nodes.iter().map(|node| (node.clone(), None)).collect();
        let target = repair::target(cluster, &look).await?;
        let backup = backup_directory(request, &run.0)?;
        let made_by = session.made_by_verb("node --all-state");
        let plan = plan_all_state(&Leaving {
            run: &run,
            made_by: &made_by,
            target: &target,
            snapshot: &look.snapshot,
            circumstances: &around,
            nodes: &unseen,
            backup: &backup,
            max_failures: request.flags.max_failures,
        });
        let dry_run = request.change.dry_run;
        return repair::rehearse_or_show(session, cluster, &plan, dry_run).await;
    }
    let pods = request.pods.open(session, cluster, run, Op::Repair, VERB).await;
    // Boxed: it holds everything from the closer look to the last one.
    let ended = Box::pin(on_hosts(session, cluster, request, &pods)).await;
    close(session, &pods).await;
    ended
}

/// Looks at the hosts, plans, and does it. The caller closes the pods.
async fn on_hosts(
    session: &Session,
    cluster: &Cluster,
    request: &Request<'_>,
    pods: &NodePods,
) -> Result<Exit, Failure> {
    let which = Which::Listed(request.nodes.clone());
    announce(session, pods, &which);
    let hosts = HostProbes { pods: pods.clone(), which, keep: true };
    let look = look::at_cluster_and_hosts(session, cluster, Some(&hosts)).await?;
    let asking = Box::pin(circumstances(cluster, &look.snapshot));
    let around = look::interruptible(asking).await?;
    guarded::check(session, cluster, request, (&look.snapshot, &around), true)?;
    let found = look::interruptible(scan::all(session, pods, &look.snapshot, request)).await??;
    let plan = plan(session, cluster, request, pods, (&look, &around, &found)).await?;
    if plan.steps.is_empty() {
        let (exit, what) = scan::verdict(&found, &session.program);
        // A run that was killed after its last step leaves a node pod and its Lease.
        let seen = (&look.snapshot, &plan);
        repair::tidy_after_others(session, cluster, seen, exit == Exit::Good).await?;
        let mut report = FixReport::new(&plan, exit.word());
        report.note = Some(what);
        repair::print(session, &report)?;
        return Ok(exit);
    }
    let outcome = change::apply(session, cluster, pods, &plan, request.change.yes).await?;
    let Some(outcome) = outcome else {
        if session.format != OutputFormat::Text {
            repair::print(session, &FixReport::new(&plan, Exit::Declined.word()))?;
        }
        return Ok(Exit::Declined);
    };
    finish(session, cluster, request, &plan, outcome).await
}

async fn plan(
    session: &Session,
    cluster: &Cluster,
    request: &Request<'_>,
    pods: &NodePods,
    (look, around, found): (&Look, &Circumstances, &[(String, Inventory)]),
) -> Result<Plan, Failure> {
    let run = pods.options().run.clone();
    let target = repair::target(cluster, look).await?;
    let backup = backup_directory(request, &run.0)?;
    let nodes: Vec<_> = found.iter().map(|(node, it)| (node.clone(), Some(it.clone()))).collect();
    let made_by = session.made_by_verb("node --all-state");
    Ok(plan_all_state(&Leaving {
        run: &run,
        made_by: &made_by,
        target: &target,
        snapshot: &look.snapshot,
        circumstances: around,
        nodes: &nodes,
        backup: &backup,
        max_failures: request.flags.max_failures,
    }))
}

/// Where the archives go: beside the journals of the runs, unless the user says where.
fn backup_directory(request: &Request<'_>, run: &str) -> Result<String, Failure> {
    if let Some(directory) = request.backup {
        return Ok(directory.to_owned());
    }
    let runs = journal::directory().map_err(|error| Failure::new(Kind::Internal, error))?;
    let beside = runs.parent().unwrap_or(&runs).join("backups").join(run);
    Ok(beside.to_string_lossy().into_owned())
}

/// Looks again: what is still there decides the exit code.
async fn finish(
    session: &Session,
    cluster: &Cluster,
    request: &Request<'_>,
    plan: &Plan,
    outcome: Outcome,
) -> Result<Exit, Failure> {
    let mut exit = exit_of(outcome.result);
    let mut note = None;
    if outcome.result != RunResult::Interrupted {
        let pods = request.pods.open(session, cluster, new_plan_id(), Op::Inspect, VERB).await;
        let again = Box::pin(second(session, cluster, request, &pods)).await;
        close(session, &pods).await;
        let (seen, what) = scan::verdict(&again?, &session.program);
        exit = exit.or(seen);
        note = Some(what);
    }
    let mut report = FixReport::new(plan, exit.word());
    report.undo = change::undo_command(session, plan)?;
    report.note = note;
    if session.format != OutputFormat::Text {
        report.outcome = Some(outcome);
        repair::print(session, &report)?;
        return Ok(exit);
    }
    session.printer.data(&outcome_text(&outcome, &session.text_options()))?;
    if let Some(command) = &report.undo {
        session.printer.data(&format!("undo: {command}\n"))?;
    }
    if let Some(note) = &report.note {
        session.printer.data(&format!("\n{note}\n"))?;
    }
    Ok(exit)
}

async fn second(
    session: &Session,
    cluster: &Cluster,
    request: &Request<'_>,
    pods: &NodePods,
) -> Result<Vec<(String, Inventory)>, Failure> {
    let look = look::at_cluster(session, cluster).await?;
    look::interruptible(scan::all(session, pods, &look.snapshot, request)).await?
}
