//! The journal of a run: one JSON line per change, on disk before the change it announces.
//!
//! The first line is the whole plan, so that the file alone tells what was meant. Every line is forced to disk before
//! the executor goes on: after a crash the journal may announce what was not done, but never lacks what was.

mod find;
mod reader;
mod reopen;
mod runs;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::{Plan, PlanId, RunResult, StepId, StepState};

pub use find::{FindError, Run, RunState, find, is_dead, known_runs};
pub use reader::{ReadError, Recorded, read};
pub use reopen::ReopenError;
pub use runs::{UnfinishedRun, supersede, unfinished_runs};

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "entry")]
pub enum Entry {
    /// The first line: what is going to be done.
    #[serde(rename_all = "camelCase")]
    Plan {
        /// `apiVersion` of the wire types.
        api_version: String,
        /// When the run began.
        at: Timestamp,
        /// The plan.
        plan: Box<Plan>,
    },
    /// A step's state changed.
    Step {
        /// When.
        at: Timestamp,
        /// The step.
        step: StepId,
        /// Its new state.
        #[serde(flatten)]
        state: StepState,
    },
    /// The run ended by itself.
    End {
        /// When.
        at: Timestamp,
        /// How.
        result: RunResult,
    },
    /// The bytes that a step is about to write have this hash: so a later look can tell our file from another.
    Content {
        /// When.
        at: Timestamp,
        /// The step.
        step: StepId,
        /// SHA-256, in hex.
        sha256: String,
    },
    /// The step was refused before it changed anything: there is nothing of it to take back.
    Untouched {
        /// When.
        at: Timestamp,
        /// The step.
        step: StepId,
    },
    /// The run had ended or was cut off, and goes on.
    Resumed {
        /// When.
        at: Timestamp,
    },
    /// A step is about to be taken back.
    Undoing {
        /// When.
        at: Timestamp,
        /// The step.
        step: StepId,
    },
    /// What could be taken back was, or not.
    UndoEnd {
        /// When.
        at: Timestamp,
        /// How it went.
        result: RunResult,
    },
    /// The run was cut off, and a later one did what was left.
    Superseded {
        /// When that one ended.
        at: Timestamp,
        /// That one.
        by: PlanId,
    },
}

/// A journal could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is no place for it.
    #[error(
        "no directory for the journal: neither a state nor a data directory of the user is known"
    )]
    NoDirectory,
    /// The plan's id cannot be a file's name.
    #[error("plan id {0:?} is not made of letters and digits")]
    Id(String),
    /// The disk refused.
    #[error("cannot {attempt} {path}")]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl JournalError {
    fn io(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { attempt, path, source }
    }
}

/// Where journals are kept: the user's state directory, else the local data directory.
pub fn directory() -> Result<PathBuf, JournalError> {
    dirs::state_dir()
        .or_else(dirs::data_local_dir)
        .map(|base| base.join("kubectl-calico").join("runs"))
        .ok_or(JournalError::NoDirectory)
}

/// An open journal. While it is open its file is locked, which tells a run that goes on from one that was cut off.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Creates `<directory>/<plan id>.jsonl` (0600, in a directory of 0700) with the plan as its first line.
    pub fn create(directory: &Path, plan: &Plan, now: Timestamp) -> Result<Self, JournalError> {
        let id = &plan.id.0;
        if id.is_empty() || !id.chars().all(|it| it.is_ascii_alphanumeric()) {
            return Err(JournalError::Id(id.clone()));
        }
        make_private(directory).map_err(JournalError::io("create directory", directory))?;
        let path = directory.join(format!("{id}.jsonl"));
        let file = create_private(&path).map_err(JournalError::io("create", &path))?;
        lock(&file);
        let mut journal = Self { file, path };
        journal.write(&Entry::Plan {
            api_version: crate::report::v1::API_VERSION.to_owned(),
            at: now,
            plan: Box::new(plan.clone()),
        })?;
        sync_directory(directory).map_err(JournalError::io("sync directory", directory))?;
        Ok(journal)
    }

    /// Removes the journal of a run that did nothing, because it was not let.
    pub fn discard(self) -> Result<(), JournalError> {
        fs::remove_file(&self.path).map_err(JournalError::io("remove", &self.path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one line; returns when it is on disk.
    pub fn write(&mut self, entry: &Entry) -> Result<(), JournalError> {
        append(&mut self.file, entry).map_err(JournalError::io("write journal", &self.path))
    }
}

/// Writes a journal that was kept elsewhere, whole or not at all.
///
/// # Errors
/// When the disk refuses.
pub(super) fn adopt(path: &Path, text: &[u8]) -> Result<(), JournalError> {
    if let Some(directory) = path.parent() {
        make_private(directory).map_err(JournalError::io("create directory", directory))?;
    }
    let partial = path.with_extension("partial");
    // What a killed attempt left.
    drop(fs::remove_file(&partial));
    let mut file = create_private(&partial).map_err(JournalError::io("create", &partial))?;
    let written = file.write_all(text).and_then(|()| file.sync_all());
    written.map_err(JournalError::io("write journal", &partial))?;
    fs::rename(&partial, path).map_err(JournalError::io("create", path))
}

/// Longest time that somebody who only reads a journal keeps it locked.
const READING: Duration = Duration::from_secs(2);

/// Locks a journal for its run; false when another process runs it. A file system without locks costs only the
/// difference between a run that goes on and one that was cut off.
fn lock(file: &File) -> bool {
    let began = Instant::now();
    while matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        if began.elapsed() > READING {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

fn append(file: &mut File, entry: &Entry) -> io::Result<()> {
    let mut line = serde_json::to_vec(entry).map_err(io::Error::other)?;
    line.push(b'\n');
    // One write, so that a crash tears at most the last line.
    file.write_all(&line)?;
    file.sync_data()
}

#[cfg(unix)]
fn make_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // A directory that an older umask left open is closed, too.
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn make_private(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)
}

fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Elsewhere a directory cannot be opened as a file, and its entries are kept with the file's own data.
#[cfg(not(unix))]
fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod find_tests;
#[cfg(test)]
mod tests;
