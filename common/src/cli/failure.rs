//! Errors as the user meets them: what was attempted, what the other side said, what to do next.

use std::error::Error;
use std::io;

use super::Exit;
use crate::cluster::{ApiError, ConnectError};
use crate::report::escape;

/// The classes of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line is wrong.
    Usage,
    /// The cluster cannot be reached, or refuses us.
    Access,
    /// Something that was named does not exist.
    NotFound,
    /// The user or a guard said no.
    Refused,
    /// Something that was needed could not be read.
    Incomplete,
    /// It was done in part.
    Partial,
    /// It was interrupted.
    Interrupted,
    /// A fault of this program or of this machine.
    Internal,
    /// The reader of our output went away: no fault at all.
    BrokenPipe,
}

/// A failure at the edge of the program.
#[derive(Debug)]
pub struct Failure {
    /// Its class.
    pub kind: Kind,
    /// What happened, with its sources.
    pub error: Box<dyn Error + Send + Sync>,
    /// What to do next.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure of `kind`.
    pub fn new(kind: Kind, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, error: error.into(), hints: Vec::new() }
    }

    /// A wrong command line.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(Kind::Usage, text.into())
    }

    /// The same failure with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The exit code it leads to.
    pub fn exit(&self) -> Exit {
        match self.kind {
            Kind::Usage => Exit::Usage,
            Kind::Refused => Exit::Declined,
            Kind::Incomplete => Exit::Incomplete,
            Kind::Interrupted => Exit::Interrupted,
            Kind::BrokenPipe => Exit::Good,
            Kind::Access | Kind::NotFound | Kind::Partial | Kind::Internal => Exit::Error,
        }
    }

    /// `outer: middle: inner`, without a tail that only repeats what was said.
    pub fn chain(&self) -> String {
        let mut text = self.error.to_string();
        let mut source = self.error.source();
        while let Some(error) = source {
            let part = error.to_string();
            if !text.ends_with(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            source = error.source();
        }
        text
    }

    /// The lines for stderr.
    pub fn text(&self) -> String {
        let mut out = format!("error: {}\n", escape(&self.chain()));
        if !self.hints.is_empty() {
            out.push('\n');
        }
        for hint in &self.hints {
            out.push_str(&format!("hint: {}\n", escape(hint)));
        }
        out
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let hint = error.hint();
        let mut failure = Self::new(Kind::Access, error);
        failure.hints.extend(hint);
        failure
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let hint = error.hint();
        let mut failure = Self::new(Kind::Access, error);
        failure.hints.extend(hint.map(str::to_owned));
        failure
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::BrokenPipe => Kind::BrokenPipe,
            _ => Kind::Internal,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read pods")]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("the server said: gone\u{1b}[2J")]
    struct Middle(#[source] io::Error);

    #[test]
    fn the_chain_is_whole_and_harmless() {
        let inner = io::Error::other("gone\u{1b}[2J");
        let failure = Failure::new(Kind::Access, Outer(Middle(inner))).hint("try again");
        assert_eq!(
            failure.text(),
            "error: cannot read pods: the server said: gone\\u{1b}[2J\n\nhint: try again\n"
        );
        assert_eq!(failure.exit(), Exit::Error);
    }
}
