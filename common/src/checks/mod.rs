//! Checks: pure functions from a [`Snapshot`] to findings. One check per file, below the folder of its group.

/// Defines a check. Its doc comment becomes the page that `explain` prints.
macro_rules! check {
    (
        $(#[doc = $page:literal])+
        $name:ident: $code:literal, $title:literal, $group:literal, $severity:ident,
        needs [$($need:ident),*], fix $fix:ident, $run:path
    ) => {
        $(#[doc = $page])+
        pub(in crate::checks) static $name: $crate::checks::CheckMeta = $crate::checks::CheckMeta {
            code: $crate::findings::Code($code),
            title: $title,
            group: $group,
            severity: $crate::findings::Severity::$severity,
            needs: &[$($crate::checks::Need::$need),*],
            fix: $crate::plan::Applicability::$fix,
            explain: concat!($($page, "\n"),+),
            run: $run,
        };
    };
}

mod acc;
mod calico_node;
mod cni;
mod ins;
mod ipm;
mod node_files;
mod own;
mod pod;
mod rbt;
mod registry;
mod run;
mod wrk;

use jiff::Timestamp;

use crate::findings::{Code, Findings, Severity};
use crate::slim::{Node, NodeCondition};
use crate::snapshot::Snapshot;

pub use pod::kubelet_text;
pub use registry::{ALL, IPAM, find};
pub use run::{diagnose, diagnose_by};

/// What a check may look at.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The cluster.
    pub snapshot: &'a Snapshot,
    /// The time that ages are counted from: the snapshot's, never this machine's.
    pub now: Timestamp,
}

impl<'a> Context<'a> {
    /// The Linux nodes that the cluster knows, sorted by name.
    fn linux_nodes(&self) -> Vec<&'a Node> {
        let mut nodes: Vec<_> =
            self.snapshot.nodes.items.iter().filter(|node| node.is_linux()).collect();
        nodes.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        nodes
    }

    /// Condition Ready of `node`; none when the cluster does not know the node, or the node never reported.
    fn node_ready(&self, node: &str) -> Option<&'a NodeCondition> {
        let nodes = &self.snapshot.nodes.items;
        nodes.iter().find(|it| it.metadata.name == node)?.condition("Ready")
    }
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
    /// All pools.
    Pools,
    /// All blocks of addresses.
    Addresses,
    /// How Calico is installed.
    Install,
    /// At least one node's facts.
    Hosts,
}
