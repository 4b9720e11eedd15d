//! From consent to the second look: carries a plan out.

use std::io::{self, IsTerminal};

use common::cli::{Exit, Failure, Kind, OutputFormat, interrupted};
use common::cluster::Cluster;
use common::execute::lease::Tenure;
use common::execute::{
    Activity, ClusterOperations, Consent, Executor, Journal, Progress, Reporter, StopSwitch,
    SystemClock, Terminal, journal,
};
use common::findings::Code;
use common::plan::{Outcome, Plan, RunResult};
use common::report::v1::FixReport;
use common::report::{outcome as outcome_text, plan as plan_text};

use super::settle::{close, unfinished_runs};
use super::{print, remaining};
use crate::Session;
use crate::commands::look;

/// Asks for consent, carries the plan out, and looks again.
pub(super) async fn apply(
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
        loop {
            interrupted().await;
            switch.stop();
        }
    });
    let mut reporter = Lines { session };
    let operations = ClusterOperations::new(cluster);
    let executor = Executor {
        operations: &operations,
        clock: &SystemClock::default(),
        journal: &mut journal,
        tenure: &Tenure::unlimited(),
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
