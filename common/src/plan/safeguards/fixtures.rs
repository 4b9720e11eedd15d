//! An ordinary cluster that nothing speaks against, for the tests of guards.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Budget, Circumstances, Intent, NodeAgent, Situation, Verdict, objections};
use crate::calico::{ClusterInformation, IpPool};
use crate::findings::Code;
use crate::slim::{DaemonSet, Metadata, Node, NodeCondition, OwnerReference, Pod};
use crate::snapshot::{
    Coverage, Flavour, Gap, GapReason, HostFacts, Install, InstallMethod, Known, Snapshot,
    SnapshotBuilder,
};

/// Everything that guards judge by; tests change a part of it.
pub(in crate::plan) struct Scene {
    pub(in crate::plan) intent: Intent,
    pub(in crate::plan) snapshot: Snapshot,
    pub(in crate::plan) circumstances: Circumstances,
}

impl Scene {
    /// node1 and node2, of which node2 is to be left by Calico; pod shop/web-1 runs there.
    pub(in crate::plan) fn new() -> Self {
        let intent = Intent {
            nodes: BTreeSet::from(["node2".to_owned()]),
            delete_empty_dirs: false,
            server: "https://192.0.2.1:6443".into(),
        };
        Self { intent, snapshot: snapshot(), circumstances: circumstances() }
    }

    /// The same, after a look at node2: it has Calico's configuration and no other.
    pub(in crate::plan) fn seen() -> Self {
        let mut scene = Self::new();
        scene.host(&[CALICO]);
        scene
    }

    pub(in crate::plan) fn situation(&self) -> Situation<'_> {
        Situation {
            intent: &self.intent,
            snapshot: &self.snapshot,
            circumstances: &self.circumstances,
        }
    }

    /// Codes of the guards that object.
    pub(in crate::plan) fn objections(&self) -> Vec<String> {
        let found = objections(&self.situation(), &BTreeSet::new());
        found.into_iter().map(|it| it.code).collect()
    }

    /// What one guard says: nothing, its evidence in lines, or what it lacks.
    pub(in crate::plan) fn says(&self, code: &str) -> Option<String> {
        let guard = super::find(code).unwrap();
        assert_eq!(guard.code, Code(guard.code.0));
        match (guard.run)(&self.situation()) {
            Verdict::Pass => None,
            Verdict::Block(evidence) => {
                assert!(!evidence.is_empty(), "a reason is named");
                let line =
                    |it: &crate::findings::Evidence| format!("{}: {}", it.source, it.excerpt);
                Some(evidence.iter().map(line).collect::<Vec<_>>().join("\n"))
            }
            Verdict::Unknown(gap) => Some(format!("unknown: {}", gap.detail)),
        }
    }

    /// The host of node2, with these files in its CNI configuration directory.
    pub(in crate::plan) fn host(&mut self, configurations: &[(&str, &str)]) {
        let mut text = "@@vantage rc=0 ms=0\nhost\n@@end\n@@ls-cni-net.d rc=0 ms=0\n".to_owned();
        for (name, content) in configurations {
            let size = content.len();
            text += &format!("-rw------- 1 0 0 {size} 2026-11-21 12:00:00.0 +0000 {name}\n");
        }
        text += "@@end\n";
        for (name, content) in configurations {
            text += &format!("@@conf-{name} rc=0 ms=0\n{content}\n@@end\n");
        }
        let (facts, gaps) = HostFacts::from_probe("node2", text.as_bytes());
        assert!(gaps.is_empty(), "{gaps:?}");
        assert_eq!(
            facts.conflists.known().map(Vec::len),
            Some(configurations.len()),
            "{:?}",
            facts.conflists
        );
        self.snapshot.hosts.insert("node2".to_owned(), Known::Known(facts));
    }
}

/// Calico's own configuration.
pub(in crate::plan) const CALICO: (&str, &str) = (
    "10-calico.conflist",
    r#"{"name":"k8s-pod-network","cniVersion":"0.3.1","plugins":[{"type":"calico"},{"type":"portmap"}]}"#,
);

pub(in crate::plan) fn forbidden<T>() -> Known<T> {
    Known::Unknown(Gap::new("x", GapReason::Forbidden, "forbidden"))
}

pub(in crate::plan) fn named(namespace: &str, name: &str) -> Metadata {
    Metadata {
        namespace: namespace.into(),
        name: name.into(),
        uid: format!("uid-{name}"),
        ..Metadata::default()
    }
}

pub(in crate::plan) fn pod(namespace: &str, name: &str, node: &str, owner: &str) -> Pod {
    let mut pod = Pod { metadata: named(namespace, name), ..Pod::default() };
    pod.metadata.labels.insert("app".into(), "web".into());
    pod.spec.node_name = node.into();
    pod.status.phase = "Running".into();
    if !owner.is_empty() {
        pod.metadata.owner_references.push(OwnerReference {
            kind: owner.into(),
            name: "owner".into(),
            uid: "uid-owner".into(),
            controller: true,
            ..OwnerReference::default()
        });
    }
    pod
}

pub(in crate::plan) fn daemon_set(namespace: &str, name: &str) -> DaemonSet {
    let mut set = DaemonSet { metadata: named(namespace, name), ..DaemonSet::default() };
    set.status.desired_number_scheduled = 2;
    set
}

pub(in crate::plan) fn budget(allowed: i64, label: &str) -> Budget {
    let selector = super::LabelSelector {
        match_labels: BTreeMap::from([("app".to_owned(), label.to_owned())]),
        ..super::LabelSelector::default()
    };
    let mut budget = Budget { metadata: named("shop", "web"), ..Budget::default() };
    budget.spec.selector = Some(selector);
    budget.status.disruptions_allowed = allowed;
    budget
}

fn node(name: &str) -> Node {
    let mut node = Node { metadata: named("", name), ..Node::default() };
    node.status.conditions.push(NodeCondition {
        kind: "Ready".into(),
        status: "True".into(),
        ..NodeCondition::default()
    });
    node
}

fn snapshot() -> Snapshot {
    let mut it = SnapshotBuilder::new().finish(Timestamp::UNIX_EPOCH);
    it.nodes.items = vec![node("node1"), node("node2")];
    it.pods.items = vec![pod("shop", "web-1", "node2", "ReplicaSet")];
    it.daemon_sets.items = vec![daemon_set("kube-system", "calico-node")];
    let mut information = ClusterInformation::default();
    information.spec.datastore_ready = Some(true);
    it.cluster_information.items = vec![information];
    it.ip_pools.items = vec![IpPool::default()];
    (it.nodes.coverage, it.nodes.gap) = (Coverage::All, None);
    (it.pods.coverage, it.pods.gap) = (Coverage::All, None);
    (it.daemon_sets.coverage, it.daemon_sets.gap) = (Coverage::All, None);
    (it.cluster_information.coverage, it.cluster_information.gap) = (Coverage::All, None);
    (it.ip_pools.coverage, it.ip_pools.gap) = (Coverage::All, None);
    it.flavour = Known::Known(Flavour::CrdV1);
    it.install = Known::Known(Install {
        method: InstallMethod::Manifest,
        namespace: "kube-system".into(),
        daemon_set: "calico-node".into(),
        version: None,
        encapsulation: None,
        cni_service_account: "calico-cni-plugin".into(),
        cni_config_dir: "/etc/cni/net.d".into(),
        cni_bin_dir: "/opt/cni/bin".into(),
        namespaces: vec!["kube-system".into()],
    });
    it
}

fn circumstances() -> Circumstances {
    let sets = ["calico-node", "kube-proxy", "fluent-bit"];
    Circumstances {
        daemon_sets: Known::Known(sets.map(|name| daemon_set("kube-system", name)).to_vec()),
        node_agent: Known::Known(NodeAgent {
            metadata: named("kube-system", "calico-node"),
            update_strategy: Some(serde_json::json!({ "type": "RollingUpdate" })),
            affinity: None,
        }),
        budgets: Known::Known(Vec::new()),
        felix: Known::Known(Vec::new()),
        installations: Known::Absent,
        helm_charts: Known::Absent,
        services: Known::Known(Vec::new()),
    }
}
