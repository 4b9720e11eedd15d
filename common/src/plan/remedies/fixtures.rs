//! Snapshots and diagnoses built by hand, for the tests of remedies.

use jiff::Timestamp;

use super::{Order, RemedyName, plan_for};
use crate::findings::{Cause, Code, Diagnosis, Finding, Root, Severity, Subject};
use crate::plan::{Plan, PlanId, Target};
use crate::slim::{DaemonSet, Metadata, Node, NodeCondition, OwnerReference, Pod, ServiceAccount};
use crate::snapshot::{Coverage, Install, InstallMethod, Known, Snapshot, SnapshotBuilder};

pub(super) const CREDENTIALS: Code = Code("CAL-CNI-006");
pub(super) const NO_CONFIGURATION: Code = Code("CAL-CNI-001");
pub(super) const STUCK: Code = Code("CAL-POD-001");

pub(super) fn node(name: &str, ready: &str) -> Node {
    let mut node = Node::default();
    node.metadata.name = name.into();
    node.status.conditions.push(NodeCondition {
        kind: "Ready".into(),
        status: ready.into(),
        ..NodeCondition::default()
    });
    node
}

pub(super) fn pod(namespace: &str, name: &str, node: &str) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.namespace = namespace.into();
    pod.metadata.name = name.into();
    pod.metadata.uid = format!("uid-{name}");
    pod.spec.node_name = node.into();
    pod
}

pub(super) fn calico_node(node: &str) -> Pod {
    let mut it = pod("kube-system", &format!("calico-node-{node}"), node);
    it.metadata.labels.insert("k8s-app".into(), "calico-node".into());
    it.metadata.owner_references.push(OwnerReference {
        api_version: "apps/v1".into(),
        kind: "DaemonSet".into(),
        name: "calico-node".into(),
        uid: "uid-ds".into(),
        controller: true,
    });
    it
}

/// `nodes` healthy nodes called node1…, with calico-node on each and two pods on node2.
pub(super) fn snapshot(nodes: usize) -> Snapshot {
    let mut it = SnapshotBuilder::new().finish(Timestamp::UNIX_EPOCH);
    let named = |name: &str, uid: &str| Metadata {
        namespace: "kube-system".into(),
        name: name.into(),
        uid: uid.into(),
        ..Metadata::default()
    };
    for index in 1..=nodes {
        let name = format!("node{index}");
        it.nodes.items.push(node(&name, "True"));
        it.pods.items.push(calico_node(&name));
    }
    it.pods.items.push(pod("shop", "web-2", "node2"));
    it.pods.items.push(pod("shop", "web-1", "node2"));
    it.pods.items.push(pod("shop", "other", "node1"));
    it.daemon_sets
        .items
        .push(DaemonSet { metadata: named("calico-node", "uid-ds"), ..DaemonSet::default() });
    it.service_accounts.items.push(ServiceAccount { metadata: named("calico-cni-plugin", "sa") });
    (it.nodes.coverage, it.nodes.gap) = (Coverage::All, None);
    (it.pods.coverage, it.pods.gap) = (Coverage::All, None);
    (it.daemon_sets.coverage, it.daemon_sets.gap) = (Coverage::All, None);
    (it.service_accounts.coverage, it.service_accounts.gap) = (Coverage::All, None);
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

pub(super) fn finding(code: Code, subject: Subject, key: &'static str, remedy: bool) -> Finding {
    let cause = Cause { key, text: String::new() };
    let mut it = Finding::new(code, Severity::Critical, subject, "title", cause);
    it.remedy = remedy.then_some(RemedyName::RestartCalicoNode);
    it
}

pub(super) fn rejected(nodes: &[&str]) -> Finding {
    finding(CREDENTIALS, Subject::nodes(nodes.iter().copied()), "recreated", true)
}

pub(super) fn stuck(pods: &[&str], node: &str) -> Finding {
    let subject = Subject::pods(pods.iter().copied());
    let mut it = finding(STUCK, subject, "because", false);
    it.nodes = vec![node.to_owned()];
    it
}

pub(super) fn diagnosis(roots: Vec<(Finding, Vec<Finding>)>) -> Diagnosis {
    let roots = roots
        .into_iter()
        .map(|(finding, mut symptoms)| {
            for symptom in &mut symptoms {
                symptom.because_of.push(finding.id.clone());
            }
            Root { finding, symptoms }
        })
        .collect();
    Diagnosis { roots, checks: Vec::new(), unjudged: Vec::new() }
}

/// A recreated ServiceAccount: all nodes are hit, pods hang on node2 only.
pub(super) fn recreated() -> Diagnosis {
    let root = rejected(&["node1", "node2", "node3"]);
    diagnosis(vec![(root, vec![stuck(&["shop/web-1", "shop/web-2"], "node2")])])
}

pub(super) fn plan(snapshot: &Snapshot, diagnosis: &Diagnosis, only: &[Code]) -> Plan {
    let target = Target {
        cluster_uid: "uid-cluster".into(),
        context: "prod-eu".into(),
        cluster_name: "prod-eu".into(),
        server: "https://192.0.2.1:6443".into(),
        user: "admin".into(),
    };
    let order = Order { id: PlanId::new(0, [0; 10]), made_by: "test", target, only, nodes: None };
    plan_for(order, snapshot, diagnosis)
}

pub(super) fn why(plan: &Plan) -> String {
    plan.left_out.iter().map(|it| it.why.as_str()).collect::<Vec<_>>().join("\n")
}

pub(super) fn nodes(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().filter_map(|step| step.node.as_deref()).collect()
}
