//! What to read.

use crate::checks::Need;

/// Which data to read, by purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Nodes.
    pub nodes: bool,
    /// Pods of all namespaces.
    pub pods: bool,
    /// Events about sandboxes, networks and probes of pods.
    pub events: bool,
    /// DaemonSets and Deployments of Calico, and Calico's own objects: how it is installed.
    pub install: bool,
    /// ServiceAccounts, the cluster's CA and signing keys: what credentials are compared with.
    pub credentials: bool,
    /// The Lease of a run of ours that changes the cluster.
    pub lease: bool,
    /// What the nodes themselves say, through exec into calico-node.
    pub probes: bool,
    /// What Calico IPAM stores.
    pub addresses: Addresses,
}

/// How much of what Calico IPAM stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Addresses {
    /// Nothing.
    #[default]
    None,
    /// Blocks, settings and reservations: how many addresses are used.
    Blocks,
    /// Handles, affinities, Services and settings of the collector as well: whether they should be.
    All,
}

impl Want {
    /// Everything that the doctor looks at.
    pub const ALL: Self = Self {
        nodes: true,
        pods: true,
        events: true,
        install: true,
        credentials: true,
        lease: true,
        probes: true,
        addresses: Addresses::None,
    };

    /// What checks with these needs look at.
    pub fn of(needs: impl IntoIterator<Item = Need>) -> Self {
        let none = Self {
            nodes: false,
            pods: false,
            events: false,
            install: false,
            credentials: false,
            lease: false,
            probes: false,
            addresses: Addresses::None,
        };
        needs.into_iter().fold(none, |want, need| match need {
            Need::Nodes => Self { nodes: true, ..want },
            // Whether a pod hangs is told by its node's state as well.
            Need::Pods => Self { nodes: true, pods: true, lease: true, ..want },
            Need::Events => Self { events: true, ..want },
            Need::Install | Need::Pools => Self { install: true, ..want },
            // Whether they are collected is told by Deployments.
            Need::Addresses => Self { install: true, addresses: Addresses::All, ..want },
            // Probes are run in pods on nodes, and judged by what the cluster would accept.
            Need::Hosts => Self { events: want.events, addresses: want.addresses, ..Self::ALL },
        })
    }
}
