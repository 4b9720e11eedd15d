//! Takes back what a run did: the newest step first, each only while what it left still is as it left it.
//!
//! A step on a node is taken back only after those that came after it on that node: they rest on it. What cannot be taken
//! back does not keep the other nodes from being restored.

use std::collections::BTreeSet;

use super::failures::worst;
use super::journal::{Entry, JournalError, Recorded};
use super::run::{Current, Ended, outcome, scrub};
use super::{Activity, Clock, Consent, Executor, Operations, PerformError, Performed, Prepared};
use crate::plan::{
    Action, Expected, HostOperation, Outcome, RunResult, Step, StepOutcome, StepState, Undo,
    Verified, describe,
};

impl<O: Operations, C: Clock> Executor<'_, O, C> {
    /// Takes back every step of `recorded` that may have acted and can be taken back. The outcome has the steps in the
    /// plan's order, without those that need no undo. Fails only when the journal cannot be kept.
    pub async fn take_back(
        mut self,
        recorded: &Recorded,
        consent: Consent,
    ) -> Result<Outcome, JournalError> {
        consent.spend();
        let began = self.clock.elapsed();
        let wanted: BTreeSet<_> = recorded.undoable().into_iter().map(|it| &it.id).collect();
        let (mut steps, mut result) = (Vec::new(), RunResult::Done);
        let mut kept = BTreeSet::new();
        let mut number = 0;
        for step in recorded.plan.steps.iter().rev() {
            if !wanted.contains(&step.id) {
                // What changed nothing that stays is no part of the way back.
                if matches!(step.undo, Undo::NotNeeded { .. }) {
                    continue;
                }
                steps.push(outcome(step, untouched(recorded, step)));
                continue;
            }
            number += 1;
            if result != RunResult::Interrupted && self.stop.is_requested() {
                result = RunResult::Interrupted;
            }
            if result == RunResult::Interrupted {
                steps.push(outcome(step, recorded.state(&step.id).clone()));
                continue;
            }
            let began = self.clock.elapsed();
            let mut verified = Vec::new();
            let current = Current { number, of: wanted.len(), step, began, again: true };
            let ended = if kept.contains(&step.node) {
                Ended::refused(match step.node {
                    Some(_) => "a later step on this node could not be taken back",
                    None => "a later step, which rests on it, could not be taken back",
                })
            } else {
                self.take_step_back(current, recorded, &mut verified).await?
            };
            if let Some(worse) = ended.run {
                result = worst(result, worse);
                kept.insert(step.node.clone());
            }
            let seconds = self.clock.elapsed().saturating_sub(began).as_secs();
            let done = StepOutcome { verified, seconds, ..outcome(step, ended.state) };
            self.tell(current, Activity::Ended(&done));
            steps.push(done);
        }
        steps.reverse();
        self.journal.write(&Entry::UndoEnd { at: self.clock.now(), result })?;
        self.mirror().await;
        let seconds = self.clock.elapsed().saturating_sub(began).as_secs();
        Ok(Outcome { plan: recorded.plan.id.clone(), result, steps, seconds })
    }

    async fn take_step_back(
        &mut self,
        current: Current<'_>,
        recorded: &Recorded,
        verified: &mut Vec<Verified>,
    ) -> Result<Ended, JournalError> {
        let step = current.step;
        if let Some(why) = self.tenure.over() {
            return Ok(Ended::failed(why));
        }
        let Some(undo) = step.undo.action() else {
            return Ok(Ended::failed("the plan does not say how"));
        };
        self.journal.write(&Entry::Undoing { at: self.clock.now(), step: step.id.clone() })?;
        self.mirror().await;
        self.tell(current, Activity::Acting);
        let mut ended = Ended::failed("nothing is known of what the step wrote");
        for action in attempts(step, undo, recorded) {
            ended = match self.perform(current, &action, &Prepared::default()).await {
                Ok(Performed::ActedExcept(left)) => {
                    verified.push(self.verified(current, left));
                    return self.verify_undo(current).await;
                }
                Ok(Performed::Acted | Performed::AlreadyRight(_)) => {
                    return self.verify_undo(current).await;
                }
                // What an earlier attempt wrote may still stand there.
                Err(PerformError::Refused(why)) => {
                    Ended::refused(format!("{}: refused: {why}", describe::action(&action)))
                }
                Err(error) => {
                    let why = scrub(&format!("{}: {error}", describe::action(&action)));
                    return Ok(Ended::failed(why));
                }
            };
        }
        Ok(ended)
    }
}

impl<O: Operations, C: Clock> Executor<'_, O, C> {
    /// Waits for what must come true once the step is taken back, and notes that it is.
    async fn verify_undo(&mut self, current: Current<'_>) -> Result<Ended, JournalError> {
        for verification in current.step.undo.verifications() {
            if let Err(ended) = self.verify(current, verification).await {
                // It was done before, and may be taken back again.
                return Ok(Ended { state: StepState::Started, ..ended });
            }
        }
        self.note(current.step, &StepState::Undone)?;
        self.mirror().await;
        Ok(Ended { state: StepState::Undone, run: None })
    }
}

/// The undo with what must still stand there, as the journal knows it: what the run wrote, newest first; nothing, where it
/// moved something away.
fn attempts(step: &Step, undo: Action, recorded: &Recorded) -> Vec<Action> {
    let Action::OnHost {
        node,
        operation: HostOperation::RestoreFile { path, backup, expected: Expected::Any },
    } = &undo
    else {
        return vec![undo];
    };
    let with = |expected: Expected| {
        let operation =
            HostOperation::RestoreFile { path: path.clone(), backup: backup.clone(), expected };
        Action::OnHost { node: node.clone(), operation }
    };
    let moved =
        matches!(&step.action, Action::OnHost { operation: HostOperation::MoveAside { .. }, .. });
    if moved {
        return vec![with(Expected::Absent)];
    }
    let hashes = recorded.contents.get(&step.id).map(Vec::as_slice).unwrap_or_default();
    match hashes {
        // It was cut off before it knew what to write, so it wrote nothing.
        [] => vec![with(Expected::Absent)],
        hashes => hashes.iter().rev().map(|it| with(Expected::Sha256(it.clone()))).collect(),
    }
}

/// The state of a step that is not touched.
fn untouched(recorded: &Recorded, step: &Step) -> StepState {
    let why = match (&step.undo, recorded.state(&step.id)) {
        (_, state @ (StepState::Undone | StepState::Pending)) => return state.clone(),
        (Undo::Impossible { why }, _) => format!("cannot be taken back: {why}"),
        (_, _) => "it did not act".to_owned(),
    };
    StepState::Skipped { why }
}
