//! Looking at hosts themselves, through node pods: only when the user asked for it, because that creates something.

use std::collections::BTreeSet;

use crate::node::pod::NodePods;

/// Which nodes are looked at from their host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that calico-node cannot tell about.
    Unreachable,
    /// These, and no others.
    Listed(BTreeSet<String>),
    /// All that are looked at in any way.
    All,
}

/// How hosts are looked at.
#[derive(Clone, Debug)]
pub struct HostProbes {
    /// Owner of the pods. Whoever made it closes it.
    pub pods: NodePods,
    /// Which nodes.
    pub which: Which,
    /// Leave the pods open for what comes next; no more than may be started at once.
    pub keep: bool,
}

impl HostProbes {
    /// Whether `node` is looked at, when calico-node's own probe succeeded or not.
    pub(super) fn includes(&self, node: &str, is_told: bool) -> bool {
        match &self.which {
            Which::Unreachable => !is_told,
            Which::Listed(nodes) => nodes.contains(node),
            Which::All => true,
        }
    }

    /// Nodes that are looked at whatever else is chosen.
    pub(super) fn listed(&self) -> impl Iterator<Item = &String> {
        match &self.which {
            Which::Listed(nodes) => Some(nodes.iter()),
            Which::Unreachable | Which::All => None,
        }
        .into_iter()
        .flatten()
    }
}
