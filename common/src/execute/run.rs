//! Carries out a plan, step by step: guards, journal, action, verification. A step that fails ends the steps of its node,
//! and the run once so many nodes failed as the plan says.

use std::collections::BTreeMap;
use std::time::Duration;

use super::failures::{Failures, worst};
use super::journal::{Entry, JournalError};
use super::lease::Tenure;
use super::{
    Activity, Clock, Consent, GuardFailure, Journal, Operations, PerformError, Performed, Prepared,
    Progress, Reporter, Stop, Underway,
};
use crate::plan::{
    Action, Applicability, Outcome, Plan, PlanId, RunResult, Step, StepId, StepOutcome, StepState,
    Verdict, Verification, Verified, describe, judge,
};
use crate::snapshot::without_secrets;

/// Time between two looks at a condition.
const POLL: Duration = Duration::from_secs(1);

/// So many looks in a row must be forbidden: an API server that is just starting may refuse what it allows a moment later.
const FORBIDDEN_LOOKS: u32 = 3;

/// Everything a run needs.
pub struct Executor<'a, O, C> {
    /// The world.
    pub operations: &'a O,
    /// Time.
    pub clock: &'a C,
    /// The run's journal, fresh from [`Journal::create`] or from [`Journal::reopen`].
    pub journal: &'a mut Journal,
    /// Whether nobody else may act.
    pub tenure: &'a Tenure,
    /// Who wants to know.
    pub reporter: &'a mut dyn Reporter,
    /// The user's wish to stop.
    pub stop: &'a Stop,
}

/// How a step ended, and whether the run goes on.
pub(super) struct Ended {
    pub(super) state: StepState,
    /// None: the next step follows.
    pub(super) run: Option<RunResult>,
}

impl Ended {
    pub(super) fn failed(why: impl AsRef<str>) -> Self {
        Self { state: StepState::Failed { why: scrub(why.as_ref()) }, run: Some(RunResult::Failed) }
    }

    pub(super) fn refused(why: impl AsRef<str>) -> Self {
        Self { run: Some(RunResult::Refused), ..Self::failed(why) }
    }

    fn interrupted(state: StepState) -> Self {
        Self { state, run: Some(RunResult::Interrupted) }
    }
}

/// A step that is being carried out.
#[derive(Clone, Copy)]
pub(super) struct Current<'a> {
    pub(super) number: usize,
    pub(super) of: usize,
    pub(super) step: &'a Step,
    pub(super) began: Duration,
    /// An earlier attempt may have acted.
    pub(super) again: bool,
}

impl<'a> Current<'a> {
    fn progress(self, activity: Activity<'a>) -> Progress<'a> {
        let Self { number, of, step, .. } = self;
        Progress { number, of, step, activity }
    }
}

impl<O: Operations, C: Clock> Executor<'_, O, C> {
    /// Carries `plan` out. Fails only when the journal cannot be kept: then nothing more is done, because nobody could
    /// tell what was.
    pub async fn run(self, plan: &Plan, consent: Consent) -> Result<Outcome, JournalError> {
        self.go_on(plan, &BTreeMap::new(), consent).await
    }

    /// Carries out what is left of `plan`: steps that are done or were not needed are not done again. One that may have
    /// acted is: doing it twice is doing it once.
    pub async fn go_on(
        mut self,
        plan: &Plan,
        states: &BTreeMap<StepId, StepState>,
        consent: Consent,
    ) -> Result<Outcome, JournalError> {
        consent.spend();
        let began = self.clock.elapsed();
        let mut steps: Vec<StepOutcome> = Vec::new();
        let mut failures = Failures::allowed(plan.max_failures);
        let mut result = None;
        for (index, step) in plan.steps.iter().enumerate() {
            let before = states.get(&step.id);
            if let Some(state @ (StepState::Done | StepState::Skipped { .. })) = before {
                steps.push(outcome(step, state.clone()));
                continue;
            }
            if result.is_none() && self.stop.is_requested() {
                result = Some(RunResult::Interrupted);
            }
            if result.is_some() || failures.keep_back(step, &steps) {
                steps.push(outcome(step, StepState::Pending));
                continue;
            }
            let began = self.clock.elapsed();
            let again = matches!(before, Some(StepState::Started | StepState::Failed { .. }));
            let current = Current { number: index + 1, of: plan.steps.len(), step, began, again };
            let mut verified = Vec::new();
            let ended = self.step(current, &steps, &mut verified).await?;
            let done = StepOutcome {
                verified,
                seconds: self.clock.elapsed().saturating_sub(began).as_secs(),
                ..outcome(step, ended.state)
            };
            if !matches!(done.state, StepState::Pending | StepState::Started) {
                self.note(step, &done.state)?;
                self.mirror().await;
            }
            self.tell(current, Activity::Ended(&done));
            steps.push(done);
            result = match ended.run {
                Some(worse @ (RunResult::Failed | RunResult::Refused)) => {
                    // Without the Lease every other node would fail as well.
                    let goes_on =
                        failures.may_go_on_after(step, worse) && self.tenure.over().is_none();
                    (!goes_on).then_some(worse)
                }
                ended => ended,
            };
        }
        let result = worst(result.unwrap_or(RunResult::Done), failures.worst);
        self.journal.write(&Entry::End { at: self.clock.now(), result })?;
        self.mirror().await;
        let seconds = self.clock.elapsed().saturating_sub(began).as_secs();
        Ok(Outcome { plan: plan.id.clone(), result, steps, seconds })
    }

    async fn step(
        &mut self,
        current: Current<'_>,
        before: &[StepOutcome],
        verified: &mut Vec<Verified>,
    ) -> Result<Ended, JournalError> {
        let step = current.step;
        if let Some(why) = inadmissible(step, before) {
            return Ok(Ended::refused(why));
        }
        self.tell(current, Activity::Guarding);
        let mut already = match self.guards(step).await {
            Ok(already) => already,
            Err(ended) => return Ok(ended),
        };
        let mut unclear = None;
        if already.is_none() {
            if self.stop.is_requested() {
                return Ok(Ended::interrupted(StepState::Pending));
            }
            if let Some(why) = self.tenure.over() {
                return Ok(Ended::failed(why));
            }
            match self.act(current).await? {
                Ok(Performed::Acted) => {}
                Ok(Performed::ActedExcept(left)) => verified.push(self.verified(current, left)),
                // An earlier attempt of this run did it.
                Ok(Performed::AlreadyRight(_)) if is_to_be_undone(current) => {}
                Ok(Performed::AlreadyRight(why)) => already = Some(why),
                Err(PerformError::Rejected(why) | PerformError::Unsent(why)) => {
                    return Ok(Ended::failed(format!("{}: {why}", describe::action(&step.action))));
                }
                Err(PerformError::Refused(why)) => {
                    // To take back what was never done would be refused as well, and keep all before it from being taken back.
                    if !current.again {
                        let (at, step) = (self.clock.now(), step.id.clone());
                        self.journal.write(&Entry::Untouched { at, step })?;
                    }
                    let what = describe::action(&step.action);
                    return Ok(Ended::refused(format!("{what}: refused: {why}")));
                }
                Err(PerformError::Stopped(how_far)) => {
                    verified.push(self.verified(current, how_far));
                    return Ok(Ended::interrupted(StepState::Started));
                }
                Err(error @ PerformError::Unclear(_)) => unclear = Some(error.to_string()),
            }
        }
        for verification in &step.verify {
            if let Err(mut ended) = self.verify(current, verification).await {
                if let (StepState::Failed { why }, Some(unclear)) = (&mut ended.state, &unclear) {
                    *why = scrub(&format!("{unclear}; then: {why}"));
                }
                if already.is_some() && ended.state == StepState::Started {
                    ended.state = StepState::Pending;
                }
                return Ok(ended);
            }
            verified.push(self.verified(current, describe::met(&verification.condition)));
        }
        let state = match already {
            Some(why) => StepState::Skipped { why: scrub(&why) },
            None => StepState::Done,
        };
        Ok(Ended { state, run: None })
    }

    /// Writes down what is meant, and does it.
    async fn act(
        &mut self,
        current: Current<'_>,
    ) -> Result<Result<Performed, PerformError>, JournalError> {
        let step = current.step;
        self.note(step, &StepState::Started)?;
        self.mirror().await;
        self.tell(current, Activity::Acting);
        let prepared = match self.operations.prepare(&step.action).await {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(sha256) = prepared.sha256() {
            let at = self.clock.now();
            self.journal.write(&Entry::Content { at, step: step.id.clone(), sha256 })?;
        }
        Ok(self.perform(current, &step.action, &prepared).await)
    }

    /// Acts, and passes on how far it is.
    pub(super) async fn perform(
        &mut self,
        current: Current<'_>,
        action: &Action,
        prepared: &Prepared,
    ) -> Result<Performed, PerformError> {
        let underway = Underway::new(self.stop);
        let mut heard = underway.heard();
        let mut acting = std::pin::pin!(self.operations.perform(action, prepared, &underway));
        loop {
            tokio::select! {
                biased;
                done = &mut acting => return done,
                Ok(()) = heard.changed() => {}
            }
            let how_far = heard.borrow_and_update().clone();
            let progress = Activity::Progressing { how_far: &how_far };
            self.reporter.tell(&current.progress(progress));
        }
    }

    pub(super) fn verified(&self, current: Current<'_>, what: String) -> Verified {
        let after_seconds = self.clock.elapsed().saturating_sub(current.began).as_secs();
        Verified { what, after_seconds }
    }

    /// Looks at all guards. `Some` when there is nothing to do any more; then the others were still looked at.
    async fn guards(&self, step: &Step) -> Result<Option<String>, Ended> {
        let mut already = None;
        for guard in &step.guards {
            let answer = tokio::select! {
                biased;
                answer = self.operations.guard(guard) => answer,
                () = self.stop.requested() => return Err(Ended::interrupted(StepState::Pending)),
            };
            match answer {
                Ok(()) => {}
                Err(GuardFailure::AlreadyRight(why)) => already = Some(why),
                Err(error @ GuardFailure::Refused(_)) => {
                    return Err(Ended::refused(error.to_string()));
                }
                Err(error @ GuardFailure::Unreadable(_)) => {
                    return Err(Ended::failed(error.to_string()));
                }
            }
        }
        Ok(already)
    }

    /// Waits for one condition. What cannot be seen is looked at again until the time is over: the API server may be
    /// restarting.
    pub(super) async fn verify(
        &mut self,
        current: Current<'_>,
        wanted: &Verification,
    ) -> Result<(), Ended> {
        let limit = Duration::from_secs(wanted.within_seconds);
        let began = self.clock.elapsed();
        let mut why: Option<String> = None;
        let mut forbidden = 0;
        loop {
            let elapsed = self.clock.elapsed().saturating_sub(began);
            let left = limit.saturating_sub(elapsed);
            if left.is_zero() {
                let what = describe::condition(&wanted.condition);
                let last = why.unwrap_or_else(|| "no answer".to_owned());
                let limit = limit.as_secs();
                return Err(Ended::failed(format!("not true after {limit} s: {what}: {last}")));
            }
            let condition = &wanted.condition;
            let waiting = Activity::Waiting { condition, why: why.as_deref(), elapsed, limit };
            self.tell(current, waiting);
            let seen = tokio::select! {
                biased;
                seen = self.operations.observe(condition) => Some(seen),
                () = self.stop.requested() => return Err(Ended::interrupted(StepState::Started)),
                () = self.clock.sleep(left) => None,
            };
            let verdict = seen.map(|seen| seen.map(|seen| judge(condition, &seen)));
            forbidden =
                if matches!(verdict, Some(Ok(Verdict::Forbidden(_)))) { forbidden + 1 } else { 0 };
            match verdict {
                Some(Ok(Verdict::Met)) => return Ok(()),
                Some(Ok(Verdict::Failed(reason))) => return Err(Ended::failed(reason)),
                Some(Ok(Verdict::Forbidden(reason))) if forbidden >= FORBIDDEN_LOOKS => {
                    let what = describe::condition(condition);
                    return Err(Ended::failed(format!("cannot be verified: {what}: {reason}")));
                }
                Some(Ok(Verdict::NotYet(reason) | Verdict::Forbidden(reason))) => {
                    why = Some(scrub(&reason));
                }
                Some(Err(error)) => why = Some(scrub(&error.to_string())),
                None => continue,
            }
            tokio::select! {
                biased;
                () = self.stop.requested() => return Err(Ended::interrupted(StepState::Started)),
                () = self.clock.sleep(POLL) => {}
            }
        }
    }

    /// Copies the journal to where other machines find it, for runs that want that.
    pub(super) async fn mirror(&self) {
        let path = self.journal.path();
        let run = path.file_stem().map(|it| PlanId(it.to_string_lossy().into_owned()));
        if let Some(run) = run {
            self.operations.mirror(&run, path).await;
        }
    }

    pub(super) fn note(&mut self, step: &Step, state: &StepState) -> Result<(), JournalError> {
        let at = self.clock.now();
        self.journal.write(&Entry::Step { at, step: step.id.clone(), state: state.clone() })
    }

    pub(super) fn tell(&mut self, current: Current<'_>, activity: Activity<'_>) {
        self.reporter.tell(&current.progress(activity));
    }
}

/// Why a step must not be begun, whatever the cluster looks like.
fn inadmissible(step: &Step, before: &[StepOutcome]) -> Option<String> {
    if step.applicability == Applicability::Manual {
        return Some("only a person can do this".to_owned());
    }
    if step.verify.is_empty() {
        return Some("the step does not say how to verify itself".to_owned());
    }
    let is_done = |id: &crate::plan::StepId| {
        before.iter().any(|it| {
            it.id == *id && matches!(it.state, StepState::Done | StepState::Skipped { .. })
        })
    };
    let missing = step.after.iter().find(|id| !is_done(id))?;
    Some(format!("{missing} must be done before"))
}

/// What this run changed must stay its own to take back, whichever of its attempts it was.
fn is_to_be_undone(current: Current<'_>) -> bool {
    current.again && current.step.undo.is_possible()
}

/// Foreign text as it may be kept and shown: an error may quote what was sent.
pub(super) fn scrub(text: &str) -> String {
    without_secrets(text).into_owned()
}

pub(super) fn outcome(step: &Step, state: StepState) -> StepOutcome {
    StepOutcome {
        id: step.id.clone(),
        title: step.title.clone(),
        node: step.node.clone(),
        state,
        verified: Vec::new(),
        seconds: 0,
    }
}
