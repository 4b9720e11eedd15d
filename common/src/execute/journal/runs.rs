//! The journals of earlier runs: which of them were cut off.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::reader::{read, sound_length};
use super::{Entry, JournalError, append};
use crate::plan::{Plan, PlanId, StepState};

/// A run whose journal has no end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedRun {
    /// Its plan.
    pub plan: PlanId,
    /// Program, version and verb that made it.
    pub made_by: String,
    /// Its journal.
    pub path: PathBuf,
    /// When the cluster was looked at for it.
    pub taken: Timestamp,
    /// Steps that are done or were not needed.
    pub finished: usize,
    /// Steps in all.
    pub steps: usize,
    /// Titles of the steps that may have acted and were not verified.
    pub in_doubt: Vec<String>,
    /// True while its process is alive: it was not cut off, it goes on.
    pub running: bool,
}

impl UnfinishedRun {
    /// True when a plan is for the same work, so that it takes this run's place once it is done: the same verb of the same
    /// program, whatever its version. A flood of pods that was removed says nothing of a node that was half cleared.
    pub fn is_same_work(&self, plan: &Plan) -> bool {
        fn work(made_by: &str) -> (&str, &str) {
            let (program, verb) = made_by.split_once(' ').unwrap_or((made_by, "fix"));
            (program.split_once('/').map_or(program, |(name, _)| name), verb)
        }
        work(&self.made_by) == work(&plan.made_by)
    }
}

/// Runs on the cluster with this uid that did not end by themselves, oldest first. No directory, no runs. A journal
/// that makes no sense is passed over with a warning in the log.
pub fn unfinished_runs(directory: &Path, cluster_uid: &str) -> io::Result<Vec<UnfinishedRun>> {
    let mut runs = Vec::new();
    for path in journals(directory)? {
        match unfinished(&path, cluster_uid) {
            Ok(run) => runs.extend(run),
            Err(error) => tracing::warn!("{error}"),
        }
    }
    runs.sort_by(|a: &UnfinishedRun, b| a.plan.cmp(&b.plan));
    Ok(runs)
}

/// The journals in `directory`, sorted: their names sort by time. No directory, no journals.
pub(super) fn journals(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in listing {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "jsonl") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn unfinished(
    path: &Path,
    cluster_uid: &str,
) -> Result<Option<UnfinishedRun>, super::reader::ReadError> {
    let recorded = match read(path) {
        // Cut off before the plan was on disk: nothing was done.
        Err(super::reader::ReadError::NoPlan { .. }) => return Ok(None),
        other => other?,
    };
    if recorded.is_over() || recorded.plan.target.cluster_uid != cluster_uid {
        return Ok(None);
    }
    let finished = |state: &&StepState| {
        matches!(state, StepState::Done | StepState::Skipped { .. } | StepState::Undone)
    };
    let in_doubt = |id| recorded.states.get(id) == Some(&StepState::Started);
    let steps = &recorded.plan.steps;
    Ok(Some(UnfinishedRun {
        plan: recorded.plan.id.clone(),
        made_by: recorded.plan.made_by.clone(),
        path: path.to_owned(),
        taken: recorded.plan.taken,
        finished: recorded.states.values().filter(finished).count(),
        steps: steps.len(),
        in_doubt: steps.iter().filter(|it| in_doubt(&it.id)).map(|it| it.title.clone()).collect(),
        running: recorded.running,
    }))
}

/// Notes in a journal that was cut off that the run `by` did what was left, so that it is not mentioned again. The
/// caller knows that nothing is left: a run of the whole cluster ended well. A run that goes on is left alone.
pub fn supersede(run: &UnfinishedRun, by: &PlanId, now: Timestamp) -> Result<(), JournalError> {
    if run.running {
        return Ok(());
    }
    let path = &run.path;
    let mut file =
        OpenOptions::new().append(true).open(path).map_err(JournalError::io("open", path))?;
    cut_torn_line(&file, path)?;
    append(&mut file, &Entry::Superseded { at: now, by: by.clone() })
        .map_err(JournalError::io("write journal", path))
}

/// A torn last line would make nonsense of the one that follows.
pub(super) fn cut_torn_line(file: &File, path: &Path) -> Result<(), JournalError> {
    let bytes = fs::read(path).map_err(JournalError::io("read", path))?;
    let sound = u64::try_from(sound_length(&bytes)).unwrap_or(u64::MAX);
    file.set_len(sound).map_err(JournalError::io("shorten", path))
}
