//! The doctor's JSON, as a program of somebody else would read it.

use serde::Deserialize;
use serde_json::Value;

/// The document that `check -o json` prints.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Report {
    /// The exit code in a word.
    pub verdict: String,
    /// Root causes.
    pub roots: Vec<Root>,
    /// What could not be read.
    pub gaps: Vec<Value>,
}

/// A root cause with its symptoms.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Root {
    /// The cause.
    pub finding: Finding,
    /// Its symptoms.
    pub symptoms: Vec<Finding>,
}

/// A finding. Everything in it takes part in comparisons of a live run with its bundle.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Finding {
    /// Stable id.
    pub id: String,
    /// Code.
    pub code: String,
    /// Severity.
    pub severity: String,
    /// Subject.
    pub subject: Subject,
    /// Nodes.
    pub nodes: Vec<String>,
    /// Cause.
    pub cause: Cause,
    /// Evidence.
    pub evidence: Vec<Value>,
    /// Ids of its causes.
    pub because_of: Vec<String>,
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Subject {
    /// Kind.
    pub kind: String,
    /// Names.
    pub names: Vec<String>,
}

/// Why.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Cause {
    /// Stable word.
    pub key: String,
    /// Sentence.
    pub text: String,
}

impl Report {
    /// `CODE cause node,node` of each root, sorted.
    pub fn summary(&self) -> Vec<String> {
        self.summary_of(|_| true)
    }

    /// The same of errors and critical findings only.
    pub fn grave(&self) -> Vec<String> {
        self.summary_of(Finding::is_grave)
    }

    /// Causes and symptoms.
    pub fn findings(&self) -> Vec<&Finding> {
        self.roots.iter().flat_map(|it| std::iter::once(&it.finding).chain(&it.symptoms)).collect()
    }

    fn summary_of(&self, wanted: impl Fn(&Finding) -> bool) -> Vec<String> {
        let mut all: Vec<String> = self
            .roots
            .iter()
            .filter(|root| wanted(&root.finding))
            .map(|root| {
                let it = &root.finding;
                format!("{} {} {}", it.code, it.cause.key, it.nodes.join(","))
            })
            .collect();
        all.sort();
        all
    }
}

impl Finding {
    /// Whether it is an error or worse.
    pub fn is_grave(&self) -> bool {
        matches!(self.severity.as_str(), "error" | "critical")
    }
}

impl Root {
    /// The pods below this root, sorted.
    pub fn pods(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.symptoms.iter().flat_map(|it| it.subject.names.iter().cloned()).collect();
        all.sort();
        all
    }
}
