//! Reads a journal, also one that a crash cut short.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::Entry;
use crate::plan::{Plan, RunResult, StepId, StepState};

/// What a journal tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// What was to be done.
    pub plan: Plan,
    /// The last known state of every step that left `Pending`.
    pub states: BTreeMap<StepId, StepState>,
    /// How the run ended; none when it goes on or was cut off.
    pub end: Option<RunResult>,
    /// True when a later run did what was left.
    pub superseded: bool,
    /// True while its process keeps it open.
    pub running: bool,
}

/// A journal could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk refused.
    #[error("cannot read journal {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not even the plan is there: nothing was done before it was.
    #[error("journal {path} holds no plan: its run was cut off before it began")]
    NoPlan {
        /// Which.
        path: PathBuf,
    },
    /// A line before the last makes no sense: that was no crash.
    #[error("line {line} of journal {path} makes no sense")]
    Corrupt {
        /// Which.
        path: PathBuf,
        /// Its number, from 1.
        line: usize,
        /// What the decoder said.
        source: serde_json::Error,
    },
}

/// Reads the journal at `path`. A last line that makes no sense was torn by a crash and is ignored.
pub fn read(path: &Path) -> Result<Recorded, ReadError> {
    let io = |source| ReadError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let running = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    let bytes = fs::read(path).map_err(io)?;
    let mut entries = entries(path, &bytes)?.into_iter();
    let Some(Entry::Plan { plan, .. }) = entries.next() else {
        return Err(ReadError::NoPlan { path: path.to_owned() });
    };
    let mut recorded =
        Recorded { plan: *plan, states: BTreeMap::new(), end: None, superseded: false, running };
    for entry in entries {
        match entry {
            Entry::Plan { .. } => {}
            Entry::Step { step, state, .. } => {
                recorded.states.insert(step, state);
            }
            Entry::End { result, .. } => recorded.end = Some(result),
            Entry::Superseded { .. } => recorded.superseded = true,
        }
    }
    Ok(recorded)
}

fn entries(path: &Path, bytes: &[u8]) -> Result<Vec<Entry>, ReadError> {
    let lines: Vec<&[u8]> =
        bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let mut entries = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        match serde_json::from_slice(line) {
            Ok(entry) => entries.push(entry),
            Err(_) if index + 1 == lines.len() => {}
            Err(source) => {
                return Err(ReadError::Corrupt { path: path.to_owned(), line: index + 1, source });
            }
        }
    }
    Ok(entries)
}

/// How many bytes of the file are whole lines that make sense: where a later writer may go on.
pub(super) fn sound_length(bytes: &[u8]) -> usize {
    let mut length = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let whole = line.ends_with(b"\n") && serde_json::from_slice::<Entry>(line).is_ok();
        if !whole {
            break;
        }
        length += line.len();
    }
    length
}
