//! The runs that this machine remembers, and the one that a person means.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::reader::{ReadError, Recorded, read};
use super::runs::journals;
use crate::plan::{PlanId, RunResult, StepState};

/// A run that has a journal here.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its journal.
    pub path: PathBuf,
    /// What that tells.
    pub recorded: Recorded,
}

/// What became of a run as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Its process is alive.
    Running,
    /// It ended by itself.
    Ended(RunResult),
    /// Its process died.
    CutOff,
    /// Its process died, and a later run did what was left.
    Superseded,
    /// All that could be taken back was.
    Undone,
    /// Some of it was taken back.
    PartlyUndone,
}

impl RunState {
    /// In a word or two: `cut off`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Ended(RunResult::Done) => "done",
            Self::Ended(RunResult::Failed) => "failed",
            Self::Ended(RunResult::Refused) => "refused",
            Self::Ended(RunResult::Interrupted) => "interrupted",
            Self::CutOff => "cut off",
            Self::Superseded => "superseded",
            Self::Undone => "undone",
            Self::PartlyUndone => "partly undone",
        }
    }
}

impl Run {
    /// Its id.
    pub fn id(&self) -> &PlanId {
        &self.recorded.plan.id
    }

    /// What became of it.
    pub fn state(&self) -> RunState {
        let it = &self.recorded;
        let is_undone = it.states.values().any(|state| *state == StepState::Undone);
        match (it.running, it.end) {
            (true, _) => RunState::Running,
            _ if it.is_undone() => RunState::Undone,
            _ if is_undone || it.undo.is_some() || it.undo_begun => RunState::PartlyUndone,
            _ if it.superseded => RunState::Superseded,
            (_, Some(end)) => RunState::Ended(end),
            _ => RunState::CutOff,
        }
    }
}

/// Why no run was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// No journal fits.
    #[error("there is no journal of run {0} on this machine")]
    None(String),
    /// Nothing was done on this cluster from here.
    #[error("there is no journal of any run on this cluster on this machine")]
    NoneAtAll,
    /// More than one fits.
    #[error("{word} may be any of {}", several(.candidates))]
    Several {
        /// What was asked for.
        word: String,
        /// Which fit.
        candidates: Vec<PlanId>,
    },
    /// The directory cannot be read.
    #[error("cannot read directory {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

fn several(candidates: &[PlanId]) -> String {
    candidates.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The runs on the cluster with this uid, oldest first. A journal that makes no sense is passed over with a warning in
/// the log.
pub fn known_runs(directory: &Path, cluster_uid: &str) -> io::Result<Vec<Run>> {
    let mut runs = Vec::new();
    for path in journals(directory)? {
        match read(&path) {
            Ok(recorded) if recorded.plan.target.cluster_uid == cluster_uid => {
                runs.push(Run { path, recorded });
            }
            // Cut off before the plan was on disk: nothing was done.
            Ok(_) | Err(ReadError::NoPlan { .. }) => {}
            Err(error) => tracing::warn!("{error}"),
        }
    }
    Ok(runs)
}

/// The run that `word` means: its id, the beginning of it, or `last` for the newest on the cluster with this uid. A run on
/// another cluster is found, too: the caller says that it is one.
pub fn find(directory: &Path, cluster_uid: &str, word: &str) -> Result<Run, FindError> {
    let io = |source| FindError::Io { path: directory.to_owned(), source };
    if word == "last" {
        let last = known_runs(directory, cluster_uid).map_err(io)?.pop();
        return last.ok_or(FindError::NoneAtAll);
    }
    let wanted = word.to_ascii_uppercase();
    let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let fits = |path: &PathBuf| !wanted.is_empty() && name(path).starts_with(&wanted);
    let mut found: Vec<PathBuf> = journals(directory).map_err(io)?;
    found.retain(fits);
    match found.as_slice() {
        [] => Err(FindError::None(word.to_owned())),
        [path] => Ok(Run { path: path.clone(), recorded: read(path)? }),
        several => Err(FindError::Several {
            word: word.to_owned(),
            candidates: several.iter().map(|path| PlanId(name(path))).collect(),
        }),
    }
}

/// True when the run has a journal here that no process keeps open any more.
pub fn is_dead(directory: &Path, run: &PlanId) -> bool {
    // The id comes from the cluster: it must not lead out of the directory.
    if !run.0.chars().all(|it| it.is_ascii_alphanumeric()) {
        return false;
    }
    let journal = File::open(directory.join(format!("{run}.jsonl")));
    // Where files cannot be locked nothing is known of their processes.
    journal.is_ok_and(|file| file.try_lock_shared().is_ok())
}
