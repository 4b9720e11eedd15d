//! From consent to the second look: carries a plan out.

use common::cli::{Exit, Failure, OutputFormat};
use common::cluster::Cluster;
use common::execute::{Journal, journal};
use common::findings::Code;
use common::node::pod::NodePods;
use common::plan::{Outcome, Plan, RunResult};
use common::report::v1::FixReport;
use common::report::{TextOptions, outcome as outcome_text, plan as plan_text};

use super::settle::{close, unfinished_runs};
use super::{Again, print, remaining};
use crate::Session;
use crate::commands::change::{self, Work, consent, declined, internal};
use crate::commands::undo::exit_of;

/// Asks for consent, carries the plan out, and looks again.
pub(super) async fn apply(
    session: &Session,
    cluster: &Cluster,
    pods: &NodePods,
    plan: &Plan,
    yes: bool,
    only: &[Code],
    again: &Again<'_>,
) -> Result<Exit, Failure> {
    let text = session.format == OutputFormat::Text;
    if text {
        session.printer.data(&plan_text(plan, &session.text_options()))?;
    }
    let options = TextOptions { verbose: true, ..session.text_options() };
    let Some(consent) = consent(session, yes, &plan_text(plan, &options))? else {
        if !text {
            print(session, &FixReport::new(plan, Exit::Declined.word()))?;
        }
        declined(session);
        return Ok(Exit::Declined);
    };
    let unfinished = unfinished_runs(session, plan)?;
    let directory = journal::directory().map_err(internal)?;
    let journal = Journal::create(&directory, plan, jiff::Timestamp::now()).map_err(internal)?;
    let work = Work::Run(plan);
    let outcome = change::carry_out(session, cluster, pods, journal, work, consent).await?;
    if outcome.result == RunResult::Done {
        close(session, &unfinished, plan);
    }
    finish(session, cluster, plan, outcome, only, again).await
}

/// Looks again, and says what was done and what is left.
pub(crate) async fn finish(
    session: &Session,
    cluster: &Cluster,
    plan: &Plan,
    outcome: Outcome,
    only: &[Code],
    again: &Again<'_>,
) -> Result<Exit, Failure> {
    let mut exit = exit_of(outcome.result);
    let after = if outcome.result == RunResult::Interrupted {
        None
    } else {
        Some(again.look(session, cluster, plan).await?)
    };
    if let Some(after) = &after {
        exit = exit.or(remaining(after, only));
    }
    let mut report = FixReport::new(plan, exit.word());
    report.after = after.as_ref().map(|look| look.report(exit));
    report.outcome = Some(outcome);
    report.undo = undo_command(session, plan)?;
    if session.format != OutputFormat::Text {
        print(session, &report)?;
        return Ok(exit);
    }
    if let Some(outcome) = &report.outcome {
        session.printer.data(&outcome_text(outcome, &session.text_options()))?;
    }
    if let Some(command) = &report.undo {
        session.printer.data(&format!("undo: {command}\n"))?;
    }
    if let Some(after) = after {
        session.printer.data("\n")?;
        after.print(session, exit)?;
    }
    Ok(exit)
}

/// The command that takes the run back, when something of it can be.
fn undo_command(session: &Session, plan: &Plan) -> Result<Option<String>, Failure> {
    let directory = journal::directory().map_err(internal)?;
    let uid = &plan.target.cluster_uid;
    let run = journal::find(&directory, uid, &plan.id.0).map_err(internal)?;
    let can = !run.recorded.undoable().is_empty();
    Ok(can.then(|| format!("{} undo {}", session.program, plan.id)))
}
