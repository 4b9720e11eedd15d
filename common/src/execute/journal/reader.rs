//! Reads a journal, also one that a crash cut short.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Entry;
use crate::plan::{Plan, RunResult, Step, StepId, StepState};

/// What a journal tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// What was to be done.
    pub plan: Plan,
    /// When the run began.
    pub began: Timestamp,
    /// The last known state of every step that left `Pending`.
    pub states: BTreeMap<StepId, StepState>,
    /// The steps that ever began to act, but those that were refused before they changed anything.
    pub begun: BTreeSet<StepId>,
    /// Hashes of what each step was about to write, in hex, the newest last. A step that was tried again has several.
    pub contents: BTreeMap<StepId, Vec<String>>,
    /// How the run ended; none when it goes on or was cut off.
    pub end: Option<RunResult>,
    /// How taking it back went; none when nobody tried, or that was cut off.
    pub undo: Option<RunResult>,
    /// True once somebody began to take it back.
    pub undo_begun: bool,
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
    let Some(Entry::Plan { plan, at, .. }) = entries.next() else {
        return Err(ReadError::NoPlan { path: path.to_owned() });
    };
    let mut recorded = Recorded {
        plan: *plan,
        began: at,
        states: BTreeMap::new(),
        begun: BTreeSet::new(),
        contents: BTreeMap::new(),
        end: None,
        undo: None,
        undo_begun: false,
        superseded: false,
        running,
    };
    entries.for_each(|entry| recorded.learn(entry));
    Ok(recorded)
}

impl Recorded {
    fn learn(&mut self, entry: Entry) {
        match entry {
            Entry::Plan { .. } => {}
            Entry::Step { step, state, .. } => {
                if state == StepState::Started {
                    self.begun.insert(step.clone());
                }
                self.states.insert(step, state);
            }
            Entry::Content { step, sha256, .. } => {
                self.contents.entry(step).or_default().push(sha256);
            }
            Entry::Untouched { step, .. } => {
                self.begun.remove(&step);
            }
            Entry::End { result, .. } => self.end = Some(result),
            Entry::Resumed { .. } => self.end = None,
            Entry::Undoing { .. } => {
                self.undo = None;
                self.undo_begun = true;
            }
            Entry::UndoEnd { result, .. } => self.undo = Some(result),
            Entry::Superseded { .. } => self.superseded = true,
        }
    }

    /// The step's last known state.
    pub fn state(&self, id: &StepId) -> &StepState {
        self.states.get(id).unwrap_or(&StepState::Pending)
    }

    /// The steps that may have changed something that can be taken back, and was not yet; in the plan's order. A step
    /// that began and was not seen to end may have acted.
    pub fn undoable(&self) -> Vec<&Step> {
        let acted = |step: &&Step| {
            let state = self.state(&step.id);
            self.begun.contains(&step.id)
                && matches!(state, StepState::Started | StepState::Done | StepState::Failed { .. })
        };
        let can = |step: &&Step| step.undo.is_possible();
        self.plan.steps.iter().filter(acted).filter(can).collect()
    }

    /// True once nothing is left to be done in it: it ended by itself, a later run took its place, or it was taken back.
    pub fn is_over(&self) -> bool {
        let is_half_undone = self.undo_begun && self.undo.is_none();
        (self.end.is_some() && !is_half_undone) || self.superseded || self.is_undone()
    }

    /// True once all that could be taken back was, also when its process died before it wrote that down.
    pub fn is_undone(&self) -> bool {
        match self.undo {
            Some(result) => result == RunResult::Done,
            None => self.undo_begun && !self.running && self.undoable().is_empty(),
        }
    }
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
