//! What can go wrong with the testbed.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the testbed could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program ran and did not end well.
    #[error("`{command}` ended with {status}: {stderr}")]
    Program {
        /// The program with its arguments.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it wrote to its standard error (or output, if that stayed empty).
        stderr: String,
    },
    /// A program could not be started.
    #[error("cannot start `{program}`")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program was still running when its time was up.
    #[error("`{command}` was still running after {limit:?}")]
    TooLong {
        /// The program with its arguments.
        command: String,
        /// The time it was given.
        limit: Duration,
    },
    /// A file could not be worked with.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was attempted.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A condition was not met in time.
    #[error("{what}: not within {limit:?}; last seen: {seen}")]
    Timeout {
        /// The condition.
        what: String,
        /// The time it was given.
        limit: Duration,
        /// What was seen instead.
        seen: String,
    },
    /// Something that must be there before the testbed can work is not.
    #[error("{0}")]
    Missing(String),
    /// The testbed is in use, or in a state in which this cannot be done.
    #[error("{0}")]
    Busy(String),
    /// What a story demands is not so.
    #[error("not so: {what}; seen: {seen}")]
    Unmet {
        /// The demand.
        what: String,
        /// What was seen instead.
        seen: String,
    },
    /// Something said something that cannot be understood.
    #[error("cannot understand {what}: {why}")]
    Odd {
        /// What was read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Gives an I/O error the file and the attempt it belongs to.
pub(crate) trait FileContext<T> {
    /// Names what was attempted on which file.
    fn file(self, what: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> FileContext<T> for std::io::Result<T> {
    fn file(self, what: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::File { what, path: path.to_owned(), source })
    }
}
