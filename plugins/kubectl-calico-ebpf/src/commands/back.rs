//! `disable` and `rollback`: the way back. Runs that this machine remembers are taken back, the newest first, so that everything
//! is what it was before; without any, the way back is planned from what is seen.

use clap::Args;
use common::cli::{Exit, Failure, Kind, OutputFormat};
use common::cluster::Cluster;
use common::execute::journal::{self, Run, RunState};
use common::node::pod::Op;
use common::plan::ebpf::{Ground, plan_disable};
use common::plan::{Outcome, RunResult};
use common::report::v1::FixReport;
use common::report::{UndoReport, outcome as outcome_text, undo as undo_text};
use common::verbs::change::{self, Manner, Work};
use common::verbs::node_flags::PodFlags;
use common::verbs::repair::{self, DryRun};
use common::verbs::undo::{exit_of, reopen};
use common::verbs::{Session, allowed, earlier, look};

use super::beginning::{self, Beginning, RunFlags, as_it_is};
use super::enable::PATIENCE;
use super::{finish, ground};
use crate::roles;

/// How to take a cluster back to iptables and kube-proxy.
#[derive(Args, Clone, Debug)]
pub(crate) struct DisableFlags {
    /// Plan from what is seen, even when a run of enable is remembered that could be taken back
    #[arg(long)]
    ignore_runs: bool,
    /// Seconds that a step may take on each node, beside two minutes for all
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    node_timeout: u64,
    #[command(flatten)]
    run: RunFlags,
}

/// Which run to take back.
#[derive(Args, Clone, Debug)]
pub(crate) struct RollbackFlags {
    /// The run: its id, the beginning of its id, or "last"
    #[arg(value_name = "RUN", default_value = "last")]
    run: String,
    #[command(flatten)]
    flags: RunFlags,
}

pub(crate) async fn disable(session: &Session, flags: &DisableFlags) -> Result<Exit, Failure> {
    if flags.run.role.print(session, "disable", roles::enable)? {
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    ground::adopt_runs(session, &cluster).await?;
    let runs = if flags.ignore_runs {
        Vec::new()
    } else {
        look::interruptible(of_enable(&cluster)).await??
    };
    if runs.is_empty() {
        return Box::pin(planned(session, &cluster, flags)).await;
    }
    take_back(session, &cluster, &runs, &flags.run).await
}

pub(crate) async fn rollback(session: &Session, flags: &RollbackFlags) -> Result<Exit, Failure> {
    if flags.flags.role.print(session, "rollback", roles::enable)? {
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    ground::adopt_runs(session, &cluster).await?;
    let run = ground::run_of_ours(session, &cluster, &flags.run).await?;
    take_back(session, &cluster, &[run], &flags.flags).await
}

/// The runs of `enable` on this cluster of which something can be taken back, the newest first.
async fn of_enable(cluster: &Cluster) -> Result<Vec<Run>, Failure> {
    let uid = earlier::cluster_uid(cluster).await?;
    let directory = journal::directory().map_err(change::internal)?;
    let mut runs = journal::known_runs(&directory, &uid).map_err(change::internal)?;
    runs.retain(|run| {
        let by = &run.recorded.plan.made_by;
        let is_ours = by.starts_with("kubectl-calico-ebpf/");
        let is_there = ["enable", "kube-proxy off"].iter().any(|verb| by.ends_with(verb));
        is_ours && is_there && !run.recorded.undoable().is_empty()
    });
    runs.reverse();
    if let Some(run) = runs.iter().find(|run| run.state() == RunState::Running) {
        let what = format!("run {} goes on at this moment", run.id());
        return Err(Failure::new(Kind::Refused, what).hint("wait for it to end, then try again"));
    }
    Ok(runs)
}

/// Takes these runs back, one after the other; the first that cannot be ends it.
pub(crate) async fn take_back(
    session: &Session,
    cluster: &Cluster,
    runs: &[Run],
    RunFlags { change, pods, .. }: &RunFlags,
) -> Result<Exit, Failure> {
    let text = session.format == OutputFormat::Text;
    let mut explanation = String::new();
    for run in runs {
        let report = UndoReport::new(&run.recorded.plan, &run.recorded.undoable(), "planned");
        explanation.push_str(&undo_text(&run.recorded.plan, &report, &session.text_options()));
    }
    let is_empty = runs.iter().all(|run| run.recorded.undoable().is_empty());
    if is_empty || change.dry_run != DryRun::None || text {
        print(session, runs, &explanation, is_empty)?;
    }
    if change.dry_run != DryRun::None {
        return Ok(Exit::Good);
    }
    if is_empty {
        if let Some(run) = runs.first() {
            change::unmirror(session, cluster, run.id()).await;
            finish::tidy(session, cluster, &run.recorded.plan).await;
        }
        return Ok(Exit::Good);
    }
    let steps: Vec<_> = runs.iter().flat_map(|run| run.recorded.undoable()).collect();
    look::interruptible(allowed::to_take_back(session, cluster, &steps)).await??;
    for run in runs {
        let Some(consent) = change::consent(session, change.yes, &explanation)? else {
            change::declined(session);
            return Ok(Exit::Declined);
        };
        let exit = one(session, cluster, run, pods, consent).await?;
        if exit != Exit::Good {
            return Ok(exit);
        }
    }
    Ok(Exit::Good)
}

fn print(
    session: &Session,
    runs: &[Run],
    explanation: &str,
    is_empty: bool,
) -> Result<(), Failure> {
    if session.format == OutputFormat::Text {
        let nothing = "There is nothing to take back.\n";
        return session.printer.data(if is_empty { nothing } else { explanation });
    }
    for run in runs {
        let verdict = if is_empty { Exit::Good.word() } else { "planned" };
        repair::print(session, &FixReport::new(&run.recorded.plan, verdict))?;
    }
    Ok(())
}

async fn one(
    session: &Session,
    cluster: &Cluster,
    run: &Run,
    pods: &PodFlags,
    consent: common::execute::Consent,
) -> Result<Exit, Failure> {
    let (journal, recorded) = reopen(run)?;
    let id = recorded.plan.id.clone();
    let pods = pods.open(session, cluster, id.clone(), Op::Repair, "rollback").await;
    let work = (
        Work::TakeBack(&recorded),
        Manner { take_back: false, patience: PATIENCE, mirrored: true },
    );
    let ended = change::carry_out_so(session, cluster, &pods, journal, work, consent).await?;
    let outcome = ended.outcome;
    let exit = exit_of(outcome.result);
    let note = (outcome.result != RunResult::Done).then(|| not_back(session, &outcome, &id.0));
    if session.format == OutputFormat::Text {
        session.printer.data(&outcome_text(&outcome, &session.text_options()))?;
        if let Some(note) = note {
            session.printer.data(&format!("{note}\n"))?;
        }
        return Ok(exit);
    }
    let mut report = FixReport::new(&recorded.plan, exit.word());
    report.taken_back = Some(outcome);
    report.note = note;
    repair::print(session, &report)?;
    Ok(exit)
}

/// What to do about a run that could not be taken back.
fn not_back(session: &Session, outcome: &Outcome, id: &str) -> String {
    let program = &session.program;
    if outcome.result == RunResult::Interrupted {
        return format!("Go on with it: {program} rollback {id}");
    }
    let mend = finish::obstacle(outcome).unwrap_or("Mend what is in the way");
    format!(
        "{mend}, then: {program} rollback {id}. Or have the way back planned from what is seen, whatever that run knew: {program} disable --ignore-runs"
    )
}

/// Plans the way back from what is seen.
async fn planned(
    session: &Session,
    cluster: &Cluster,
    flags: &DisableFlags,
) -> Result<Exit, Failure> {
    let look = match ground::installation(session, cluster).await? {
        Ok(look) => look,
        Err(exit) => return Ok(exit),
    };
    let situation = ground::situation(cluster, &look).await?;
    let objects = ground::objects(&situation)?;
    let made_by = session.made_by_verb("disable");
    let seen = (&look, &situation, &objects);
    let beginning = Beginning::of(cluster, seen, &[]).await?;
    let plan = plan_disable(&Ground {
        per_node_seconds: flags.node_timeout,
        ..beginning.ground(&made_by, seen, as_it_is(&situation, &objects))
    });
    if plan.steps.is_empty() {
        let note = "eBPF is off, and kube-proxy serves.";
        return finish::nothing(session, cluster, &plan, note).await;
    }
    if flags.run.change.dry_run != DryRun::None {
        return finish::dry_run(session, cluster, &plan, flags.run.change.dry_run).await;
    }
    // With kube-proxy back, a failure on the way leaves a cluster that works: nothing is gained by going there again.
    beginning::carry_out(session, cluster, (&plan, "disable"), &flags.run, false).await
}
