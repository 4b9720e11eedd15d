//! Root causes and their symptoms: one cause, N symptoms, one block.

use std::collections::BTreeSet;

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

    /// Leaves out what is about other nodes than `nodes`, out of `known` ones, and gives the number of root causes that are
    /// left out. What a person may not read stays in: without that nothing is known of any node.
    pub fn limit_to(&mut self, nodes: &BTreeSet<String>, known: &BTreeSet<&str>) -> usize {
        let before = self.roots.len();
        let touches = |it: &Finding| it.nodes.iter().any(|node| nodes.contains(node));
        let is_access = |it: &Finding| it.nodes.is_empty() && it.code.0.starts_with("CAL-ACC-");
        self.roots.retain(|root| {
            is_access(&root.finding) || touches(&root.finding) || root.symptoms.iter().any(touches)
        });
        let is_elsewhere =
            |it: &Unjudged| known.contains(it.subject.as_str()) && !nodes.contains(&it.subject);
        self.unjudged.retain(|it| !is_elsewhere(it));
        let found: BTreeSet<Code> = self.findings().map(|finding| finding.code).collect();
        for check in &mut self.checks {
            if check.state == CheckState::Found && !found.contains(&check.code) {
                check.state = CheckState::Passed;
            }
        }
        before - self.roots.len()
    }

    /// The finding with this id.
    pub fn find(&self, id: &FindingId) -> Option<&Finding> {
        self.findings().find(|finding| &finding.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::{Cause, Severity, Subject};
    use crate::snapshot::{Gap, GapReason};

    fn root(code: &'static str, subject: Subject) -> Root {
        let cause = Cause { key: "test", text: String::new() };
        let finding = Finding::new(Code(code), Severity::Error, subject, "title", cause);
        Root { finding, symptoms: Vec::new() }
    }

    #[test]
    fn other_nodes_are_left_out_and_counted() {
        let mut with_symptom = root("CAL-CNI-001", Subject::nodes(["n1"]));
        with_symptom.symptoms.push(root("CAL-POD-001", Subject::nodes(["n2"])).finding);
        let roots = vec![
            with_symptom,
            root("CAL-CNI-004", Subject::nodes(["n1"])),
            root("CAL-CNI-006", Subject::nodes(["n1", "n2"])),
            root("CAL-ACC-002", Subject::cluster()),
            root("CAL-INS-001", Subject::cluster()),
        ];
        let gap = || Gap::new("x", GapReason::Unreachable, "");
        let unjudged = ["", "n1", "n2", "shop/web"].map(|subject| Unjudged {
            code: Code("CAL-POD-003"),
            subject: subject.into(),
            gap: gap(),
        });
        let state = |code| CheckOutcome { code: Code(code), state: CheckState::Found };
        let checks = vec![state("CAL-CNI-004"), state("CAL-CNI-006")];
        let mut it = Diagnosis { roots, checks, unjudged: unjudged.to_vec() };
        let nodes = BTreeSet::from(["n2".to_owned()]);
        assert_eq!(it.limit_to(&nodes, &BTreeSet::from(["n1", "n2"])), 2);
        let codes: Vec<_> = it.roots.iter().map(|root| root.finding.code.0).collect();
        assert_eq!(codes, ["CAL-CNI-001", "CAL-CNI-006", "CAL-ACC-002"]);
        let subjects: Vec<_> = it.unjudged.iter().map(|it| it.subject.as_str()).collect();
        assert_eq!(subjects, ["", "n2", "shop/web"]);
        let states: Vec<_> = it.checks.iter().map(|it| it.state).collect();
        assert_eq!(states, [CheckState::Passed, CheckState::Found]);
    }
}
