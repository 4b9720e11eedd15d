//! `fix`: plan, consent, journal, repair, and a second look.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use common::checks;
use common::cli::{Exit, Failure, Kind, OutputFormat};
use common::cluster::Cluster;
use common::execute::journal::UnfinishedRun;
use common::execute::{
    Activity, ClusterOperations, Consent, Executor, Journal, Progress, Reporter, StopSwitch,
    SystemClock, Terminal, journal, new_plan_id,
};
use common::findings::Code;
use common::plan::{Action, Order, Outcome, Plan, RunResult, Target, describe, plan_for};
use common::report::v1::FixReport;
use common::report::{json, outcome as outcome_text, plan as plan_text, yaml};

use super::look::{self, Look};
use super::rbac;
use super::verdict::FailOn;
use crate::Session;

/// Pods whose cause is gone heal within 25 s; the kubelet's pauses may grow to half a minute before that.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);
/// Time between two looks at them.
const SETTLE_PAUSE: Duration = Duration::from_secs(2);

#[derive(Args, Clone, Debug)]
pub(crate) struct FixFlags {
    /// Repair only findings with these codes; all of them if none is given
    #[arg(value_name = "CODE")]
    codes: Vec<String>,
    /// Apply the plan without asking
    #[arg(short = 'y', long)]
    yes: bool,
    /// Print the plan and change nothing; with "server" the API server is asked whether it would accept it
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "client", default_value = "none", value_name = "WHERE")]
    dry_run: DryRun,
    /// Plan for this bundle; goes with --dry-run only
    #[arg(long, value_name = "PATH", requires = "dry_run")]
    bundle: Option<PathBuf>,
    /// Print the smallest ClusterRole for this verb, and do nothing
    #[arg(long)]
    print_rbac: bool,
    /// With --print-rbac: bind the role to this user
    #[arg(long, value_name = "USER", requires = "print_rbac")]
    bind_to: Option<String>,
}

/// kubectl's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DryRun {
    None,
    Client,
    Server,
}

pub(crate) async fn run(session: &Session, flags: &FixFlags) -> Result<Exit, Failure> {
    if flags.print_rbac {
        session.printer.data(&rbac::role(rbac::Verb::Fix, flags.bind_to.as_deref()))?;
        return Ok(Exit::Good);
    }
    let only = codes(session, &flags.codes)?;
    if let Some(path) = &flags.bundle {
        if flags.dry_run != DryRun::Client {
            return Err(Failure::usage("a bundle cannot be repaired")
                .hint("--bundle goes with --dry-run: it prints the plan"));
        }
        let look = look::at_bundle(path)?;
        let plan = make_plan(&look, bundle_target(&look, path), &only);
        return show_only(session, &plan);
    }
    let cluster = look::connect(session).await?;
    let look = look::at_cluster(session, &cluster).await?;
    if let Some(exit) = unreadable(session, &look)? {
        return Ok(exit);
    }
    let plan = make_plan(&look, target(&cluster, &look).await?, &only);
    if plan.steps.is_empty() && flags.dry_run == DryRun::None {
        return settle(session, &cluster, look, plan, &only).await;
    }
    if plan.steps.is_empty() {
        return nothing_to_do(session, &look, &plan, &only);
    }
    match flags.dry_run {
        DryRun::None => apply(session, &cluster, &plan, flags.yes, &only).await,
        DryRun::Client => show_only(session, &plan),
        DryRun::Server => {
            rehearse(&cluster, &plan).await?;
            show_only(session, &plan)
        }
    }
}

/// Asks the API server whether it would accept each step, which it then does not carry out.
async fn rehearse(cluster: &Cluster, plan: &Plan) -> Result<(), Failure> {
    for step in &plan.steps {
        let Action::Delete { object, uid } = &step.action else { continue };
        cluster.delete(object, uid, true).await.map_err(|error| {
            let step = format!("the API server would not {}", describe::action(&step.action));
            Failure::new(Kind::Refused, format!("{step}: {error}"))
        })?;
    }
    Ok(())
}

/// The codes that were named, each checked.
fn codes(session: &Session, words: &[String]) -> Result<Vec<Code>, Failure> {
    words
        .iter()
        .map(|word| {
            checks::find(word).map(|check| check.code).ok_or_else(|| {
                Failure::usage(format!("there is no check {word:?}"))
                    .hint(format!("list them: {} checks", session.program))
            })
        })
        .collect()
}

fn make_plan(look: &Look, target: Target, only: &[Code]) -> Plan {
    let order = Order {
        id: new_plan_id(),
        made_by: concat!("kubectl-calico-doctor/", env!("CARGO_PKG_VERSION")),
        target,
        only,
    };
    plan_for(order, &look.snapshot, &look.diagnosis)
}

/// Which cluster the plan is for. Without its identity no guard could hold, so nothing may be done.
async fn target(cluster: &Cluster, look: &Look) -> Result<Target, Failure> {
    let Some(cluster_uid) = look.snapshot.cluster.uid.known().cloned() else {
        return Err(Failure::new(Kind::Access, "cannot tell which cluster this is").hint(
            "reading namespace kube-system must be allowed: its uid identifies the cluster",
        ));
    };
    let info = cluster.target_info();
    let user = cluster.who_am_i().await.unwrap_or_else(|_| "unknown".to_owned());
    Ok(Target {
        cluster_uid,
        context: info.context.clone(),
        cluster_name: info.cluster_name.clone(),
        server: info.server.clone(),
        user,
    })
}

/// A bundle names no server: the plan shows where the data came from instead.
fn bundle_target(look: &Look, path: &Path) -> Target {
    Target {
        cluster_uid: look.snapshot.cluster.uid.known().cloned().unwrap_or_default(),
        context: "none".to_owned(),
        cluster_name: path.display().to_string(),
        server: "a bundle".to_owned(),
        user: "nobody".to_owned(),
    }
}

/// Without an answer of the API server there is nothing to plan: the report says so.
fn unreadable(session: &Session, look: &Look) -> Result<Option<Exit>, Failure> {
    let exit = look.exit(FailOn::Error);
    if exit != Exit::Error {
        return Ok(None);
    }
    look.print(session, exit)?;
    Ok(Some(exit))
}

fn show_only(session: &Session, plan: &Plan) -> Result<Exit, Failure> {
    print(session, &FixReport::new(plan, "planned"))?;
    Ok(Exit::Good)
}

/// Nothing is to be repaired any more, but pods may still be about to heal, perhaps after a run that was cut off: this is waited
/// for, so that a good end means that they are well.
async fn settle(
    session: &Session,
    cluster: &Cluster,
    mut look: Look,
    mut plan: Plan,
    only: &[Code],
) -> Result<Exit, Failure> {
    let unfinished = unfinished_runs(session, &plan)?;
    let began = Instant::now();
    while plan.steps.is_empty() && look.recovers() && began.elapsed() < SETTLE_LIMIT {
        let waited = began.elapsed().as_secs();
        session.printer.live(&format!(
            "  the cause is gone; waiting for the pods to recover ({waited} s of {} s)",
            SETTLE_LIMIT.as_secs()
        ));
        look::interruptible(tokio::time::sleep(SETTLE_PAUSE)).await?;
        look = look::at_cluster(session, cluster).await?;
        plan = make_plan(&look, plan.target, only);
    }
    session.printer.clear();
    if remaining(&look, only) == Exit::Good && !look.recovers() {
        close(session, &unfinished, &plan);
    }
    nothing_to_do(session, &look, &plan, only)
}

/// Notes in the journals of runs that were cut off that this one took their place.
fn close(session: &Session, unfinished: &[UnfinishedRun], plan: &Plan) {
    for run in unfinished {
        if let Err(error) = journal::supersede(run, &plan.id, jiff::Timestamp::now()) {
            session.printer.talk(&format!("warning: {error}"));
        }
    }
}

fn nothing_to_do(
    session: &Session,
    look: &Look,
    plan: &Plan,
    only: &[Code],
) -> Result<Exit, Failure> {
    let exit = remaining(look, only);
    let mut report = FixReport::new(plan, exit.word());
    report.note = Some(match exit {
        Exit::Good => "There is nothing to repair.".to_owned(),
        _ => "There is nothing that can be repaired from here; see what is left out.".to_owned(),
    });
    print(session, &report)?;
    Ok(exit)
}

/// The verdict over what was asked for.
fn remaining(look: &Look, only: &[Code]) -> Exit {
    let mut diagnosis = look.diagnosis.clone();
    if !only.is_empty() {
        diagnosis.roots.retain(|root| only.contains(&root.finding.code));
    }
    look.exit_of(&diagnosis, FailOn::Error)
}

async fn apply(
    session: &Session,
    cluster: &Cluster,
    plan: &Plan,
    yes: bool,
    only: &[Code],
) -> Result<Exit, Failure> {
    let text = session.format == OutputFormat::Text;
    if text {
        session.printer.data(&plan_text(plan, &session.text_options()))?;
    }
    let Some(consent) = consent(session, plan, yes)? else {
        if !text {
            print(session, &FixReport::new(plan, Exit::Declined.word()))?;
        }
        let hint = if io::stdin().is_terminal() {
            ""
        } else {
            " (no terminal to ask at: --yes applies it)"
        };
        session.printer.talk(&format!("Nothing was changed{hint}."));
        return Ok(Exit::Declined);
    };
    let unfinished = unfinished_runs(session, plan)?;
    let outcome = execute(session, cluster, plan, consent).await?;
    if outcome.result == RunResult::Done {
        close(session, &unfinished, plan);
    }
    finish(session, cluster, plan, outcome, only).await
}

fn consent(session: &Session, plan: &Plan, yes: bool) -> Result<Option<Consent>, Failure> {
    let (mut input, mut output) = (io::stdin().lock(), io::stderr().lock());
    let is_asked = io::stdin().is_terminal() && session.printer.stderr.is_terminal;
    let terminal = is_asked.then_some(Terminal { input: &mut input, output: &mut output });
    let mut options = session.text_options();
    options.verbose = true;
    Ok(Consent::obtain(yes, terminal, &plan_text(plan, &options))?)
}

/// Runs of ours on this cluster that were cut off: this one starts from what the cluster shows now, and takes their place
/// once it is done. Beside one that goes on, nothing may be begun.
fn unfinished_runs(session: &Session, plan: &Plan) -> Result<Vec<UnfinishedRun>, Failure> {
    let internal = |error: journal::JournalError| Failure::new(Kind::Internal, error);
    let directory = journal::directory().map_err(internal)?;
    let runs = journal::unfinished_runs(&directory, &plan.target.cluster_uid)?;
    if let Some(run) = runs.iter().find(|run| run.running) {
        let what = format!("another repair of this cluster goes on: run {}", run.plan);
        return Err(Failure::new(Kind::Refused, what).hint("wait for it to end, then try again"));
    }
    for run in &runs {
        session.printer.talk(&format!(
            "Run {} on this cluster was cut off ({} of {} steps done). This one plans from what the cluster shows now.",
            run.plan, run.finished, run.steps
        ));
    }
    Ok(runs)
}

async fn execute(
    session: &Session,
    cluster: &Cluster,
    plan: &Plan,
    consent: Consent,
) -> Result<Outcome, Failure> {
    let internal = |error: journal::JournalError| Failure::new(Kind::Internal, error);
    let directory = journal::directory().map_err(internal)?;
    let mut journal =
        Journal::create(&directory, plan, jiff::Timestamp::now()).map_err(internal)?;
    let (switch, stop) = StopSwitch::new();
    let listener = tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            switch.stop();
        }
    });
    let mut reporter = Lines { session };
    let operations = ClusterOperations::new(cluster);
    let executor = Executor {
        operations: &operations,
        clock: &SystemClock::default(),
        journal: &mut journal,
        reporter: &mut reporter,
        stop: &stop,
    };
    let outcome = executor.run(plan, consent).await.map_err(internal);
    listener.abort();
    session.printer.clear();
    outcome
}

/// One line that moves on a terminal; one line per step elsewhere.
struct Lines<'a> {
    session: &'a Session,
}

impl Reporter for Lines<'_> {
    fn tell(&mut self, progress: &Progress<'_>) {
        let place = progress.step.node.as_deref().unwrap_or(&progress.step.title);
        let line = format!("{}/{} {place}  {}", progress.number, progress.of, progress.line());
        match progress.activity {
            Activity::Ended(_) => {
                self.session.printer.clear();
                self.session.printer.talk(&format!("  {line}"));
            }
            _ => self.session.printer.live(&format!("  {line}")),
        }
    }
}

async fn finish(
    session: &Session,
    cluster: &Cluster,
    plan: &Plan,
    outcome: Outcome,
    only: &[Code],
) -> Result<Exit, Failure> {
    let mut exit = match outcome.result {
        RunResult::Done => Exit::Good,
        RunResult::Failed => Exit::Error,
        RunResult::Refused => Exit::Declined,
        RunResult::Interrupted => Exit::Interrupted,
    };
    let after = if outcome.result == RunResult::Interrupted {
        None
    } else {
        Some(look::at_cluster(session, cluster).await?)
    };
    if let Some(after) = &after {
        exit = exit.or(remaining(after, only));
    }
    let mut report = FixReport::new(plan, exit.word());
    report.after = after.as_ref().map(|look| look.report(exit));
    report.outcome = Some(outcome);
    if session.format != OutputFormat::Text {
        print(session, &report)?;
        return Ok(exit);
    }
    if let Some(outcome) = &report.outcome {
        session.printer.data(&outcome_text(outcome, &session.text_options()))?;
    }
    if let Some(after) = after {
        session.printer.data("\n")?;
        after.print(session, exit)?;
    }
    Ok(exit)
}

fn print(session: &Session, report: &FixReport) -> Result<(), Failure> {
    let document = match session.format {
        OutputFormat::Json => json(report),
        OutputFormat::Yaml => yaml(report),
        OutputFormat::Text => {
            let mut text = plan_text(&report.plan, &session.text_options());
            if let Some(note) = &report.note {
                text.push_str(note);
                text.push('\n');
            }
            text
        }
    };
    session.printer.data(&document)
}
