//! Plans that take Calico off nodes.

mod all_state;
mod drain;
mod exclusion;
mod host;
mod order;
#[cfg(test)]
#[cfg(feature = "live")]
mod tests;

use crate::findings::Evidence;
use crate::residue::Inventory;
use crate::slim::Node;
use crate::snapshot::Snapshot;

use super::safeguards::Circumstances;
use super::{Applicability, Guard, ObjectRef, PlanId, Step, StepId, Target, Undo, Verification};

pub use all_state::{EVICTION_SECONDS, plan_all_state};

/// What is to be done, and all that is known.
#[derive(Clone, Copy, Debug)]
pub struct Leaving<'a> {
    /// Identity of the plan and of its run.
    pub run: &'a PlanId,
    /// Program and version.
    pub made_by: &'a str,
    /// The cluster.
    pub target: &'a Target,
    /// The cluster as it is.
    pub snapshot: &'a Snapshot,
    /// What else was asked of it.
    pub circumstances: &'a Circumstances,
    /// The nodes, and what was found on each; nothing where nobody looked.
    pub nodes: &'a [(String, Option<Inventory>)],
    /// Directory on this machine in which what the nodes have is saved first.
    pub backup: &'a str,
    /// So many nodes may fail before nothing more is begun.
    pub max_failures: u32,
}

/// One node that Calico leaves.
#[derive(Clone, Copy)]
struct Case<'a> {
    leaving: &'a Leaving<'a>,
    node: &'a Node,
    found: Option<&'a Inventory>,
}

impl<'a> Case<'a> {
    fn name(&self) -> &'a str {
        &self.node.metadata.name
    }

    /// A step on the node, to be completed: nothing is verified, and nothing can be taken back.
    fn step(&self, id: &str, title: &str, action: super::Action) -> Step {
        let name = self.name();
        Step {
            node: Some(name.to_owned()),
            ..step(self.leaving, &format!("{id}/{name}"), &format!("{title} on {name}"), action)
        }
    }

    /// The Node object.
    fn object(&self) -> ObjectRef {
        ObjectRef {
            group: String::new(),
            version: "v1".to_owned(),
            plural: "nodes".to_owned(),
            namespace: String::new(),
            name: self.name().to_owned(),
        }
    }

    /// Why what is removed from the node needs not be put back.
    fn no_undo(&self) -> Undo {
        match self.leaving.circumstances.node_agent {
            crate::snapshot::Known::Absent => {
                Undo::Impossible { why: "what was there is in the saved archive".to_owned() }
            }
            _ => Undo::NotNeeded {
                why: "calico-node makes it anew once it may come back to the node".to_owned(),
            },
        }
    }
}

fn step(leaving: &Leaving<'_>, id: &str, title: &str, action: super::Action) -> Step {
    Step {
        id: StepId(id.to_owned()),
        title: title.to_owned(),
        node: None,
        action,
        guards: vec![Guard::SameCluster { uid: leaving.target.cluster_uid.clone() }],
        undo: Undo::Impossible { why: "what is gone stays gone".to_owned() },
        verify: Vec::new(),
        after: Vec::new(),
        resolves: Vec::new(),
        applicability: Applicability::Ask,
    }
}

fn within(within_seconds: u64, condition: super::Condition) -> Verification {
    Verification { condition, within_seconds }
}

/// The lines of an objection or of a finding, as a sentence's end.
pub fn in_words(evidence: &[Evidence]) -> String {
    let line = |it: &Evidence| format!("{}: {}", it.source, it.excerpt);
    evidence.iter().map(line).collect::<Vec<_>>().join("; ")
}
