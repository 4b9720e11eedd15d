//! Checks: pure functions from a [`Snapshot`] to findings. One check per file, below the folder of its group.

mod registry;

use jiff::Timestamp;

use crate::findings::{Code, Findings, Severity};
use crate::snapshot::Snapshot;

pub use registry::{ALL, find};

/// What a check may look at.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The cluster.
    pub snapshot: &'a Snapshot,
    /// The time that ages are counted from: the snapshot's, never this machine's.
    pub now: Timestamp,
}

/// One check, as data.
#[derive(Debug)]
pub struct CheckMeta {
    /// Its code.
    pub code: Code,
    /// What is wrong when it fires, in a few words.
    pub title: &'static str,
    /// The group it belongs to, for people.
    pub group: &'static str,
    /// The worst it can report.
    pub severity: Severity,
    /// What it needs to run at all. A check that lacks one is skipped, never passed.
    pub needs: &'static [Need],
    /// What a repair would take.
    pub fix: crate::plan::Applicability,
    /// The page that `explain` prints: the check's own doc comment.
    pub explain: &'static str,
    /// The check.
    pub run: fn(&Context<'_>, &mut Findings),
}

/// Data without which a check cannot run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// All nodes.
    Nodes,
    /// All pods.
    Pods,
    /// The events about pods that matter here.
    Events,
    /// DaemonSets of Calico.
    DaemonSets,
    /// How Calico is installed.
    Install,
    /// At least one node's facts.
    Hosts,
}
