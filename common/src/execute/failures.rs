//! How many nodes may fail before a run begins nothing more, and what is not begun because of those that did.

use std::collections::BTreeSet;

use crate::plan::{RunResult, Step, StepOutcome, StepState};

/// The failures of a run so far.
#[derive(Debug)]
pub(super) struct Failures<'p> {
    allowed: u32,
    count: u32,
    nodes: BTreeSet<&'p str>,
    /// The worst that happened.
    pub(super) worst: RunResult,
}

impl<'p> Failures<'p> {
    /// No failure yet; the `allowed`-th ends the run.
    pub(super) fn allowed(allowed: u32) -> Self {
        Self { allowed, count: 0, nodes: BTreeSet::new(), worst: RunResult::Done }
    }

    /// Counts the failure of a step; false when it ends the run. What fails outside of nodes concerns all of them.
    pub(super) fn may_go_on_after(&mut self, step: &'p Step, result: RunResult) -> bool {
        self.worst = worst(self.worst, result);
        self.count += 1;
        self.nodes.extend(step.node.as_deref());
        step.node.is_some() && self.count < self.allowed
    }

    /// True when the step is not begun because of a failure before it: on its node, or of a step that it rests on.
    pub(super) fn keep_back(&self, step: &Step, before: &[StepOutcome]) -> bool {
        let is_missing = |it: &StepOutcome| {
            step.after.contains(&it.id)
                && !matches!(it.state, StepState::Done | StepState::Skipped { .. })
        };
        let on_failed_node = step.node.as_deref().is_some_and(|it| self.nodes.contains(it));
        self.count > 0 && (on_failed_node || before.iter().any(is_missing))
    }
}

/// The one of two results that says more of what went wrong.
pub(super) fn worst(a: RunResult, b: RunResult) -> RunResult {
    let rank = |it: RunResult| match it {
        RunResult::Done => 0,
        RunResult::Refused => 1,
        RunResult::Failed => 2,
        RunResult::Interrupted => 3,
    };
    if rank(a) >= rank(b) { a } else { b }
}
