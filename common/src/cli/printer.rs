//! The only place that writes to stdout and stderr: stdout is data, stderr is talk.

use std::io::{self, Write};

use super::{Failure, Terminal};
use crate::report::escape;

/// Writes for the user.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    /// The terminal behind stdout.
    pub stdout: Terminal,
    /// The terminal behind stderr.
    pub stderr: Terminal,
}

impl Printer {
    /// A printer for this process' streams.
    pub fn new(no_colour: bool) -> Self {
        Self { stdout: Terminal::stdout(no_colour), stderr: Terminal::stderr(no_colour) }
    }

    /// Writes the answer.
    ///
    /// # Errors
    /// When stdout is closed (a pipe whose reader left: [`super::Kind::BrokenPipe`]) or full.
    pub fn data(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(())
    }

    /// Says something about the run. A closed stderr is no reason to stop it.
    pub fn talk(&self, text: &str) {
        let mut err = io::stderr().lock();
        drop(writeln!(err, "{}", text.trim_end_matches('\n')));
    }

    /// Shows a line that the next one replaces. Only a terminal gets it: elsewhere it would be a flood.
    pub fn live(&self, line: &str) {
        if self.stderr.is_terminal {
            let room = self.stderr.width.saturating_sub(1);
            let line: String = escape(line).chars().take(room).collect();
            let mut err = io::stderr().lock();
            drop(write!(err, "\r\x1b[2K{line}").and_then(|()| err.flush()));
        }
    }

    /// Removes the line that moves.
    pub fn clear(&self) {
        if self.stderr.is_terminal {
            let mut err = io::stderr().lock();
            drop(write!(err, "\r\x1b[2K").and_then(|()| err.flush()));
        }
    }
}
