//! What the API server says to steps that it is asked to try only.

use serde::Serialize;

use super::StepId;

/// A step, and what the API server said to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rehearsed {
    /// The step.
    pub step: StepId,
    /// What it does.
    pub title: String,
    /// Whether the server would accept it.
    pub answer: Answer,
    /// Why not, for a person; absent where there is no more to say.
    pub said: Option<String>,
}

/// Whether the API server would accept a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// It would, now.
    Accepted,
    /// There is nothing to do as things are now; earlier steps may change that.
    NothingToDo,
    /// It would not.
    Refused,
    /// It is not asked: the step works on a host.
    NotAsked,
}

impl Answer {
    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::NothingToDo => "nothing to do now",
            Self::Refused => "refused",
            Self::NotAsked => "not asked",
        }
    }
}
