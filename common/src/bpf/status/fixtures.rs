//! Clusters for tests: one that is off and one that is on; tests change a part of them.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use serde_json::{Value, json};

use super::super::Situation;
use super::super::requirements::fixtures;
use crate::snapshot::{Install, InstallMethod, Known, Snapshot};

/// A cluster whose nodes can be changed section by section.
pub(crate) struct Cluster<'a> {
    situation: Situation<'a>,
    sections: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
}

impl<'a> Deref for Cluster<'a> {
    type Target = Situation<'a>;

    fn deref(&self) -> &Situation<'a> {
        &self.situation
    }
}

impl DerefMut for Cluster<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.situation
    }
}

impl Cluster<'_> {
    /// The same node, but that one section says this.
    pub(crate) fn with(&mut self, node: &'static str, section: &'static str, text: &str) {
        let all = self.sections.entry(node).or_default();
        all.insert(section, text.to_owned());
        let facts = fixtures::facts(node, all);
        self.situation.nodes.insert(node.to_owned(), Known::Known(facts));
    }
}

pub(crate) const FILTER: &str = "# eth0 ingress\nfilter protocol all pref 49151 bpf chain 0 handle 0x1 cali_tc_preambl:[7] direct-action id 35\n";
const TABLE: &str = "10.96.0.1 port 443 proto 6 id 3 count 1 local 0\n10.96.0.10 port 53 proto 17 id 4 count 2 local 0\n";

pub(crate) fn snapshot() -> Snapshot {
    let mut snapshot = fixtures::snapshot();
    snapshot.leases = fixtures::whole(Vec::new());
    for pod in &mut snapshot.pods.items {
        let ready = json!({ "type": "Ready", "status": "True" });
        pod.status.conditions = vec![serde_json::from_value(ready).unwrap()];
    }
    snapshot
}

pub(crate) fn operator() -> Snapshot {
    let mut snapshot = snapshot();
    let Known::Known(install) = &snapshot.install else { unreachable!() };
    let namespace = "calico-system".to_owned();
    let method = InstallMethod::Operator;
    snapshot.install = Known::Known(Install { method, namespace, ..install.clone() });
    snapshot
}

/// kube-proxy serves, eBPF is off.
pub(crate) fn off(snapshot: &Snapshot) -> Cluster<'_> {
    let sections = [("node1", "10.0.0.1"), ("node2", "10.0.0.2")];
    let sections = sections.map(|(name, address)| (name, fixtures::sections(address))).into();
    let mut situation = Cluster { situation: fixtures::situation(snapshot), sections };
    situation.kube_proxy = kube_proxy(2);
    situation.services = Known::Known(vec![json!({
        "metadata": { "namespace": "default", "name": "kubernetes" },
        "spec": { "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": [{ "port": 443 }] },
    })]);
    situation
}

/// eBPF is on, kube-proxy is off.
pub(crate) fn on(snapshot: &Snapshot) -> Cluster<'_> {
    let mut situation = off(snapshot);
    situation.kube_proxy = kube_proxy(0);
    situation.endpoint_config = endpoint_map("10.0.0.10");
    set(&mut situation, json!({ "bpfEnabled": true }));
    for node in ["node1", "node2"] {
        node_on(&mut situation, node);
    }
    situation
}

fn node_on(situation: &mut Cluster<'_>, node: &'static str) {
    let sections = [
        ("programs", FILTER),
        ("nat.v4", TABLE),
        ("pins", "/sys/fs/bpf/tc/globals/cali_v4_nat_fe3\n"),
        ("endpoint", "10.0.0.10\n6443"),
        ("rules.nft.v4", ""),
    ];
    for (section, text) in sections {
        situation.with(node, section, text);
    }
}

pub(crate) fn kube_proxy(wanted: i64) -> Known<Value> {
    Known::Known(json!({
        "metadata": { "name": "kube-proxy", "namespace": "kube-system", "generation": 2 },
        "status": { "desiredNumberScheduled": wanted, "observedGeneration": 2 },
    }))
}

pub(crate) fn endpoint_map(host: &str) -> Known<Value> {
    Known::Known(
        json!({ "data": { "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "6443" } }),
    )
}

pub(crate) fn set(situation: &mut Situation<'_>, spec: impl Into<Value>) {
    let spec: Value = spec.into();
    let default = json!({ "metadata": { "name": "default" }, "spec": spec });
    situation.felix = Known::Known(vec![default]);
}
