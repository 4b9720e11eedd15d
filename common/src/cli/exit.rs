//! The one exit-code contract of all plugins. It never depends on the output format.

use std::process::ExitCode;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Healthy, or done.
    Good,
    /// It failed, or the mode is not supported.
    Error,
    /// The command line is wrong.
    Usage,
    /// Errors or critical findings.
    Findings,
    /// Warnings only, and `--fail-on=warning` was given.
    Warnings,
    /// Something that was needed could not be read.
    Incomplete,
    /// Declined by the user, or refused by a guard.
    Declined,
    /// Interrupted.
    Interrupted,
}

impl Exit {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::Findings => 3,
            Self::Warnings => 4,
            Self::Incomplete => 5,
            Self::Declined => 6,
            Self::Interrupted => 130,
        }
    }

    /// The verdict in a word, for the JSON document: kubectl on Windows flattens every code to 1.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "healthy",
            Self::Error | Self::Usage => "failed",
            Self::Findings => "findings",
            Self::Warnings => "warnings",
            Self::Incomplete => "incomplete",
            Self::Declined => "declined",
            Self::Interrupted => "interrupted",
        }
    }

    /// The one of two that a run which came to both must report: 130 > 1 > 6 > 3 > 5 > 4 > 0. A usage error ends a run
    /// before anything else can happen.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self.rank() >= other.rank() { self } else { other }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Warnings => 1,
            Self::Incomplete => 2,
            Self::Findings => 3,
            Self::Declined => 4,
            Self::Error => 5,
            Self::Usage => 6,
            Self::Interrupted => 7,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::Exit::{Declined, Error, Findings, Good, Incomplete, Interrupted, Warnings};

    #[test]
    fn precedence_is_the_contract() {
        let worst_first = [Interrupted, Error, Declined, Findings, Incomplete, Warnings, Good];
        for (n, one) in worst_first.iter().enumerate() {
            for other in &worst_first[n..] {
                assert_eq!(one.or(*other), *one);
                assert_eq!(other.or(*one), *one);
            }
        }
        let codes: Vec<u8> = worst_first.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [130, 1, 6, 3, 5, 4, 0]);
    }
}
