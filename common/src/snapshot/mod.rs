//! The one picture of a cluster that everything else reasons about.
//!
//! A [`Snapshot`] is built from raw [`Record`]s, is never fetched again, and knows what it does not know.

mod addresses;
mod agent;
mod answers;
mod builder;
#[cfg(test)]
mod builder_tests;
mod conflist;
mod control_plane;
mod coverage;
mod facts;
mod flavour;
mod host;
#[cfg(test)]
mod host_tests;
mod install;
mod keys;
mod known;
mod kubeconfig;
mod link;
mod list;
mod listing;
mod ls;
mod path;
mod probe;
mod record;
mod redaction;
mod route;
mod runtime_config;
mod sandbox;
mod scrub;
mod secret;
mod service;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

pub use addresses::Addresses;
pub use builder::{KINDS, SnapshotBuilder};
pub use conflist::{CalicoPlugin, ConfigurationProblem, NetworkConfiguration};
pub use control_plane::{Certificate, ControlPlane, STATIC_PODS};
pub use coverage::{Coverage, Form};
pub use host::{AgentHealth, CniKubeconfig, FileEntry, HostFacts, TokenFacts, Vantage};
pub use install::{Install, InstallMethod};
pub use keys::SigningKeys;
pub use known::{Gap, GapReason, Known};
pub use link::{Link, Vxlan};
pub use list::value as parse_document;
pub use listing::Listing;
pub use ls::parse as parse_listing;
pub use path::gap_matches;
pub use probe::{ProbeFault, Section, Sections, parse as parse_probe};
pub use record::{Extent, Provenance, Record, RecordKey, Resource, Sink};
pub use redaction::redact_object;
pub use route::BlockRoutes;
pub use runtime_config::RuntimeConfig;
pub use sandbox::Sandbox;
pub use secret::{REDACTED, without_secrets};
pub use service::{Service, Unit};

use crate::calico::credentials::ClusterCredentials;
use crate::calico::{ClusterInformation, IpPool, names};
use crate::slim::{
    ConfigMap, DaemonSet, Deployment, Event, Lease, Namespace, Node, Pod, ServiceAccount,
};

/// Everything that was observed of one cluster at one time.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// When the observation ended. Checks know no other clock.
    pub taken: Timestamp,
    /// Which cluster this is.
    pub cluster: ClusterIdentity,
    /// Which API group holds Calico's objects.
    pub flavour: Known<Flavour>,
    /// How Calico was installed, and where.
    pub install: Known<Install>,
    /// Nodes of the cluster.
    pub nodes: Listing<Node>,
    /// Namespaces.
    pub namespaces: Listing<Namespace>,
    /// Pods of all namespaces.
    pub pods: Listing<Pod>,
    /// Events about pods and nodes.
    pub events: Listing<Event>,
    /// DaemonSets, at least those labelled as calico-node.
    pub daemon_sets: Listing<DaemonSet>,
    /// Deployments, at least those of Calico.
    pub deployments: Listing<Deployment>,
    /// ServiceAccounts, at least those of Calico's namespace.
    pub service_accounts: Listing<ServiceAccount>,
    /// ConfigMaps, at least kube-root-ca.crt of Calico's namespace.
    pub config_maps: Listing<ConfigMap>,
    /// Leases, at least the one of this tool.
    pub leases: Listing<Lease>,
    /// Calico's ClusterInformation objects (there is one, `default`).
    pub cluster_information: Listing<ClusterInformation>,
    /// IP pools.
    pub ip_pools: Listing<IpPool>,
    /// What Calico IPAM stores.
    #[serde(skip)]
    pub addresses: Addresses,
    /// Keys that the API server accepts ServiceAccount tokens of (`GET /openid/v1/jwks`).
    pub signing_keys: Known<SigningKeys>,
    /// What a probe saw on each node. A node without an entry was not asked.
    pub hosts: BTreeMap<String, Known<HostFacts>>,
    /// Everything that could not be read, sorted.
    pub gaps: Vec<Gap>,
}

/// Which cluster was observed.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterIdentity {
    /// `uid` of namespace kube-system: the closest thing a cluster has to an identity.
    pub uid: Known<String>,
    /// `gitVersion` of the API server.
    pub server_version: Known<String>,
    /// Name of the kubeconfig context that was used; absent for a bundle.
    pub context: Option<String>,
}

/// Which API group holds Calico's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    /// `crd.projectcalico.org/v1`, the storage group of every release up to now.
    CrdV1,
    /// `projectcalico.org/v3` as plain CRDs (from v3.32).
    NativeV3,
    /// Both hold objects: a migration is under way, writes are refused.
    Migrating,
}

impl Snapshot {
    /// The node-agent pods of Calico, running or not, in no particular order.
    pub fn calico_node_pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.items.iter().filter(|pod| pod.is_calico_node())
    }

    /// The calico-node pod of `node`: one that is neither finished (evicted, say) nor being deleted, if there is one.
    pub fn calico_node_on(&self, node: &str) -> Option<&Pod> {
        self.calico_node_pods()
            .filter(|pod| pod.spec.node_name == node)
            .min_by_key(|pod| (pod.is_finished(), pod.is_terminating()))
    }

    /// What the living cluster accepts of a file like `file`: the ServiceAccount is the one that its token names.
    pub fn credentials_for(&self, file: &CniKubeconfig) -> ClusterCredentials {
        let install = self.install.known();
        let claims = file.token.known();
        let claim = |it: Option<&String>| it.cloned();
        let namespace = claim(claims.and_then(|it| it.namespace.as_ref()))
            .or_else(|| install.map(|it| it.namespace.clone()))
            .unwrap_or_else(|| names::MANIFEST_NAMESPACE.to_owned());
        let name = claim(claims.and_then(|it| it.service_account.as_ref()))
            .or_else(|| install.map(|it| it.cni_service_account.clone()))
            .unwrap_or_else(|| names::CNI_SERVICE_ACCOUNT.to_owned());
        let account = self.service_account(&namespace, &name);
        ClusterCredentials {
            root_ca: self.root_ca(),
            service_account_uid: account.map(|it| it.metadata.uid.clone()),
            key_ids: self.signing_keys.as_ref().map(|keys| keys.ids.clone()),
        }
    }

    /// A ServiceAccount. Absent when its namespace was listed as a whole and it is not there.
    pub fn service_account(&self, namespace: &str, name: &str) -> Known<&ServiceAccount> {
        let found = self.service_accounts.find("cluster/serviceaccounts.json", |it| {
            it.metadata.namespace == namespace && it.metadata.name == name
        });
        let whole_namespace = format!("namespace={namespace}");
        match (&found, &self.service_accounts.coverage) {
            (Known::Unknown(_), Coverage::Selected(selectors))
                if self.service_accounts.gap.is_none() && selectors.contains(&whole_namespace) =>
            {
                Known::Absent
            }
            _ => found,
        }
    }

    /// Facts of `node`; unknown when it was not asked.
    pub fn host(&self, node: &str) -> Known<&HostFacts> {
        match self.hosts.get(node) {
            Some(facts) => facts.as_ref(),
            None => Known::Unknown(Gap::new(
                format!("nodes/{node}/probe.txt"),
                GapReason::NotAsked,
                "the node was not probed",
            )),
        }
    }
}
