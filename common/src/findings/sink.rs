//! Where checks put what they find, and what they could not judge.

use serde::Serialize;

use super::{Code, Finding};
use crate::snapshot::Gap;

/// Collects the findings of a run.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Found.
    pub found: Vec<Finding>,
    /// Not judged.
    pub unjudged: Vec<Unjudged>,
}

/// Something that a check would have looked at, and could not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unjudged {
    /// The check.
    pub code: Code,
    /// What was not judged: a node, a pod; empty when the whole check could not run.
    pub subject: String,
    /// Why.
    pub gap: Gap,
}

impl Findings {
    /// Reports a fault.
    pub fn report(&mut self, finding: Finding) {
        self.found.push(finding);
    }

    /// Says that `subject` was not judged by `code`. Never a pass.
    pub fn not_judged(&mut self, code: Code, subject: impl Into<String>, gap: Gap) {
        self.unjudged.push(Unjudged { code, subject: subject.into(), gap });
    }
}
