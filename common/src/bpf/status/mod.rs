//! What a cluster's data plane is meant to be, what it is, and what must hold in between.

mod class;
mod endpoint;
#[cfg(test)]
pub(crate) mod fixtures;
mod invariants;
mod kernel;
mod node;
mod selector;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use class::ClusterClass;
pub use endpoint::{EndpointMode, EndpointUse};
pub use invariants::{Holds, Invariant, Weight};
pub use node::{NodeState, Real};
pub use settings::{Setting, nodes_that_keep_rules};

use super::kube_proxy::{self, Distribution, KubeProxyState};
use super::requirements::CalicoVersion;
use super::{Situation, text};
use crate::calico::names::LEASE_NAME;
use crate::snapshot::{InstallMethod, Known};
use settings::{BPF_ENABLED, setting};

/// What is wished for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whether eBPF is to be on.
    pub on: bool,
    /// Who says so.
    pub by: String,
}

/// A run of this tool that changes the cluster, or that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRun {
    /// Its id.
    pub id: String,
    /// Program, version and verb.
    pub made_by: String,
    /// True while it goes on.
    pub goes_on: bool,
    /// `3 of 9 steps are done`
    pub progress: String,
}

/// The data plane of a cluster.
#[derive(Clone, Debug)]
pub struct EbpfStatus {
    /// What the cluster as a whole is meant to be.
    pub wanted: Known<Wanted>,
    /// What it is.
    pub class: ClusterClass,
    /// How calico-node reaches the API server.
    pub endpoint: Known<EndpointUse>,
    /// Whether kube-proxy serves.
    pub kube_proxy: KubeProxyState,
    /// Whose it is.
    pub distribution: &'static Distribution,
    /// The nodes that run Linux, by name.
    pub nodes: BTreeMap<String, NodeState>,
    /// What must hold, and whether it does.
    pub invariants: Vec<Invariant>,
}

/// What invariants are judged by.
struct Picture<'a> {
    situation: &'a Situation<'a>,
    runs: &'a [OpenRun],
    wanted: &'a Known<Wanted>,
    endpoint: &'a Known<EndpointUse>,
    kube_proxy: &'a KubeProxyState,
    nodes: &'a BTreeMap<String, NodeState>,
}

impl EbpfStatus {
    /// What was seen means this. `runs` are those that this machine remembers and that did not end.
    pub fn of(situation: &Situation<'_>, runs: &[OpenRun]) -> Self {
        let wanted = wanted(situation);
        let endpoint = endpoint::of(situation);
        let kube_proxy = kube_proxy::state(situation);
        let nodes: BTreeMap<String, NodeState> = situation
            .nodes
            .iter()
            .map(|(name, facts)| (name.clone(), node::state(situation, name, facts)))
            .collect();
        let picture = Picture {
            situation,
            runs,
            wanted: &wanted,
            endpoint: &endpoint,
            kube_proxy: &kube_proxy,
            nodes: &nodes,
        };
        let invariants = invariants::judge(&picture);
        let class = class::of(&picture);
        let distribution = kube_proxy::kind(situation);
        Self { wanted, class, endpoint, kube_proxy, distribution, nodes, invariants }
    }
}

impl Picture<'_> {
    /// Whether eBPF is on somewhere; none when no node is known to be on and some are not known.
    fn is_on_anywhere(&self) -> Option<bool> {
        if self.nodes.values().any(|node| node.real == Real::On) {
            return Some(true);
        }
        let is_unknown = |node: &NodeState| matches!(node.real, Real::Unknown(_));
        if self.nodes.is_empty() || self.nodes.values().any(is_unknown) {
            return None;
        }
        Some(false)
    }

    /// Whether eBPF is on somewhere or meant to be; what is not known counts as that.
    fn is_about_ebpf(&self) -> bool {
        let is_wanted = self.wanted.known().is_none_or(|it| it.on)
            || self.nodes.values().any(|it| it.wanted.known().is_none_or(|it| it.on));
        is_wanted || self.is_on_anywhere() != Some(false)
    }

    /// Whether a run goes on that may be about to change what is seen.
    fn run_goes_on(&self) -> bool {
        self.runs.iter().any(|it| it.goes_on) || self.lease_holder().is_some()
    }

    /// Who holds this tool's Lease.
    fn lease_holder(&self) -> Option<&str> {
        let snapshot = self.situation.snapshot;
        let ours = snapshot.leases.items.iter().find(|it| it.metadata.name == LEASE_NAME)?;
        let holder = ours.spec.holder_identity.as_deref().filter(|it| !it.is_empty())?;
        ours.expires_at().is_some_and(|at| at >= snapshot.taken).then_some(holder)
    }

    /// What Felix is told everywhere but where a node has settings of its own.
    fn default_setting(&self, field: &str) -> Known<Setting> {
        settings::of_default(self.situation, field)
    }
}

/// What the cluster is meant to be: the operator's word counts where there is one.
fn wanted(situation: &Situation<'_>) -> Known<Wanted> {
    let method = situation.snapshot.install.as_ref().map(|it| it.method);
    if method == Known::Known(InstallMethod::Operator) {
        match &situation.installation {
            Known::Known(installation) => {
                let plane = text(installation, "/spec/calicoNetwork/linuxDataplane");
                let plane = plane.unwrap_or("Iptables");
                let by = format!("Installation default (linuxDataplane: {plane})");
                return Known::Known(Wanted { on: plane == "BPF", by });
            }
            Known::Unknown(gap) => return Known::Unknown(gap.clone()),
            Known::Absent => {}
        }
    }
    from_setting(settings::of_default(situation, BPF_ENABLED))
}

/// What Felix on a node is told.
fn wanted_on(situation: &Situation<'_>, node: &str) -> Known<Wanted> {
    from_setting(setting(situation, node, BPF_ENABLED))
}

fn from_setting(setting: Known<Setting>) -> Known<Wanted> {
    match setting {
        Known::Known(it) => Known::Known(Wanted { on: it.value == true, by: it.by }),
        Known::Absent => Known::Known(Wanted { on: false, by: "Felix's default".to_owned() }),
        Known::Unknown(gap) => Known::Unknown(gap),
    }
}

/// The release of Calico that is installed.
fn calico_version(situation: &Situation<'_>) -> Option<CalicoVersion> {
    CalicoVersion::of_install(situation).known().copied()
}
