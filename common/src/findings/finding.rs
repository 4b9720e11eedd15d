//! One finding.

use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Code, Evidence, Severity};

/// Identifies a finding across runs, and across a live run and its bundle: code, cause and subjects decide it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FindingId(String);

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How sure the check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// The evidence leaves no other explanation.
    Certain,
    /// Another explanation would be odd.
    Likely,
    /// One explanation of several.
    Possible,
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Possible => "possible",
        })
    }
}

/// What a finding is about: one or more objects of one kind, sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Subject {
    /// Their kind.
    pub kind: SubjectKind,
    /// Their names; pods as `namespace/name`. Empty for the cluster as a whole.
    pub names: Vec<String>,
}

/// Kinds of subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SubjectKind {
    /// The cluster as a whole.
    Cluster,
    /// Nodes.
    Node,
    /// Pods.
    Pod,
    /// Namespaced or cluster-wide objects of another kind, as `Kind/name` or `Kind/namespace/name`.
    Object,
}

impl Subject {
    /// The cluster as a whole.
    pub fn cluster() -> Self {
        Self { kind: SubjectKind::Cluster, names: Vec::new() }
    }

    /// Nodes.
    pub fn nodes(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::of(SubjectKind::Node, names)
    }

    /// Pods, as `namespace/name`.
    pub fn pods(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::of(SubjectKind::Pod, names)
    }

    /// Subjects of a kind; sorts and removes doubles.
    pub fn of(kind: SubjectKind, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut names: Vec<String> = names.into_iter().map(Into::into).collect();
        names.sort();
        names.dedup();
        Self { kind, names }
    }
}

/// Why it is so: a key that programs may rely on, and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Stable word, e.g. `service-account-recreated`. Part of the finding's id.
    pub key: &'static str,
    /// The sentence; empty when the title says it all.
    pub text: String,
}

/// Something that is wrong, and how we know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable identity.
    pub id: FindingId,
    /// Which check, which fault.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// How sure.
    pub confidence: Confidence,
    /// About what.
    pub subject: Subject,
    /// Nodes on which it shows or acts, sorted: what symptoms are matched by.
    pub nodes: Vec<String>,
    /// A sentence that a colleague would say aloud.
    pub title: String,
    /// Why.
    pub cause: Cause,
    /// What follows from it, one sentence; empty when nothing more is to be said ("the next pod … will hang as well").
    pub consequence: String,
    /// What was seen, most telling first.
    pub evidence: Vec<Evidence>,
    /// Findings that this one is a symptom of.
    pub because_of: Vec<FindingId>,
    /// Name of the remedy that repairs it, if we have one (see `plan`).
    pub remedy: Option<crate::plan::RemedyName>,
}

impl Finding {
    /// A finding without evidence, consequence or remedy yet; the caller fills the public fields.
    pub fn new(
        code: Code,
        severity: Severity,
        subject: Subject,
        title: impl Into<String>,
        cause: Cause,
    ) -> Self {
        let nodes = match subject.kind {
            SubjectKind::Node => subject.names.clone(),
            _ => Vec::new(),
        };
        Self {
            id: identify(code, &cause, &subject),
            code,
            severity,
            confidence: Confidence::Certain,
            subject,
            nodes,
            title: title.into(),
            cause,
            consequence: String::new(),
            evidence: Vec::new(),
            because_of: Vec::new(),
            remedy: None,
        }
    }
}

/// 48 bits of SHA-256: enough for the thousands of findings that a cluster can have.
fn identify(code: Code, cause: &Cause, subject: &Subject) -> FindingId {
    let mut hash = Sha256::new();
    for part in [code.0, cause.key].into_iter().chain(subject.names.iter().map(String::as_str)) {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest = hash.finalize();
    let hex: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    FindingId(format!("{code}-{hex}"))
}
