//! `runs`: what this machine remembers of earlier runs on the cluster.

use crate::cli::{Exit, Failure, OutputFormat};
use crate::execute::journal::{self, Run};
use crate::plan::StepState;
use crate::report::{self, RunEntry, RunList, json, yaml};

use super::Session;
use super::change::internal;
use super::{earlier, look};

/// Lists them.
///
/// # Errors
/// When the cluster or the journals cannot be read.
pub async fn run(session: &Session) -> Result<Exit, Failure> {
    let cluster = look::connect(session).await?;
    let uid = look::interruptible(earlier::cluster_uid(&cluster)).await??;
    let directory = journal::directory().map_err(internal)?;
    let runs = journal::known_runs(&directory, &uid)?;
    let list = RunList::new(runs.iter().map(entry).collect());
    let document = match session.format {
        OutputFormat::Json => json(&list),
        OutputFormat::Yaml => yaml(&list),
        OutputFormat::Text if list.runs.is_empty() => {
            session.printer.talk("No run on this cluster is remembered on this machine.");
            String::new()
        }
        OutputFormat::Text => report::runs(&list),
    };
    session.printer.data(&document)?;
    Ok(Exit::Good)
}

fn entry(run: &Run) -> RunEntry {
    let recorded = &run.recorded;
    let finished = |state: &&StepState| {
        matches!(state, StepState::Done | StepState::Skipped { .. } | StepState::Undone)
    };
    RunEntry {
        id: run.id().to_string(),
        began: recorded.began,
        made_by: recorded.plan.made_by.clone(),
        state: run.state().word(),
        steps: recorded.plan.steps.len(),
        finished: recorded.states.values().filter(finished).count(),
        undoable: recorded.undoable().len(),
    }
}
