//! Goes on writing in the journal of an earlier run: to continue it, or to take it back.

use std::fs::OpenOptions;
use std::path::Path;

use super::reader::read;
use super::runs::cut_torn_line;
use super::{Journal, JournalError, ReadError, Recorded, lock};

/// A journal cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum ReopenError {
    /// Its run is alive.
    #[error("run {0} goes on: its process has its journal open")]
    Running(String),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Journal {
    /// Opens the journal at `path` for more lines, and says what it tells. The lock makes sure that only one process
    /// does so.
    pub fn reopen(path: &Path) -> Result<(Self, Recorded), ReopenError> {
        let file = OpenOptions::new().append(true).open(path);
        let file = file.map_err(JournalError::io("open", path))?;
        if !lock(&file) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            return Err(ReopenError::Running(name.into_owned()));
        }
        let recorded = Recorded { running: false, ..read(path)? };
        cut_torn_line(&file, path)?;
        Ok((Self { file, path: path.to_owned() }, recorded))
    }
}
