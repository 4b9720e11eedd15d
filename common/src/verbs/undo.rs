//! `undo`: takes back what an earlier run did to nodes, the newest step first.

use crate::cli::{Exit, Failure, Kind, OutputFormat};
use crate::cluster::Cluster;
use crate::execute::Journal;
use crate::execute::journal::{ReopenError, Run, RunState};
use crate::node::pod::Op;
use crate::plan::{Outcome, RunResult, StepState, Undo};
use crate::report::{self, UndoReport, json, outcome as outcome_text, yaml};
use clap::Args;
use serde_json::Value;

use super::Session;
use super::change::{self, Work};
use super::node_flags::PodFlags;
use super::role::RoleFlags;
use super::{allowed, earlier, look};

/// Which run, and how to take it back.
#[derive(Args, Clone, Debug)]
pub struct UndoFlags {
    /// The run: its id, the beginning of its id, or "last"
    #[arg(value_name = "RUN", required_unless_present = "print_rbac")]
    run: Option<String>,
    /// Take it back without asking
    #[arg(short = 'y', long)]
    yes: bool,
    /// Print what would be taken back, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pods: PodFlags,
    #[command(flatten)]
    role: RoleFlags,
}

/// Takes it back. `rules` are what that takes of the API server for the runs of this plugin.
///
/// # Errors
/// When there is no such run, it goes on at this moment, or the cluster cannot be asked.
pub async fn run(
    session: &Session,
    flags: &UndoFlags,
    rules: fn() -> Vec<Value>,
) -> Result<Exit, Failure> {
    if flags.role.print(session, "undo", rules)? {
        return Ok(Exit::Good);
    }
    let word = flags.run.as_deref().unwrap_or_default();
    let cluster = look::connect(session).await?;
    let run = look::interruptible(earlier::find(session, &cluster, word)).await??;
    let plan = &run.recorded.plan;
    let mut report = UndoReport::new(plan, &run.recorded.undoable(), "planned");
    if report.steps.is_empty() {
        report.verdict = Exit::Good.word();
        report.note = Some(nothing(&run));
        print(session, &run, &report)?;
        return Ok(Exit::Good);
    }
    if flags.dry_run {
        print(session, &run, &report)?;
        return Ok(Exit::Good);
    }
    let text = report::undo(plan, &report, &session.text_options());
    if session.format == OutputFormat::Text {
        session.printer.data(&text)?;
    }
    let steps = run.recorded.undoable();
    look::interruptible(allowed::to_take_back(session, &cluster, &steps)).await??;
    let Some(consent) = change::consent(session, flags.yes, &text)? else {
        if session.format != OutputFormat::Text {
            report.verdict = Exit::Declined.word();
            print(session, &run, &report)?;
        }
        change::declined(session);
        return Ok(Exit::Declined);
    };
    let (journal, recorded) = reopen(&run)?;
    let pods = flags.pods.open(session, &cluster, plan.id.clone(), Op::Repair, "undo").await;
    let work = Work::TakeBack(&recorded);
    let outcome = change::carry_out(session, &cluster, &pods, journal, work, consent).await?;
    finish(session, &cluster, &run, report, outcome)
}

/// Goes on with the run's journal.
pub fn reopen(run: &Run) -> Result<(Journal, crate::execute::journal::Recorded), Failure> {
    Journal::reopen(&run.path).map_err(|error| {
        let kind = match error {
            ReopenError::Running(_) => Kind::Refused,
            ReopenError::Read(_) | ReopenError::Journal(_) => Kind::Internal,
        };
        Failure::new(kind, error)
    })
}

/// Why there is nothing to take back.
fn nothing(run: &Run) -> String {
    let id = run.id();
    if matches!(run.state(), RunState::Undone | RunState::PartlyUndone) {
        return format!("Run {id} was taken back already.");
    }
    let recorded = &run.recorded;
    let impossible = recorded.plan.steps.iter().find_map(|step| match &step.undo {
        Undo::Impossible { why } if matches!(recorded.state(&step.id), StepState::Done) => {
            Some(format!("{}: {why}", step.title))
        }
        _ => None,
    });
    match impossible {
        Some(why) => format!("Nothing of run {id} can be taken back. {why}."),
        None => format!("Run {id} has nothing to take back."),
    }
}

fn finish(
    session: &Session,
    _cluster: &Cluster,
    run: &Run,
    mut report: UndoReport,
    outcome: Outcome,
) -> Result<Exit, Failure> {
    let exit = exit_of(outcome.result);
    report.verdict = exit.word();
    report.outcome = Some(outcome);
    if session.format != OutputFormat::Text {
        print(session, run, &report)?;
        return Ok(exit);
    }
    if let Some(outcome) = &report.outcome {
        session.printer.data(&outcome_text(outcome, &session.text_options()))?;
    }
    Ok(exit)
}

/// The exit code of what was done.
pub fn exit_of(result: RunResult) -> Exit {
    match result {
        RunResult::Done => Exit::Good,
        RunResult::Failed => Exit::Error,
        RunResult::Refused => Exit::Declined,
        RunResult::Interrupted => Exit::Interrupted,
    }
}

fn print(session: &Session, run: &Run, report: &UndoReport) -> Result<(), Failure> {
    let document = match session.format {
        OutputFormat::Json => json(report),
        OutputFormat::Yaml => yaml(report),
        OutputFormat::Text => match &report.note {
            Some(note) => format!("{note}\n"),
            None => report::undo(&run.recorded.plan, report, &session.text_options()),
        },
    };
    session.printer.data(&document)
}
