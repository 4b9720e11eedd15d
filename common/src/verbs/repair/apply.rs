//! From consent to the second look: carries a plan out.

use crate::cli::{Exit, Failure, OutputFormat};
use crate::cluster::Cluster;
use crate::node::pod::NodePods;
use crate::plan::{Outcome, Plan, RunResult};
use crate::report::outcome as outcome_text;
use crate::report::v1::FixReport;

use super::{Again, Request, other_modes, print, remaining};
use crate::verbs::Session;
use crate::verbs::change;
use crate::verbs::undo::exit_of;

/// Asks for consent, carries the plan out, and looks again.
pub(super) async fn apply(
    session: &Session,
    cluster: &Cluster,
    pods: &NodePods,
    plan: &Plan,
    request: &Request<'_>,
    again: &Again<'_>,
) -> Result<Exit, Failure> {
    let Some(outcome) = change::apply(session, cluster, pods, plan, request.change.yes).await?
    else {
        if session.format != OutputFormat::Text {
            print(session, &FixReport::new(plan, Exit::Declined.word()))?;
        }
        return Ok(Exit::Declined);
    };
    finish(session, cluster, plan, outcome, request, again).await
}

/// Looks again, and says what was done and what is left.
///
/// # Errors
/// When the cluster cannot be asked again, or stdout cannot be written.
pub async fn finish(
    session: &Session,
    cluster: &Cluster,
    plan: &Plan,
    outcome: Outcome,
    request: &Request<'_>,
    again: &Again<'_>,
) -> Result<Exit, Failure> {
    let mut exit = exit_of(outcome.result);
    let after = if outcome.result == RunResult::Interrupted {
        None
    } else {
        Some(request.limit(again.look(session, cluster, plan).await?))
    };
    if let Some(after) = &after {
        exit = exit.or(remaining(after, request, plan));
        exit = exit.or(other_modes::again(session, cluster, request, after, plan).await?);
    }
    let mut report = FixReport::new(plan, exit.word());
    report.after = after.as_ref().map(|look| look.report(exit));
    report.outcome = Some(outcome);
    report.undo = change::undo_command(session, plan)?;
    let hint = after.as_ref().filter(|_| exit != Exit::Good);
    let hint = hint.and_then(|after| request.stuck.hint(&after.diagnosis));
    report.note.clone_from(&hint);
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
    if let Some(hint) = hint {
        session.printer.talk(&format!("hint: {hint}"));
    }
    Ok(exit)
}
