//! Tests of the remedies for a node's CNI configurations.

use super::fixtures::*;
use super::{Finding, RemedyName};
use crate::calico::IpPool;
use crate::findings::{Code, Subject};
use crate::plan::{Action, Condition, Expected, FileContent, HostOperation, Plan, Step};
use crate::slim::OwnerReference;
use crate::snapshot::{Coverage, HostFacts, Known, Snapshot};

const FOREIGN: Code = Code("CAL-CNI-003");

/// A probe that shows these files of the CNI configuration directory.
fn probe(files: &[(&str, &str)]) -> String {
    let mut text = String::from("@@ls-cni-net.d rc=0 ms=1\n");
    for (name, content) in files {
        let size = content.len();
        text += &format!("-rw------- 1 0 0 {size} 2026-11-21 12:03:47.6 +0000 {name}\n");
    }
    text += "@@end\n@@sha256-cni-net.d rc=0 ms=1\n";
    for (index, (name, _)) in files.iter().enumerate() {
        text += &format!("{:064x}  /etc/cni/net.d/{name}\n", index + 1);
    }
    text += "@@end\n";
    for (name, content) in files {
        text += &format!("@@conf-{name} rc=0 ms=1\n{content}\n@@end\n");
    }
    text
}

fn probed(snapshot: &mut Snapshot, node: &str, files: &[(&str, &str)]) {
    let facts = HostFacts::from_probe(node, probe(files).as_bytes()).0;
    snapshot.hosts.insert(node.into(), Known::Known(facts));
}

const CALICO: (&str, &str) = (
    "10-calico.conflist",
    r#"{"name":"k8s-pod-network","plugins":[{"type":"calico","nodename":"node1","mtu":1450}]}"#,
);
const BRIDGE: (&str, &str) =
    ("05-bridge.conflist", r#"{"name":"mynet","plugins":[{"type":"bridge"}]}"#);

fn foreign() -> Finding {
    let mut it = finding(FOREIGN, Subject::nodes(["node2"]), "foreign-first", false);
    it.remedy = Some(RemedyName::MoveAsideConfiguration);
    it
}

fn plan_foreign(snapshot: &Snapshot) -> Plan {
    plan(snapshot, &diagnosis(vec![(foreign(), vec![])]), &[])
}

fn operation(step: &Step) -> &HostOperation {
    match &step.action {
        Action::OnHost { operation, .. } => operation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_comes_before_calico_is_renamed_never_deleted() {
    let mut it = snapshot(2);
    probed(
        &mut it,
        "node2",
        &[("00-first.conf", r#"{"type":"x"}"#), BRIDGE, CALICO, ("99-loopback.conf", "{}")],
    );
    let plan = plan_foreign(&it);
    let moved: Vec<&str> = plan
        .steps
        .iter()
        .map(|step| match operation(step) {
            HostOperation::MoveAside { path, expected: Expected::Sha256(_), .. } => path.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(moved, ["/etc/cni/net.d/00-first.conf", "/etc/cni/net.d/05-bridge.conflist"]);
    assert_eq!(plan.steps[1].after, [plan.steps[0].id.clone()]);
    let last: Vec<_> = plan.steps[1].verify.iter().map(|it| &it.condition).collect();
    assert!(matches!(last[0], Condition::CalicoConfigurationFirst { .. }), "{last:?}");
}

#[test]
fn without_calicos_own_file_the_other_one_stays() {
    let mut it = snapshot(2);
    probed(&mut it, "node2", &[BRIDGE]);
    let plan = plan_foreign(&it);
    assert_eq!(plan.steps, []);
    assert!(why(&plan).contains("there would be none"), "{}", why(&plan));
    // Our own no-op configuration is not another plugin's: it has a finding of its own.
    probed(&mut it, "node2", &[("00-kubectl-calico-loopback.conflist", "{}"), CALICO]);
    assert!(why(&plan_foreign(&it)).contains("Calico's configuration comes first"));
}

fn with_address(name: &str, ip: &str, owned: bool) -> crate::slim::Pod {
    let mut pod = pod("shop", name, "node2");
    pod.status.phase = "Running".into();
    pod.status.pod_ip = ip.into();
    if owned {
        pod.metadata.owner_references.push(OwnerReference {
            api_version: "apps/v1".into(),
            kind: "ReplicaSet".into(),
            name: "web".into(),
            uid: "rs".into(),
            controller: true,
        });
    }
    pod
}

#[test]
fn pods_with_a_strangers_address_are_made_anew_by_their_owner() {
    let mut it = snapshot(2);
    probed(&mut it, "node2", &[BRIDGE, CALICO]);
    it.pods.items.extend([
        with_address("fine", "10.244.1.7", true),
        with_address("stranger", "172.20.0.7", true),
        with_address("bare", "172.20.0.8", false),
    ]);
    let deleted = |plan: &Plan| -> Vec<String> {
        let names = plan.steps.iter().filter_map(|step| match &step.action {
            Action::Delete { object, .. } => Some(object.name.clone()),
            _ => None,
        });
        names.collect()
    };
    // Pools that are not known make nobody a stranger.
    assert_eq!(deleted(&plan_foreign(&it)), Vec::<String>::new());
    it.ip_pools.items = vec![ip_pool("10.244.0.0/16")];
    (it.ip_pools.coverage, it.ip_pools.gap) = (Coverage::All, None);
    assert_eq!(deleted(&plan_foreign(&it)), ["stranger"]);
}

fn ip_pool(cidr: &str) -> IpPool {
    let mut pool = IpPool::default();
    pool.spec.cidr = cidr.into();
    pool
}

#[test]
fn a_conflist_is_taken_from_another_node() {
    let mut it = snapshot(2);
    it.pods.items.retain(|pod| pod.metadata.name != "calico-node-node2");
    probed(&mut it, "node1", &[CALICO]);
    probed(&mut it, "node2", &[("10-calico.conflist", "{")]);
    let missing = finding(NO_CONFIGURATION, Subject::nodes(["node2"]), "missing", true);
    let root = diagnosis(vec![(missing, vec![])]);
    let plan_one = plan(&it, &root, &[]);
    let HostOperation::WriteFile { path, content: FileContent::Text { text }, expected, .. } =
        operation(&plan_one.steps[0])
    else {
        panic!("{plan_one:?}")
    };
    assert_eq!(path, "/etc/cni/net.d/10-calico.conflist");
    assert!(text.contains(r#""nodename": "node2""#) && text.contains("1450"), "{text}");
    assert_eq!(*expected, Expected::Sha256(format!("{:064x}", 1)));
    // A file in which the probe blanked something is no model.
    let secret = CALICO.1.replace("1450", "0,\"etcd_token\":\"blanked\"");
    probed(&mut it, "node1", &[("10-calico.conflist", &secret)]);
    let none = plan(&it, &root, &[]);
    assert_eq!(none.steps, []);
    assert!(why(&none).contains("no other node's conflist"), "{}", why(&none));
}

#[test]
fn of_our_own_files_only_those_nobody_needs_are_removed() {
    let subject = Subject::of(
        crate::findings::SubjectKind::Object,
        [
            "File/node2/etc/cni/net.d/00-kubectl-calico-loopback.conflist",
            "File/node2/opt/cni/bin/calico.kubectl-calico-01.tmp",
            "File/node2/etc/cni/net.d/10-calico.conflist.kubectl-calico-01.bak",
            "File/node2/etc/cni/net.d/10-calico.conflist",
            "File/node1/etc/cni/net.d/00-kubectl-calico-loopback.conflist",
        ],
    );
    let mut left = finding(Code("CAL-OWN-001"), subject, "configuration", false);
    (left.nodes, left.remedy) = (vec!["node2".into()], Some(RemedyName::Sweep));
    let plan_one = plan(&snapshot(2), &diagnosis(vec![(left, vec![])]), &[]);
    let removed: Vec<&str> = plan_one
        .steps
        .iter()
        .map(|step| match operation(step) {
            HostOperation::RemoveFile { path, .. } => path.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        removed,
        [
            "/etc/cni/net.d/00-kubectl-calico-loopback.conflist",
            "/opt/cni/bin/calico.kubectl-calico-01.tmp"
        ]
    );
    let mut pod = finding(Code("CAL-OWN-001"), Subject::pods(["kube-system/x"]), "pods", false);
    (pod.nodes, pod.remedy) = (vec!["node2".into()], Some(RemedyName::Sweep));
    let none = plan(&snapshot(2), &diagnosis(vec![(pod, vec![])]), &[]);
    assert_eq!(none.steps, []);
    assert!(why(&none).contains("`sweep` deletes it"));
}
