//! What became of a plan, as data.

use serde::{Deserialize, Serialize};

use super::{PlanId, StepId};

/// What became of one step. The journal holds one line for every change of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum StepState {
    /// Nothing was done yet.
    Pending,
    /// It is about to act, or has acted and is not verified yet.
    Started,
    /// It acted, and everything it promised came true.
    Done,
    /// It could not act, or what it promised did not come true.
    Failed {
        /// Why, for a person.
        why: String,
    },
    /// There was nothing to do any more; what it promised is true all the same.
    Skipped {
        /// Why, for a person.
        why: String,
    },
    /// It was taken back.
    Undone,
}

/// What became of a whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunResult {
    /// Every step is done or was not needed.
    Done,
    /// A step failed; those behind it were not begun.
    Failed,
    /// A guard did not hold; nothing was done by its step or by those behind it.
    Refused,
    /// The user stopped it; the steps that were not begun are pending.
    Interrupted,
}

/// What a run did, step by step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The plan, and so the run.
    pub plan: PlanId,
    /// The whole in a word.
    pub result: RunResult,
    /// The steps of the plan, in its order; when it was taken back without those that need no undo.
    pub steps: Vec<StepOutcome>,
    /// Seconds from the first guard to the last verification.
    pub seconds: u64,
}

/// What one step did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepOutcome {
    /// The step.
    pub id: StepId,
    /// Its title.
    pub title: String,
    /// The node it acted on, if it acted on one.
    pub node: Option<String>,
    /// What became of it.
    #[serde(flatten)]
    pub state: StepState,
    /// What came true, in order.
    pub verified: Vec<Verified>,
    /// Seconds it took.
    pub seconds: u64,
}

/// A condition that came true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// What came true, for a person: `token accepted`.
    pub what: String,
    /// Seconds after the step began.
    pub after_seconds: u64,
}
