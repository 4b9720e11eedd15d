//! What the executor needs of the world: a cluster, or a simulation of one.

use std::fmt;
use std::path::Path;

use sha2::{Digest, Sha256};

use tokio::sync::watch;

use super::Stop;
use crate::plan::{Action, Condition, Guard, Observed, PlanId};

/// Looks at the world and changes it. Every method ends by itself: whoever implements it limits its requests.
pub trait Operations {
    /// Whether the guard holds now.
    fn guard(&self, guard: &Guard) -> impl Future<Output = Result<(), GuardFailure>>;

    /// Makes what the action needs and the plan does not hold: a token, the bytes of a program. Changes nothing.
    fn prepare(&self, action: &Action) -> impl Future<Output = Result<Prepared, PerformError>>;

    /// Acts. Doing it again after it was done changes nothing. An action of many requests tells `underway` how far it
    /// is, and stops between two of them when the user wants it.
    fn perform(
        &self,
        action: &Action,
        prepared: &Prepared,
        underway: &Underway<'_>,
    ) -> impl Future<Output = Result<Performed, PerformError>>;

    /// Keeps a copy of the run's journal where other machines find it, for runs that want one. That it could not be kept is told,
    /// and ends nothing.
    fn mirror(&self, run: &PlanId, journal: &Path) -> impl Future<Output = ()> {
        let _ = (run, journal);
        async {}
    }

    /// Looks at what the condition is about. What cannot be read may be unknown in the answer, or an error.
    fn observe(
        &self,
        condition: &Condition,
    ) -> impl Future<Output = Result<Observed, ObserveError>>;
}

/// What an action needs beside the plan. It may hold a token: it is never shown, and never kept.
#[derive(Clone, Default)]
pub struct Prepared(Option<Vec<u8>>);

impl Prepared {
    /// The content of a file.
    pub fn content(bytes: Vec<u8>) -> Self {
        Self(Some(bytes))
    }

    /// The content; none for an action that needs none.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }

    /// SHA-256 of the content, in hex. It tells nothing of a token in it.
    pub fn sha256(&self) -> Option<String> {
        let digest = Sha256::digest(self.0.as_deref()?);
        Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prepared({} bytes)", self.0.as_ref().map_or(0, Vec::len))
    }
}

/// What an action came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Performed {
    /// It acted.
    Acted,
    /// It acted, but left some things alone that are not as the plan expects; which and why, for a person.
    ActedExcept(String),
    /// There was nothing to do: the world already is as the action would make it, for this reason.
    AlreadyRight(String),
}

/// An action that goes on.
#[derive(Debug)]
pub struct Underway<'a> {
    stop: &'a Stop,
    how_far: watch::Sender<String>,
}

impl<'a> Underway<'a> {
    /// An action that has not told anything yet. It is asked to end early by `stop`.
    pub fn new(stop: &'a Stop) -> Self {
        Self { stop, how_far: watch::Sender::new(String::new()) }
    }

    /// The user's wish to stop.
    pub fn stop(&self) -> &Stop {
        self.stop
    }

    /// Tells how far it is, for a person: `1,204 of 3,000 deleted`.
    pub fn tell(&self, how_far: String) {
        self.how_far.send_replace(how_far);
    }

    /// Where it can be heard.
    pub(super) fn heard(&self) -> watch::Receiver<String> {
        self.how_far.subscribe()
    }
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
    /// It failed, and is known not to go on. Mostly nothing was changed.
    #[error("{0}")]
    Rejected(String),
    /// Nobody answered at the API server, so that nothing was sent: it may be starting anew.
    #[error("{0}")]
    Unsent(String),
    /// What was found there immediately before is not what the plan expects: nothing was done.
    #[error("{0}")]
    Refused(String),
    /// No answer came: it may have been carried out, or not. Only verification can tell.
    #[error("{0}; whether it was carried out is not known")]
    Unclear(String),
    /// The user wanted it to stop: it is done so far, and no request is under way.
    #[error("stopped: {0}")]
    Stopped(String),
}

/// Why nothing could be seen this time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ObserveError(pub String);
