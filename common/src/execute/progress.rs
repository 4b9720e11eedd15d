//! What a run tells while it goes on.

use std::time::Duration;

use crate::plan::{Condition, Step, StepOutcome, StepState, describe};

/// Takes a run's progress: a live line, a log, or nothing.
pub trait Reporter {
    /// Something went on.
    fn tell(&mut self, progress: &Progress<'_>);
}

/// Where a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Number of the step, from 1.
    pub number: usize,
    /// Number of steps.
    pub of: usize,
    /// The step.
    pub step: &'a Step,
    /// What goes on.
    pub activity: Activity<'a>,
}

/// What goes on in a step.
#[derive(Clone, Copy, Debug)]
pub enum Activity<'a> {
    /// Its guards are looked at.
    Guarding,
    /// It acts.
    Acting,
    /// It acts, and is so far.
    Progressing {
        /// For a person: `1,204 of 3,000 deleted`.
        how_far: &'a str,
    },
    /// It waits for a condition. Told once a second.
    Waiting {
        /// For what.
        condition: &'a Condition,
        /// Why it is not met yet; none before the first look.
        why: Option<&'a str>,
        /// How long it has waited for this condition.
        elapsed: Duration,
        /// How long it may.
        limit: Duration,
    },
    /// It is over.
    Ended(&'a StepOutcome),
}

impl Progress<'_> {
    /// The line for a person, without the step's number: `waiting for calico-node to be Ready (6 s of 120 s)`.
    pub fn line(&self) -> String {
        match self.activity {
            Activity::Guarding => "checking that nothing has changed since".to_owned(),
            Activity::Acting => describe::action(&self.step.action),
            Activity::Progressing { how_far } => how_far.to_owned(),
            Activity::Waiting { condition, elapsed, limit, .. } => format!(
                "waiting for {} ({} s of {} s)",
                describe::awaited(condition),
                elapsed.as_secs(),
                limit.as_secs()
            ),
            Activity::Ended(outcome) => ended(outcome),
        }
    }
}

/// `token accepted after 8 s, 6 of 6 pods fine after 24 s`
fn ended(outcome: &StepOutcome) -> String {
    let verified = || {
        let facts = outcome.verified.iter();
        let facts = facts.map(|it| format!("{} after {} s", it.what, it.after_seconds));
        facts.collect::<Vec<_>>().join(", ")
    };
    match &outcome.state {
        StepState::Done => verified(),
        StepState::Skipped { why } => format!("not needed: {why}"),
        StepState::Failed { why } => why.clone(),
        StepState::Started => match verified().as_str() {
            "" => "stopped before it was verified".to_owned(),
            so_far => format!("stopped before it was verified: {so_far}"),
        },
        StepState::Pending => "not begun".to_owned(),
        StepState::Undone => "taken back".to_owned(),
    }
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn tell(&mut self, _progress: &Progress<'_>) {}
}
