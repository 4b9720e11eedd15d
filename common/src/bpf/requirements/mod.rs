//! What a cluster needs for the eBPF data plane, and which of it each node and the cluster have.
//!
//! A requirement is judged from a [`Situation`] alone. What could not be read is unknown, never fine. A blocker is a fact
//! that makes the change fail or harms the cluster; what only may do so is a warning.

mod capacity;
mod host;
mod install;
mod interfaces;
mod kernel;
mod kube_proxy;
mod neighbours;
mod network;
mod nodes;
mod operator_status;
mod settings;
mod versions;
mod webhooks;

#[cfg(test)]
pub(crate) mod fixtures;

use std::collections::BTreeSet;

use serde::Serialize;

pub use versions::{CalicoVersion, Kernel};

use super::load::Loaded;
use super::{BpfFacts, Situation};
use crate::snapshot::{Gap, Known};

/// How well a requirement is met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// It is met.
    Fine,
    /// It is met; something is worth knowing.
    Info,
    /// The change can be made; something may go wrong.
    Warning,
    /// It could not be judged.
    Unknown(Gap),
    /// The change must not be made.
    Blocker,
}

/// What a judgement is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The cluster as a whole.
    Cluster,
    /// This node.
    Node(String),
}

/// One requirement of one node, or of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The requirement.
    pub requirement: &'static Requirement,
    /// What it is about.
    pub subject: Subject,
    /// How well it is met.
    pub grade: Grade,
    /// Why: a fact.
    pub reason: String,
    /// What to do about it; empty when there is nothing to do.
    pub remedy: String,
}

/// A requirement.
#[derive(Debug)]
pub struct Requirement {
    /// Its name, which stays: `kernel`, `interfaces`.
    pub id: &'static str,
    /// What is required, in a few words.
    pub title: &'static str,
    /// Whether the change must not be made while it is not known to be met.
    pub essential: bool,
    judge: fn(&Situation<'_>, &mut Findings),
}

impl PartialEq for Requirement {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Requirement {}

/// All requirements, in the order in which they are shown. Kept by hand.
pub static ALL: &[&Requirement] = &[
    &kernel::KERNEL,
    &kernel::KNOWN_BAD,
    &kernel::ARCHITECTURE,
    &kernel::TYPE_INFORMATION,
    &kernel::OPTIONS,
    &host::BPF_FILE_SYSTEM,
    &host::CGROUP_V2,
    &host::HARDENING,
    &host::FOREIGN_PROGRAMS,
    &interfaces::INTERFACES,
    &nodes::OPERATING_SYSTEM,
    &nodes::READY,
    &nodes::ONE_VERSION,
    &install::METHOD,
    &install::OPERATOR,
    &install::AUTO_MODE,
    &install::PRIVILEGED,
    &install::DATASTORE,
    &install::MEMORY,
    &settings::VARIABLE,
    &settings::ANNOTATION,
    &operator_status::NOT_DEGRADED,
    &settings::OVERRIDES,
    &settings::MARK_MASK,
    &settings::FLOATING_ADDRESSES,
    &kube_proxy::IPVS,
    &kube_proxy::OWNER,
    &kube_proxy::HEALTH_PORT,
    &network::ENCAPSULATION,
    &network::VXLAN_PORT,
    &network::IPV6,
    &network::SCTP,
    &capacity::CAPACITY,
    &neighbours::NODE_LOCAL_DNS,
    &neighbours::MESH,
    &webhooks::WEBHOOKS,
];

/// Judges every requirement, of the cluster and of the nodes that were looked at.
pub fn judge(situation: &Situation<'_>) -> Vec<Judgement> {
    let judged = |requirement: &&'static Requirement| {
        let mut findings = Findings { requirement, found: Vec::new() };
        (requirement.judge)(situation, &mut findings);
        findings.found
    };
    ALL.iter().flat_map(judged).collect()
}

/// What a kernel said to a program that does nothing: only tried when the user asks for it, so it is not one of [`ALL`].
pub static LOAD: Requirement = Requirement {
    id: "load-test",
    title: "a kernel that takes a program and attaches it",
    essential: true,
    judge: |_, _| (),
};

/// Judges a load test.
pub fn judge_load(subject: Subject, loaded: &Loaded) -> Judgement {
    let (grade, reason, remedy) = match loaded {
        Known::Known(Ok(())) => (Grade::Fine, "a program was loaded and attached".to_owned(), ""),
        Known::Known(Err(said)) => (
            Grade::Blocker,
            format!("a program that does nothing was refused: {said}"),
            "see the kernel's log; lockdown, SELinux or the kernel's options may forbid it",
        ),
        Known::Unknown(gap) => (Grade::Unknown(gap.clone()), gap.detail.clone(), ""),
        Known::Absent => (Grade::Info, "it was not tried".to_owned(), ""),
    };
    Judgement { requirement: &LOAD, subject, grade, reason, remedy: remedy.to_owned() }
}

/// Judgements about these nodes and about the cluster.
pub fn limited_to(judgements: Vec<Judgement>, nodes: &BTreeSet<String>) -> Vec<Judgement> {
    let is_kept = |it: &Judgement| match &it.subject {
        Subject::Cluster => true,
        Subject::Node(name) => nodes.contains(name),
    };
    judgements.into_iter().filter(is_kept).collect()
}

impl Judgement {
    /// Whether the change must not be made because of it.
    pub fn is_blocker(&self) -> bool {
        self.grade == Grade::Blocker
    }

    /// Whether something that must be known is not.
    pub fn is_missing(&self) -> bool {
        self.requirement.essential && matches!(self.grade, Grade::Unknown(_))
    }
}

/// What is found about one requirement.
struct Findings {
    requirement: &'static Requirement,
    found: Vec<Judgement>,
}

impl Findings {
    fn add(&mut self, subject: Subject, grade: Grade, reason: String, remedy: &str) {
        let requirement = self.requirement;
        self.found.push(Judgement {
            requirement,
            subject,
            grade,
            reason,
            remedy: remedy.to_owned(),
        });
    }

    fn cluster(&mut self, grade: Grade, reason: impl Into<String>, remedy: &str) {
        self.add(Subject::Cluster, grade, reason.into(), remedy);
    }

    fn node(&mut self, name: &str, grade: Grade, reason: impl Into<String>, remedy: &str) {
        self.add(Subject::Node(name.to_owned()), grade, reason.into(), remedy);
    }

    fn unknown(&mut self, gap: &Gap) {
        self.cluster(Grade::Unknown(gap.clone()), gap.detail.clone(), "");
    }

    fn unknown_on(&mut self, name: &str, gap: &Gap) {
        self.node(name, Grade::Unknown(gap.clone()), gap.detail.clone(), "");
    }

    /// For each node whose look came: what `judge` says about a fact of it. A fact that is absent says nothing.
    fn each<T>(
        &mut self,
        situation: &Situation<'_>,
        fact: impl Fn(&BpfFacts) -> Known<T>,
        judge: impl Fn(&mut Self, &str, T),
    ) {
        for (name, facts) in &situation.nodes {
            match facts.as_ref().and_then(&fact) {
                Known::Known(value) => judge(self, name, value),
                Known::Absent => {}
                Known::Unknown(gap) => self.unknown_on(name, &gap),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_refused_blocks() {
        let of = |loaded: &Loaded| judge_load(Subject::Node("n".into()), loaded);
        assert!(of(&Known::Known(Err("denied".into()))).is_blocker());
        assert_eq!(of(&Known::Known(Ok(()))).grade, Grade::Fine);
        assert!(of(&fixtures::unknown()).is_missing(), "who asked for it wants to know");
    }

    #[test]
    fn ids_are_unique_words() {
        let ids: BTreeSet<_> = ALL.iter().map(|it| it.id).collect();
        assert_eq!(ids.len(), ALL.len());
        assert!(ids.iter().all(|id| {
            id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        }));
    }

    #[test]
    fn the_document_names_all_of_them() {
        let document = include_str!("../../../../docs/preflight.md");
        for requirement in ALL.iter().copied().chain([&LOAD]) {
            let essential = if requirement.essential { "yes" } else { "" };
            let row = format!("| `{}` | {} | {essential} |", requirement.id, requirement.title);
            assert!(document.contains(&row), "docs/preflight.md lacks:\n{row}");
        }
    }

    #[test]
    fn an_ordinary_cluster_has_no_blocker_and_lacks_nothing() {
        let snapshot = fixtures::snapshot();
        let found = judge(&fixtures::situation(&snapshot));
        let bad: Vec<_> = found
            .iter()
            .filter(|it| !matches!(it.grade, Grade::Fine | Grade::Info))
            .map(|it| (it.requirement.id, &it.subject, &it.grade, &it.reason))
            .collect();
        assert!(bad.is_empty(), "{bad:#?}");
        let said: BTreeSet<_> = found.iter().map(|it| it.requirement.id).collect();
        let silent: Vec<_> =
            ALL.iter().filter(|it| !said.contains(it.id)).map(|it| it.id).collect();
        assert!(silent.is_empty(), "{silent:?}");
    }

    #[test]
    fn where_nothing_is_known_nothing_is_fine_and_nothing_blocks() {
        let snapshot = crate::snapshot::SnapshotBuilder::new().finish(jiff::Timestamp::UNIX_EPOCH);
        let found = judge(&fixtures::nothing_known(&snapshot));
        for it in &found {
            let is_open = matches!(it.grade, Grade::Unknown(_));
            assert!(is_open, "{} {:?} {}", it.requirement.id, it.grade, it.reason);
        }
        assert!(found.iter().any(Judgement::is_missing));
    }
}
