//! Pours records into a [`Snapshot`]. It cannot fail: what makes no sense becomes a gap.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::addresses::CollectedAddresses;
use super::path::{api_stem, gap_matches};
use super::scrub::Kept;
use super::{
    ClusterIdentity, Coverage, Form, Gap, GapReason, HostFacts, Known, Listing, Record, RecordKey,
    Resource, SigningKeys, Sink, Snapshot, answers, flavour, install, list,
};
use crate::calico::names::{CRD_GROUP, V3_GROUP};
use crate::calico::{ClusterInformation, IpPool};
use crate::slim::{
    ConfigMap, DaemonSet, Deployment, Event, Lease, Metadata, Namespace, Node, Pod, ServiceAccount,
};

/// Kinds that a snapshot holds: `(plural, group)`. What belongs to Calico is looked for in both of its groups, the one that stores it first.
pub const KINDS: [(&str, &str); 14] = [
    ("nodes", ""),
    ("namespaces", ""),
    ("pods", ""),
    ("events", ""),
    ("daemonsets", "apps"),
    ("deployments", "apps"),
    ("serviceaccounts", ""),
    ("configmaps", ""),
    ("leases", "coordination.k8s.io"),
    ("clusterinformations", CRD_GROUP),
    ("ippools", CRD_GROUP),
    ("clusterinformations", V3_GROUP),
    ("ippools", V3_GROUP),
    ("customresourcedefinitions", "apiextensions.k8s.io"),
];

/// A custom resource definition, of which only the name matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Definition {
    pub(super) metadata: Metadata,
}

/// Assembles a snapshot from records and gaps.
#[derive(Debug, Default)]
pub struct SnapshotBuilder {
    nodes: Collected<Node>,
    namespaces: Collected<Namespace>,
    pods: Collected<Pod>,
    events: Collected<Event>,
    daemon_sets: Collected<DaemonSet>,
    deployments: Collected<Deployment>,
    service_accounts: Collected<ServiceAccount>,
    config_maps: Collected<ConfigMap>,
    leases: Collected<Lease>,
    cluster_information: Collected<ClusterInformation>,
    ip_pools: Collected<IpPool>,
    v3_cluster_information: Collected<ClusterInformation>,
    v3_ip_pools: Collected<IpPool>,
    definitions: Collected<Definition>,
    /// Boxed: it is large, and most looks have none of it.
    addresses: Box<CollectedAddresses>,
    version: Option<Known<String>>,
    groups: Option<BTreeSet<String>>,
    signing_keys: Option<Known<SigningKeys>>,
    hosts: BTreeMap<String, Known<HostFacts>>,
    context: Option<String>,
    gaps: Vec<Gap>,
    /// Gaps that the last record of a path, of which only the last counts, holds itself.
    within: BTreeMap<String, Vec<Gap>>,
}

impl SnapshotBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the kubeconfig context that the records come from.
    pub fn context(&mut self, name: impl Into<String>) {
        self.context = Some(name.into());
    }

    /// The picture as of `taken`.
    pub fn finish(mut self, taken: Timestamp) -> Snapshot {
        let mut gaps = std::mem::take(&mut self.gaps);
        gaps.extend(std::mem::take(&mut self.within).into_values().flatten());
        // The order in which they came must not matter: a bundle keeps them sorted.
        gaps.sort();
        let mut last = Last { given: gaps.clone(), all: gaps };
        let definitions =
            last.listing("customresourcedefinitions.apiextensions.k8s.io", self.definitions);
        let crd = (
            last.listing(&format!("clusterinformations.{CRD_GROUP}"), self.cluster_information),
            last.listing(&format!("ippools.{CRD_GROUP}"), self.ip_pools),
        );
        let v3 = (
            last.listing(&format!("clusterinformations.{V3_GROUP}"), self.v3_cluster_information),
            last.listing(&format!("ippools.{V3_GROUP}"), self.v3_ip_pools),
        );
        let seen = flavour::Seen {
            definitions: &definitions,
            groups: self.groups.as_ref(),
            crd: &crd,
            v3: &v3,
        };
        let flavour = seen.flavour();
        let reads_v3 = seen.reads_v3();
        let (cluster_information, ip_pools) = if reads_v3 { v3 } else { crd };
        let mut snapshot = Snapshot {
            taken,
            cluster: ClusterIdentity {
                uid: Known::Absent,
                server_version: last.raw("cluster/api/version.json", self.version),
                context: self.context,
            },
            flavour,
            install: Known::Absent,
            nodes: last.listing("nodes", self.nodes),
            namespaces: last.listing("namespaces", self.namespaces),
            pods: last.listing("pods", self.pods),
            events: last.listing("events", self.events),
            daemon_sets: last.listing("daemonsets.apps", self.daemon_sets),
            deployments: last.listing("deployments.apps", self.deployments),
            service_accounts: last.listing("serviceaccounts", self.service_accounts),
            config_maps: last.listing("configmaps", self.config_maps),
            leases: last.listing("leases.coordination.k8s.io", self.leases),
            cluster_information,
            ip_pools,
            addresses: self.addresses.finish(&mut last, reads_v3),
            signing_keys: last.raw("cluster/api/openid-v1-jwks.json", self.signing_keys),
            hosts: self.hosts,
            gaps: Vec::new(),
        };
        let system = snapshot
            .namespaces
            .find("cluster/namespaces.json", |it| it.metadata.name == "kube-system");
        snapshot.cluster.uid = system.map(|it| it.metadata.uid.clone());
        snapshot.install = install::detect(&snapshot);
        last.hosts(&mut snapshot);
        snapshot.gaps = last.all;
        snapshot.gaps.sort();
        snapshot.gaps.dedup();
        snapshot
    }

    fn list(&mut self, resource: &Resource, record: &Record) {
        let gaps = &mut self.gaps;
        match (resource.plural.as_str(), resource.group.as_str()) {
            ("nodes", "") => self.nodes.take(record, gaps),
            ("namespaces", "") => self.namespaces.take(record, gaps),
            ("pods", "") => self.pods.take(record, gaps),
            ("events", "") => self.events.take(record, gaps),
            ("daemonsets", "apps") => self.daemon_sets.take(record, gaps),
            ("deployments", "apps") => self.deployments.take(record, gaps),
            ("serviceaccounts", "") => self.service_accounts.take(record, gaps),
            ("configmaps", "") => self.config_maps.take(record, gaps),
            ("leases", "coordination.k8s.io") => self.leases.take(record, gaps),
            ("clusterinformations", CRD_GROUP) => self.cluster_information.take(record, gaps),
            ("ippools", CRD_GROUP) => self.ip_pools.take(record, gaps),
            ("clusterinformations", V3_GROUP) => self.v3_cluster_information.take(record, gaps),
            ("ippools", V3_GROUP) => self.v3_ip_pools.take(record, gaps),
            ("customresourcedefinitions", "apiextensions.k8s.io") => {
                self.definitions.take(record, gaps);
            }
            _ => self.addresses.take(resource, record, gaps),
        }
    }

    fn api(&mut self, path: &str, record: &Record) {
        let what = record.key.path();
        let mut gaps = Vec::new();
        match api_stem(path).as_str() {
            "version" => self.version = Some(answers::version(&what, &record.body, &mut gaps)),
            "openid-v1-jwks" => {
                self.signing_keys = Some(answers::signing_keys(&what, &record.body, &mut gaps));
            }
            "apis" => {
                self.groups = answers::groups(&what, &record.body, &mut gaps).known().cloned();
            }
            _ => {}
        }
        self.within.insert(what, gaps);
    }
}

impl Sink for SnapshotBuilder {
    fn record(&mut self, record: &Record) {
        match &record.key {
            RecordKey::List(resource) => self.list(resource, record),
            RecordKey::Api(path) => self.api(path, record),
            RecordKey::Probe(node) => {
                let (facts, gaps) = HostFacts::from_probe(node, &record.body);
                self.hosts.insert(node.clone(), Known::Known(facts));
                self.within.insert(record.key.path(), gaps);
            }
            // Logs are evidence for people; no fact of the snapshot is read from them yet.
            RecordKey::Log { .. } => {}
        }
    }

    fn gap(&mut self, gap: Gap) {
        if let Some((RecordKey::Probe(node), _)) = RecordKey::from_path(&gap.what) {
            let known = self.hosts.entry(node).or_insert_with(|| Known::Unknown(gap.clone()));
            if known.gap().is_some_and(|known| gap < *known) {
                *known = Known::Unknown(gap.clone());
            }
        }
        self.gaps.push(gap);
    }
}

/// One kind's list while it comes in.
#[derive(Debug)]
pub(super) struct Collected<T> {
    listing: Listing<T>,
    /// Place of an object (`namespace/name`): two selectors may pick the same one.
    places: HashMap<String, usize>,
    /// Selectors whose last page said that there is more.
    unfinished: BTreeSet<Option<String>>,
}

impl<T> Default for Collected<T> {
    fn default() -> Self {
        Self { listing: Listing::default(), places: HashMap::new(), unfinished: BTreeSet::new() }
    }
}

impl<T: DeserializeOwned + Kept> Collected<T> {
    pub(super) fn take(&mut self, record: &Record, gaps: &mut Vec<Gap>) {
        let path = record.key.path();
        let extent = &record.extent;
        self.listing.at = self.listing.at.max(Some(record.at));
        if extent.form == Form::Table || (extent.form == Form::Metadata && !T::METADATA_IS_ENOUGH) {
            return self.lacks(Gap::new(path, GapReason::NotAsked, METADATA_ONLY), gaps);
        }
        let page = match list::decode::<T>(&record.body, T::KIND) {
            Ok(page) => page,
            Err(no) => return self.lacks(Gap::new(path, no.why, no.detail), gaps),
        };
        if page.metadata_only && !T::METADATA_IS_ENOUGH {
            return self.lacks(Gap::new(path, GapReason::NotAsked, METADATA_ONLY), gaps);
        }
        let single = page.single.map(|name| format!("object={name}"));
        let selector = extent.selector.clone().or(single);
        let coverage = std::mem::take(&mut self.listing.coverage);
        self.listing.coverage = coverage.and(selector.as_deref());
        if page.more {
            self.unfinished.insert(selector);
        } else {
            self.unfinished.remove(&selector);
        }
        for mut item in page.items {
            item.scrub();
            self.put(item);
        }
        for bad in page.bad {
            self.lacks(
                Gap::new(format!("{path}#{}", bad.name), GapReason::Undecodable, bad.detail),
                gaps,
            );
        }
        if !extent.complete {
            self.lacks(Gap::new(path, incomplete(), "the answer was cut short"), gaps);
        }
    }

    fn put(&mut self, item: T) {
        let metadata = item.metadata();
        let key = format!("{}/{}", metadata.namespace, metadata.name);
        if let Some(place) = self.places.get(&key) {
            self.listing.items[*place] = item;
        } else {
            self.places.insert(key, self.listing.items.len());
            self.listing.items.push(item);
        }
    }

    fn lacks(&mut self, gap: Gap, gaps: &mut Vec<Gap>) {
        gaps.push(gap.clone());
        self.listing.lacks(gap);
    }
}

/// Decoded as whole objects, names alone would look like objects without a spec.
const METADATA_ONLY: &str = "whole objects were not asked for";

fn incomplete() -> GapReason {
    GapReason::Other("Incomplete".to_owned())
}

impl<T> Listing<T> {
    /// Keeps the reason why something is missing: the first one, but a failure rather than what nobody asked for.
    fn lacks(&mut self, gap: Gap) {
        match &self.gap {
            Some(known) if known.why.is_failure() || !gap.why.is_failure() => {}
            _ => self.gap = Some(gap),
        }
    }
}

/// What remains to be done when all records are there: gaps find their listings, and what nobody asked for becomes a gap.
pub(super) struct Last {
    /// Gaps that came from outside.
    given: Vec<Gap>,
    all: Vec<Gap>,
}

impl Last {
    fn listing<T>(&mut self, resource: &str, collected: Collected<T>) -> Listing<T> {
        let listing = self.optional(resource, collected);
        // The other group of Calico's kinds, and the definitions, are only asked for where they can tell something.
        if listing.coverage == Coverage::None
            && (!resource.contains(&format!(".{V3_GROUP}")) || resource.ends_with(CRD_GROUP))
        {
            self.all.extend(listing.gap.clone());
        }
        listing
    }

    /// The same of a kind that not every look is about: that nobody asked for it is not worth a gap of the snapshot.
    pub(super) fn optional<T>(&mut self, resource: &str, collected: Collected<T>) -> Listing<T> {
        let path = format!("cluster/{resource}.json");
        let mut listing = collected.listing;
        if !collected.unfinished.is_empty() {
            let gap = Gap::new(&path, incomplete(), "the server had more pages");
            self.all.push(gap.clone());
            listing.lacks(gap);
        }
        for gap in self.given.iter().filter(|gap| gap_matches(&gap.what, &path)) {
            listing.lacks(gap.clone());
        }
        if listing.coverage == Coverage::None && listing.gap.is_none() {
            listing.gap = Some(Gap::new(&path, GapReason::NotAsked, "not asked for"));
        }
        listing
    }

    fn raw<T>(&mut self, path: &str, fact: Option<Known<T>>) -> Known<T> {
        if let Some(fact) = fact {
            return fact;
        }
        let given = self.given.iter().find(|gap| gap_matches(&gap.what, path)).cloned();
        let gap = given.unwrap_or_else(|| Gap::new(path, GapReason::NotAsked, "not asked for"));
        self.all.push(gap.clone());
        Known::Unknown(gap)
    }

    /// Nodes that were not probed: one gap when that is all of them.
    fn hosts(&mut self, snapshot: &mut Snapshot) {
        let not_asked = |node: &str| {
            Gap::new(
                format!("nodes/{node}/probe.txt"),
                GapReason::NotAsked,
                "the node was not probed",
            )
        };
        if snapshot.hosts.is_empty() && !snapshot.nodes.items.is_empty() {
            self.all.push(not_asked("*"));
            return;
        }
        let missing = snapshot.nodes.items.iter().map(|node| node.metadata.name.as_str());
        self.all.extend(missing.filter(|name| !snapshot.hosts.contains_key(*name)).map(not_asked));
    }
}
