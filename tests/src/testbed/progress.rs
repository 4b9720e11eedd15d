//! Says on standard error what the testbed does, one line per phase with the seconds it took.

use super::error::Error;
use std::io::Write as _;
use std::time::Instant;

/// Where the lines go.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    speaks: bool,
}

impl Progress {
    /// Lines on standard error.
    pub fn on_stderr() -> Self {
        Self { speaks: true }
    }

    /// No lines.
    pub fn silent() -> Self {
        Self { speaks: false }
    }

    pub(crate) fn phase<T>(
        self,
        what: &str,
        work: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let start = Instant::now();
        let result = work();
        let end = if result.is_ok() { "" } else { " FAILED" };
        self.line(&format!("testbed: {what} {:.1} s{end}", start.elapsed().as_secs_f32()));
        result
    }

    pub(crate) fn line(self, text: &str) {
        if self.speaks {
            // Standard error may be closed; that must not end a test.
            drop(writeln!(std::io::stderr(), "{text}"));
        }
    }
}
