//! `resume`: does what is left of an earlier run's plan. A new `fix` plans anew from what the cluster shows; this goes on
//! with what was decided then.

use std::collections::BTreeSet;

use crate::cli::{Exit, Failure, Kind, OutputFormat};
use crate::execute::journal::{Run, RunState};
use crate::node::pod::Op;
use crate::plan::{Outcome, Plan, RunResult, StepState};
use crate::report::v1::FixReport;
use crate::report::{outcome as outcome_text, plan as plan_text};
use clap::Args;
use serde_json::Value;

use super::Session;
use super::change::{self, Work};
use super::node_flags::PodFlags;
use super::repair::{Again, ChangeFlags, DryRun, Request, Stuck, finish, print};
use super::role::RoleFlags;
use super::undo::{exit_of, reopen};
use super::{allowed, earlier, look};

/// Which run, and how to go on.
#[derive(Args, Clone, Debug)]
pub struct ResumeFlags {
    /// The run: its id, the beginning of its id, or "last"
    #[arg(value_name = "RUN", required_unless_present = "print_rbac")]
    run: Option<String>,
    /// Go on without asking
    #[arg(short = 'y', long)]
    yes: bool,
    /// Print what is left to do, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pods: PodFlags,
    #[command(flatten)]
    role: RoleFlags,
}

/// Goes on with it. `rules` are what that takes of the API server for the runs of this plugin.
///
/// # Errors
/// When there is no such run, it cannot go on, or the cluster cannot be asked.
pub async fn run(
    session: &Session,
    flags: &ResumeFlags,
    rules: fn() -> Vec<Value>,
) -> Result<Exit, Failure> {
    if flags.role.print(session, "resume", rules)? {
        return Ok(Exit::Good);
    }
    let word = flags.run.as_deref().unwrap_or_default();
    let cluster = look::connect(session).await?;
    let run = look::interruptible(earlier::find(session, &cluster, word)).await??;
    let left = left_of(&run);
    if let Some(note) = over(session, &run)? {
        let mut report = FixReport::new(&left, Exit::Good.word());
        report.note = Some(note.clone());
        if session.format == OutputFormat::Text {
            session.printer.data(&format!("{note}\n"))?;
        } else {
            print(session, &report)?;
        }
        return Ok(Exit::Good);
    }
    if flags.dry_run {
        print(session, &FixReport::new(&left, "planned"))?;
        return Ok(Exit::Good);
    }
    let mut options = session.text_options();
    if session.format == OutputFormat::Text {
        session.printer.data(&plan_text(&left, &options))?;
    }
    look::interruptible(allowed::to_do(session, &cluster, &left)).await??;
    options.verbose = true;
    let Some(consent) = change::consent(session, flags.yes, &plan_text(&left, &options))? else {
        if session.format != OutputFormat::Text {
            print(session, &FixReport::new(&left, Exit::Declined.word()))?;
        }
        change::declined(session);
        return Ok(Exit::Declined);
    };
    look::before_a_change(session, &cluster).await?;
    let (journal, recorded) = reopen(&run)?;
    let plan = &recorded.plan;
    let pods = flags.pods.open(session, &cluster, plan.id.clone(), Op::Repair, "resume").await;
    let work = Work::GoOn(&recorded);
    let outcome = change::carry_out(session, &cluster, &pods, journal, work, consent).await?;
    if !is_a_repair(plan) {
        return judge_by_steps(session, plan, outcome);
    }
    let own = nodes_of(plan);
    let change = ChangeFlags { yes: flags.yes, dry_run: DryRun::None };
    let request = Request {
        only: &[],
        nodes: own.as_ref(),
        hosts: None,
        change,
        pods: &flags.pods,
        verb: "resume",
        nothing: "There is nothing to repair.",
        stuck: Stuck::Left,
        other_modes: None,
    };
    let again = Again { nodes: BTreeSet::new(), pods: &flags.pods, verb: "resume" };
    finish(session, &cluster, plan, outcome, &request, &again).await
}

/// Whether the plan was to make nodes healthy. Others take things away: a node without Calico is what they want, and `check`
/// would find fault with it.
fn is_a_repair(plan: &Plan) -> bool {
    let verb = plan.made_by.split_once(' ').map_or("fix", |(_, verb)| verb);
    ["fix", "node", "sandboxes"].contains(&verb)
}

/// Each step was verified by itself; nothing else is judged.
fn judge_by_steps(session: &Session, plan: &Plan, outcome: Outcome) -> Result<Exit, Failure> {
    let exit = exit_of(outcome.result);
    let mut report = FixReport::new(plan, exit.word());
    report.undo = change::undo_command(session, plan)?;
    if session.format != OutputFormat::Text {
        report.outcome = Some(outcome);
        print(session, &report)?;
        return Ok(exit);
    }
    session.printer.data(&outcome_text(&outcome, &session.text_options()))?;
    if let Some(command) = &report.undo {
        session.printer.data(&format!("undo: {command}\n"))?;
    }
    Ok(exit)
}

/// The nodes that were named when the plan was made; none for a plan about the cluster. Such a run judges only them.
fn nodes_of(plan: &Plan) -> Option<BTreeSet<String>> {
    let is_of_nodes = plan.made_by.starts_with("kubectl-calico-purge/");
    is_of_nodes.then(|| plan.steps.iter().filter_map(|step| step.node.clone()).collect())
}

/// The plan without the steps that are done.
fn left_of(run: &Run) -> Plan {
    let recorded = &run.recorded;
    let mut plan = recorded.plan.clone();
    plan.steps.retain(|step| {
        !matches!(recorded.state(&step.id), StepState::Done | StepState::Skipped { .. })
    });
    plan
}

/// A sentence when nothing of the run is left to do; a refusal when it must not go on.
fn over(session: &Session, run: &Run) -> Result<Option<String>, Failure> {
    let id = run.id();
    match run.state() {
        RunState::Ended(RunResult::Done) => {
            Ok(Some(format!("Run {id} ended well; there is nothing to go on with.")))
        }
        RunState::Superseded => {
            Ok(Some(format!("Run {id} was cut off, and a later run did what was left.")))
        }
        RunState::Undone | RunState::PartlyUndone => Err(Failure::new(
            Kind::Refused,
            format!("run {id} was taken back, wholly or in part: it cannot go on"),
        )
        .hint(format!("plan anew: {} fix", session.program))),
        RunState::Running | RunState::CutOff | RunState::Ended(_) => Ok(None),
    }
}
