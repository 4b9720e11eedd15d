//! What must hold between the parts of a cluster that Calico's eBPF data plane depends on.

mod annotation;
mod cleanup;
mod connect_time;
mod endpoint;
mod exclusive;
mod health;
mod ipvs;
mod order;
mod overrides;
mod runs;
mod served;
mod wanted;

use super::{NodeState, Picture, Real};
use crate::snapshot::{Gap, Known};

/// How much it weighs that an invariant does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It may become a fault.
    Warning,
    /// It is one.
    Error,
}

/// Whether an invariant holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// It does.
    Yes,
    /// It does not.
    No {
        /// How much that weighs.
        weight: Weight,
        /// What was seen, in sentences.
        seen: Vec<String>,
        /// What to do about it.
        todo: String,
    },
    /// Something that would tell could not be read.
    Unknown(Gap),
    /// There is nothing that it could be about.
    NotApplicable {
        /// Why.
        why: String,
    },
}

/// An invariant, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invariant {
    /// `I1`; `D1` and `D2` are about what is meant to be and what is.
    pub id: &'static str,
    /// It, as a sentence.
    pub title: &'static str,
    /// Whether it holds.
    pub holds: Holds,
}

/// An invariant, to be judged.
struct Rule {
    id: &'static str,
    title: &'static str,
    judge: fn(&Picture<'_>) -> Holds,
}

static ALL: &[&Rule] = &[
    &wanted::RULE,
    &order::RULE,
    &served::RULE,
    &cleanup::RULE,
    &exclusive::RULE,
    &annotation::RULE,
    &overrides::RULE,
    &endpoint::RULE,
    &health::RULE,
    &ipvs::RULE,
    &connect_time::RULE,
    &runs::RULE,
];

/// All of them.
pub(super) fn judge(picture: &Picture<'_>) -> Vec<Invariant> {
    let judge = |rule: &&Rule| {
        let Rule { id, title, judge } = **rule;
        Invariant { id, title, holds: judge(picture) }
    };
    ALL.iter().map(judge).collect()
}

fn error(seen: Vec<String>, todo: impl Into<String>) -> Holds {
    Holds::No { weight: Weight::Error, seen, todo: todo.into() }
}

fn warning(seen: Vec<String>, todo: impl Into<String>) -> Holds {
    Holds::No { weight: Weight::Warning, seen, todo: todo.into() }
}

fn not_applicable(why: &str) -> Holds {
    Holds::NotApplicable { why: why.to_owned() }
}

/// For what is about eBPF alone: it is off, and meant to be.
fn off() -> Holds {
    not_applicable("eBPF is off, as it is meant to be")
}

/// `node1, node2`; above five: `node1, node2, node3 (+4)`.
fn named(nodes: &[&str]) -> String {
    if nodes.len() <= 5 {
        return nodes.join(", ");
    }
    let first: Vec<&str> = nodes.iter().take(3).copied().collect();
    format!("{} (+{})", first.join(", "), nodes.len() - 3)
}

impl Picture<'_> {
    /// Names of the nodes of which this is true.
    fn nodes_that(&self, is: impl Fn(&NodeState) -> bool) -> Vec<&str> {
        self.nodes.iter().filter(|(_, node)| is(node)).map(|(name, _)| name.as_str()).collect()
    }

    /// Why a node could not be seen, of the first one.
    fn unseen(&self) -> Option<Gap> {
        self.nodes.values().find_map(|node| match &node.real {
            Real::Unknown(gap) => Some(gap.clone()),
            _ => None,
        })
    }

    /// Nodes where eBPF is on, with a fact of theirs that is `true` where something is wrong: those of which it is, or
    /// why that is not known of one, or nobody.
    fn on_nodes(&self, is_wrong: impl Fn(&str) -> Known<bool>) -> Known<Vec<&str>> {
        let mut wrong = Vec::new();
        let mut missing = None;
        for name in self.nodes_that(|node| node.real == Real::On) {
            match is_wrong(name) {
                Known::Known(true) => wrong.push(name),
                Known::Unknown(gap) => missing = missing.or(Some(gap)),
                _ => {}
            }
        }
        match missing {
            Some(gap) if wrong.is_empty() => Known::Unknown(gap),
            _ => Known::Known(wrong),
        }
    }
}
