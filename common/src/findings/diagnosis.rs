//! Root causes and their symptoms: one cause, N symptoms, one block.

use serde::Serialize;

use super::{Code, Finding, FindingId, Unjudged};

/// What a whole run of checks says.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// Root causes, worst first, then by code and id.
    pub roots: Vec<Root>,
    /// What each check came to, in the registry's order.
    pub checks: Vec<CheckOutcome>,
    /// Everything that could not be judged, sorted.
    pub unjudged: Vec<Unjudged>,
}

/// A finding that no other finding explains, with those it explains.
#[derive(Clone, Debug, Serialize)]
pub struct Root {
    /// The cause.
    pub finding: Finding,
    /// Its symptoms, sorted by code and id.
    pub symptoms: Vec<Finding>,
}

/// What one check came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckOutcome {
    /// The check.
    pub code: Code,
    /// Its result.
    pub state: CheckState,
}

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// All that it looks at was seen, and nothing was wrong.
    Passed,
    /// It found something.
    Found,
    /// It found nothing, but did not see everything.
    Partial,
    /// It could not run.
    Skipped,
}

impl Diagnosis {
    /// Every finding, roots and symptoms.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.roots.iter().flat_map(|root| std::iter::once(&root.finding).chain(&root.symptoms))
    }

    /// The finding with this id.
    pub fn find(&self, id: &FindingId) -> Option<&Finding> {
        self.findings().find(|finding| &finding.id == id)
    }
}
