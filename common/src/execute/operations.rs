//! What the executor needs of the world: a cluster, or a simulation of one.

use crate::plan::{Action, Condition, Guard, Observed};

/// Looks at the world and changes it. Every method ends by itself: whoever implements it limits its requests.
pub trait Operations {
    /// Whether the guard holds now.
    fn guard(&self, guard: &Guard) -> impl Future<Output = Result<(), GuardFailure>>;

    /// Acts. Doing it again after it was done changes nothing.
    fn perform(&self, action: &Action) -> impl Future<Output = Result<Performed, PerformError>>;

    /// Looks at what the condition is about. What cannot be read may be unknown in the answer, or an error.
    fn observe(
        &self,
        condition: &Condition,
    ) -> impl Future<Output = Result<Observed, ObserveError>>;
}

/// What an action came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Performed {
    /// It acted.
    Acted,
    /// There was nothing to do: the world already is as the action would make it, for this reason.
    AlreadyRight(String),
}

/// Why a guard does not let a step act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardFailure {
    /// There is nothing to do any more: what the step would act on was replaced already.
    #[error("{0}")]
    AlreadyRight(String),
    /// Acting would be wrong.
    #[error("refused by a guard: {0}")]
    Refused(String),
    /// Whether it holds could not be found out.
    #[error("a guard could not be checked: {0}")]
    Unreadable(String),
}

/// Why an action failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PerformError {
    /// The cluster refused it: nothing was changed.
    #[error("{0}")]
    Rejected(String),
    /// No answer came: it may have been carried out, or not. Only verification can tell.
    #[error("{0}; whether it was carried out is not known")]
    Unclear(String),
}

/// Why nothing could be seen this time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ObserveError(pub String);
