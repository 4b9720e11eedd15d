//! Three-valued facts: known, known to be absent, or unknown for a reason.

use serde::{Deserialize, Serialize};

/// A fact about the cluster. "Unknown" is never "fine".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Known<T> {
    /// It was read.
    Known(T),
    /// It was looked for and does not exist.
    Absent,
    /// It could not be read.
    Unknown(Gap),
}

impl<T> Known<T> {
    /// The same fact, borrowed.
    pub fn as_ref(&self) -> Known<&T> {
        match self {
            Self::Known(value) => Known::Known(value),
            Self::Absent => Known::Absent,
            Self::Unknown(gap) => Known::Unknown(gap.clone()),
        }
    }

    /// The value, when it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::Unknown(_) => None,
        }
    }

    /// The reason, when it is unknown.
    pub fn gap(&self) -> Option<&Gap> {
        match self {
            Self::Unknown(gap) => Some(gap),
            Self::Known(_) | Self::Absent => None,
        }
    }

    /// Applies `f` to a known value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Known<U> {
        match self {
            Self::Known(value) => Known::Known(f(value)),
            Self::Absent => Known::Absent,
            Self::Unknown(gap) => Known::Unknown(gap),
        }
    }

    /// Follows a known value to a further fact.
    pub fn and_then<U>(self, f: impl FnOnce(T) -> Known<U>) -> Known<U> {
        match self {
            Self::Known(value) => f(value),
            Self::Absent => Known::Absent,
            Self::Unknown(gap) => Known::Unknown(gap),
        }
    }

    /// Known from an option; `None` means absent.
    pub fn from_option(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Self::Known)
    }
}

/// Something that could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gap {
    /// What is missing, as a bundle path (`cluster/pods.json`, `nodes/w1/probe.txt`), possibly with `#section`.
    pub what: String,
    /// The class of the reason.
    pub why: GapReason,
    /// What the other side said, for a person.
    pub detail: String,
}

impl Gap {
    /// A gap in `what`.
    pub fn new(what: impl Into<String>, why: GapReason, detail: impl Into<String>) -> Self {
        Self { what: what.into(), why, detail: detail.into() }
    }
}

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum GapReason {
    /// The API server refused (403).
    Forbidden,
    /// Nothing answered.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The server does not know this kind of object.
    NotServed,
    /// An answer came that makes no sense.
    Undecodable,
    /// Nobody asked: a flag is needed, or the bundle does not hold it.
    NotAsked,
    /// It was taken out on purpose.
    Redacted,
    /// It may be in the making right now: another look tells.
    TooYoung,
    /// A reason of another version of this tool, or written by hand.
    #[serde(untagged)]
    Other(String),
}

impl GapReason {
    /// True when something that was asked for could not be had: the answer is then incomplete (exit code 5).
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::NotAsked | Self::NotServed | Self::Redacted | Self::TooYoung)
    }
}
