//! `resume`: does what is left of an earlier run's plan. Owners are looked at again, whenever that run was.

use clap::Args;
use common::cli::{Exit, Failure, Kind, OutputFormat};
use common::execute::journal::{Run, RunState};
use common::node::pod::Op;
use common::plan::{Plan, RunResult, StepState};
use common::report::plan as plan_text;
use common::report::v1::FixReport;
use common::verbs::change::{self, Work};
use common::verbs::node_flags::PodFlags;
use common::verbs::repair::{self, ChangeFlags, DryRun};
use common::verbs::role::RoleFlags;
use common::verbs::undo::reopen;
use common::verbs::{Session, allowed, earlier, look, rbac};

use super::change::ended;

/// Which run to go on with.
#[derive(Args, Clone, Debug)]
pub(crate) struct ResumeFlags {
    /// The run: its id, the beginning of its id, or "last"
    #[arg(value_name = "RUN", required_unless_present = "print_rbac")]
    run: Option<String>,
    #[command(flatten)]
    change: ChangeFlags,
    #[command(flatten)]
    role: RoleFlags,
}

pub(crate) async fn run(session: &Session, flags: &ResumeFlags) -> Result<Exit, Failure> {
    if flags.role.print(session, "resume", rbac::change_addresses)? {
        return Ok(Exit::Good);
    }
    let word = flags.run.as_deref().unwrap_or_default();
    let cluster = look::connect(session).await?;
    let run = look::interruptible(earlier::find(session, &cluster, word)).await??;
    let made_by = &run.recorded.plan.made_by;
    let of_whom = made_by.split('/').next().unwrap_or(made_by);
    if of_whom != session.plugin {
        let what = format!("run {} is one of {of_whom}", run.id());
        return Err(Failure::new(Kind::Refused, what).hint("go on with it by that plugin"));
    }
    let left = left_of(&run);
    match run.state() {
        RunState::Ended(RunResult::Done) | RunState::Superseded => {
            let mut report = FixReport::new(&left, Exit::Good.word());
            let id = run.id();
            report.note = Some(format!("run {id} is done: there is nothing to go on with.\n"));
            repair::print(session, &report)?;
            return Ok(Exit::Good);
        }
        RunState::Undone | RunState::PartlyUndone => {
            let what =
                format!("run {} was taken back, wholly or in part: it cannot go on", run.id());
            let hint = format!("plan anew: {} gc", session.program);
            return Err(Failure::new(Kind::Refused, what).hint(hint));
        }
        RunState::Running | RunState::CutOff | RunState::Ended(_) => {}
    }
    if flags.change.dry_run != DryRun::None {
        return repair::rehearse_or_show(session, &cluster, &left, flags.change.dry_run).await;
    }
    let text = plan_text(&left, &session.text_options());
    if session.format == OutputFormat::Text {
        session.printer.data(&text)?;
    }
    look::interruptible(allowed::to_do(session, &cluster, &left)).await??;
    let Some(consent) = change::consent(session, flags.change.yes, &text)? else {
        if session.format != OutputFormat::Text {
            repair::print(session, &FixReport::new(&left, Exit::Declined.word()))?;
        }
        change::declined(session);
        return Ok(Exit::Declined);
    };
    let (journal, recorded) = reopen(&run)?;
    let id = recorded.plan.id.clone();
    let pods = PodFlags::default().open(session, &cluster, id, Op::Repair, "resume").await;
    let work = Work::GoOn(&recorded);
    let outcome = change::carry_out(session, &cluster, &pods, journal, work, consent).await?;
    ended(session, &recorded.plan, outcome)
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
