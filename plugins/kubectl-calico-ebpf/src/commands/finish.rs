//! How runs end: what is said, and the exit code.

use common::cli::{Exit, Failure, OutputFormat};
use common::cluster::Cluster;
use common::execute::{find_ours, mirror};
use common::plan::{Outcome, Plan, RunResult, StepOutcome, StepState};
use common::report::v1::FixReport;
use common::report::{differences, outcome as outcome_text};
use common::verbs::Session;
use common::verbs::change::{self, Ended};
use common::verbs::repair::{self, DryRun};
use common::verbs::undo::exit_of;

/// There is nothing to do, but to remove what runs that died may have left.
pub(crate) async fn nothing(
    session: &Session,
    cluster: &Cluster,
    plan: &Plan,
    note: &str,
) -> Result<Exit, Failure> {
    tidy(session, cluster, plan).await;
    let mut report = FixReport::new(plan, Exit::Good.word());
    report.note = Some(note.to_owned());
    repair::print(session, &report)?;
    Ok(Exit::Good)
}

/// Removes what runs that died left in the cluster: a run that was killed after its last step is known by nothing else.
pub(crate) async fn tidy(session: &Session, cluster: &Cluster, plan: &Plan) {
    match find_ours(cluster, true).await {
        Ok(left) if left.is_empty() => {}
        Ok(_) => change::tidy(session, cluster, plan).await,
        Err(error) => session
            .printer
            .talk(&format!("warning: what an earlier run left could not be looked for: {error}")),
    }
    if let Err(error) = mirror::remove_over(cluster).await {
        session.printer.talk(&format!("warning: {error}"));
    }
}

/// There was no consent: the plan is all there is to print.
pub(crate) fn declined(session: &Session, plan: &Plan) -> Result<Exit, Failure> {
    if session.format != OutputFormat::Text {
        repair::print(session, &FixReport::new(plan, Exit::Declined.word()))?;
    }
    Ok(Exit::Declined)
}

/// The plan and what it would change in every object; with `server` what the API server says to it as well.
pub(crate) async fn dry_run(
    session: &Session,
    cluster: &Cluster,
    plan: &Plan,
    dry_run: DryRun,
) -> Result<Exit, Failure> {
    let exit = repair::rehearse_or_show(session, cluster, plan, dry_run).await?;
    if session.format == OutputFormat::Text {
        session.printer.data(&differences(plan, &session.text_options()))?;
    }
    Ok(exit)
}

/// The run ended, and may have been taken back.
pub(crate) fn ended(session: &Session, plan: &Plan, ended: Ended) -> Result<Exit, Failure> {
    let Ended { outcome, taken_back } = ended;
    let exit = exit_of(outcome.result);
    let note = note(session, plan, &outcome, taken_back.as_ref());
    let mut report = FixReport::new(plan, exit.word());
    if taken_back.is_none() {
        report.undo = rollback_command(session, plan)?;
    }
    report.note = note;
    if session.format != OutputFormat::Text {
        report.outcome = Some(outcome);
        report.taken_back = taken_back;
        repair::print(session, &report)?;
        return Ok(exit);
    }
    let options = session.text_options();
    session.printer.data(&outcome_text(&outcome, &options))?;
    if let Some(taken_back) = &taken_back {
        session.printer.data(&outcome_text(taken_back, &options))?;
    }
    if let Some(note) = &report.note {
        session.printer.data(&format!("{note}\n"))?;
    }
    if let Some(command) = &report.undo {
        session.printer.data(&format!("back: {command}\n"))?;
    }
    Ok(exit)
}

fn rollback_command(session: &Session, plan: &Plan) -> Result<Option<String>, Failure> {
    let undo = change::undo_command(session, plan)?;
    Ok(undo.map(|_| format!("{} rollback {}", session.program, plan.id)))
}

fn note(
    session: &Session,
    plan: &Plan,
    outcome: &Outcome,
    taken_back: Option<&Outcome>,
) -> Option<String> {
    let (program, run) = (&session.program, &plan.id);
    match (outcome.result, taken_back.map(|it| it.result)) {
        (RunResult::Done, _) => None,
        (RunResult::Interrupted, None) => Some(format!("Go on with it: {program} resume {run}")),
        (_, Some(RunResult::Done)) => {
            Some("All of it was taken back: the cluster is as it was.".to_owned())
        }
        (_, Some(_)) => Some(format!(
            "Taking it back did not succeed. {}, then: {program} rollback {run}",
            taken_back.and_then(obstacle).unwrap_or("Mend what is in the way")
        )),
        (_, None) => {
            let failed = outcome
                .steps
                .iter()
                .any(|it| it.id.0 != "proof-before" && it.state != StepState::Pending);
            let mend = obstacle(outcome).unwrap_or("Mend what is in the way");
            failed.then(|| {
                format!("{mend}, then: {program} resume {run} (or back: {program} rollback {run})")
            })
        }
    }
}

/// What to do about the best known of what makes steps fail.
pub(crate) fn obstacle(outcome: &Outcome) -> Option<&'static str> {
    let is_about = |text: &str| {
        let tells =
            |it: &StepOutcome| matches!(&it.state, StepState::Failed { why } if why.contains(text));
        outcome.steps.iter().any(tells)
    };
    if is_about("failed calling webhook") {
        return Some(
            "A webhook that must answer before that can be written does not. Have it answer, set its failurePolicy to Ignore, or delete it (kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations)",
        );
    }
    if is_about("changed since the diagnosis") {
        return Some(
            "Somebody else changed what the run had written, and that is not overwritten. Give it the value that is named above",
        );
    }
    is_about("the operator is Degraded").then_some(
        "The operator goes on once what it complains about is mended (kubectl get tigerastatus calico -o yaml)",
    )
}
