//! `resume`: goes on with a run that was cut off, in the direction that it had.

use clap::Args;
use common::cli::{Exit, Failure, OutputFormat};
use common::execute::journal::{Run, RunState};
use common::node::pod::Op;
use common::plan::{Plan, RunResult, StepState};
use common::report::plan as plan_text;
use common::verbs::change::{self, Manner, Work};
use common::verbs::repair::DryRun;
use common::verbs::undo::reopen;
use common::verbs::{Session, allowed, look};

use super::beginning::RunFlags;
use super::enable::PATIENCE;
use super::{back, finish, ground};
use crate::roles;

/// Which run to go on with.
#[derive(Args, Clone, Debug)]
pub(crate) struct ResumeFlags {
    /// The run: its id, the beginning of its id, or "last"
    #[arg(value_name = "RUN", default_value = "last")]
    run: String,
    /// Leave things as they are when a step fails, instead of taking all of it back
    #[arg(long)]
    no_rollback: bool,
    #[command(flatten)]
    flags: RunFlags,
}

pub(crate) async fn run(session: &Session, flags: &ResumeFlags) -> Result<Exit, Failure> {
    if flags.flags.role.print(session, "resume", roles::enable)? {
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    ground::adopt_runs(session, &cluster).await?;
    let run = ground::run_of_ours(session, &cluster, &flags.run).await?;
    let left = left_of(&run);
    match run.state() {
        RunState::Ended(RunResult::Done) | RunState::Undone | RunState::Superseded => {
            let note = format!(
                "Run {} is {}: there is nothing to go on with.",
                run.id(),
                run.state().word()
            );
            return finish::nothing(session, &cluster, &left, &note).await;
        }
        // It was on its way back.
        RunState::PartlyUndone => {
            return back::take_back(session, &cluster, &[run], &flags.flags).await;
        }
        RunState::Running | RunState::CutOff | RunState::Ended(_) => {}
    }
    if flags.flags.change.dry_run != DryRun::None {
        return finish::dry_run(session, &cluster, &left, flags.flags.change.dry_run).await;
    }
    if session.format == OutputFormat::Text {
        session.printer.data(&plan_text(&left, &session.text_options()))?;
    }
    look::interruptible(allowed::to_do(session, &cluster, &left)).await??;
    let Some(consent) = change::consent(
        session,
        flags.flags.change.yes,
        &plan_text(&left, &session.text_options()),
    )?
    else {
        return finish::declined(session, &left);
    };
    let (journal, recorded) = reopen(&run)?;
    let id = recorded.plan.id.clone();
    let pods = flags.flags.pods.open(session, &cluster, id, Op::Repair, "resume").await;
    let is_there = |verb| recorded.plan.made_by.ends_with(verb);
    let take_back = !flags.no_rollback && (is_there(" enable") || is_there(" kube-proxy off"));
    let work = (Work::GoOn(&recorded), Manner { take_back, patience: PATIENCE, mirrored: true });
    let ended = change::carry_out_so(session, &cluster, &pods, journal, work, consent).await?;
    finish::ended(session, &recorded.plan, ended)
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
