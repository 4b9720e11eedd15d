//! Tests of the remedies that work on hosts, where calico-node cannot start.

use super::fixtures::*;
use super::{Finding, RemedyName};
use crate::findings::{Code, Severity, Subject, SubjectKind};
use crate::plan::{
    Action, Applicability, BinarySource, Condition, Expected, FileContent, HostOperation, Plan,
    Undo, Verification,
};
use crate::slim::{Container, ContainerImage, ContainerState, ContainerStatus, StateDetail};
use crate::snapshot::{HostFacts, Known, Snapshot};

const NO_BINARIES: Code = Code("CAL-CNI-004");
const ORPHANS: Code = Code("CAL-POD-003");
const TERMINATING: Code = Code("CAL-POD-002");

/// Three nodes; calico-node cannot start on node2.
fn broken() -> Snapshot {
    let mut it = snapshot(3);
    let pod = it.pods.items.iter_mut().find(|pod| pod.metadata.name == "calico-node-node2");
    let detail = StateDetail { reason: "ErrImageNeverPull".into(), ..StateDetail::default() };
    let state = ContainerState { waiting: Some(detail), ..ContainerState::default() };
    let status =
        ContainerStatus { name: "calico-node".into(), state, ..ContainerStatus::default() };
    pod.unwrap().status.container_statuses.push(status);
    for node in &mut it.nodes.items {
        node.status.node_info.architecture = "arm64".into();
    }
    if let Known::Known(install) = &mut it.install {
        install.version = Some("v3.28.4".into());
    }
    probed(&mut it, "node1", KUBECONFIG);
    it
}

const KUBECONFIG: &str = "@@calico-kubeconfig rc=0 ms=1\nclusters:\n- cluster:\n    server: https://10.96.0.1:443\n@@end\n";

fn probed(snapshot: &mut Snapshot, node: &str, text: &str) {
    let facts = HostFacts::from_probe(node, text.as_bytes()).0;
    snapshot.hosts.insert(node.into(), Known::Known(facts));
}

fn operation(plan: &Plan, step: usize) -> &HostOperation {
    match &plan.steps[step].action {
        Action::OnHost { operation, .. } => operation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_where_calico_node_cannot_start_is_its_work_done_by_hand() {
    let all = diagnosis(vec![(rejected(&["node1", "node2", "node3"]), vec![])]);
    let plan = plan(&broken(), &all, &[]);
    assert_eq!(nodes(&plan), ["node1", "node2", "node3"], "{plan:?}");
    assert!(matches!(plan.steps[0].action, Action::Delete { .. }));
    let HostOperation::WriteFile { path, mode: 0o600, content, expected, .. } = operation(&plan, 1)
    else {
        panic!("{plan:?}")
    };
    assert_eq!((path.as_str(), expected), ("/etc/cni/net.d/calico-kubeconfig", &Expected::Any));
    let FileContent::CniKubeconfig { server, namespace, service_account } = content else {
        panic!("{content:?}")
    };
    // Its own file is unreadable; that of another node names the same API server.
    assert_eq!(
        [server.as_str(), namespace, service_account],
        ["https://10.96.0.1:443", "kube-system", "calico-cni-plugin"]
    );
    let step = &plan.steps[1];
    assert_eq!(step.applicability, Applicability::Ask);
    assert!(matches!(step.undo, Undo::OnHost { .. }), "{step:?}");
    let [Verification { condition: Condition::CniCredentialsAccepted { node }, .. }] =
        step.verify.as_slice()
    else {
        panic!("{step:?}")
    };
    assert_eq!(node, "node2");
}

#[test]
fn without_an_address_no_file_is_written() {
    let mut it = broken();
    it.hosts.clear();
    let plan = plan(&it, &diagnosis(vec![(rejected(&["node2"]), vec![])]), &[]);
    assert_eq!(plan.steps, []);
    let why = why(&plan);
    assert!(why.contains("does not start: ErrImageNeverPull"), "{why}");
    assert!(why.contains("the address of the API server is not known"), "{why}");
}

fn missing_binaries() -> Finding {
    finding(NO_BINARIES, Subject::nodes(["node2"]), "missing", true)
}

#[test]
fn binaries_come_from_the_image_on_the_node_else_from_the_release() {
    let root = || diagnosis(vec![(missing_binaries(), vec![])]);
    let sources = |snapshot: &Snapshot| -> Vec<(String, BinarySource)> {
        let plan = plan(snapshot, &root(), &[]);
        (0..plan.steps.len())
            .map(|step| match operation(&plan, step) {
                HostOperation::WriteFile {
                    path,
                    content: FileContent::Binary { source, .. },
                    ..
                } => (path.clone(), source.clone()),
                other => panic!("{other:?}"),
            })
            .collect()
    };
    let mut it = broken();
    let release = BinarySource::Release { version: "v3.28.4".into(), architecture: "arm64".into() };
    let both = [
        ("/opt/cni/bin/calico".to_owned(), release.clone()),
        ("/opt/cni/bin/calico-ipam".to_owned(), release),
    ];
    assert_eq!(sources(&it), both);
    // An image of another release does not serve; one of the right release does.
    let names = |name: &str| vec![ContainerImage { names: vec![name.into()] }; 50];
    it.nodes.items[1].status.images = names("docker.io/calico/cni:v3.27.0");
    assert_eq!(sources(&it), both);
    it.nodes.items[1].status.images = names("docker.io/calico/cni:v3.28.4");
    let image = sources(&it);
    assert_eq!(
        image[1].1,
        BinarySource::Image {
            image: "docker.io/calico/cni:v3.28.4".into(),
            path: "/opt/cni/bin/calico-ipam".into()
        }
    );
    // An image that the kubelet has just looked for in vain is gone, whatever the node's status says.
    let mut just_gone = it.clone();
    let pods = just_gone.pods.items.iter_mut();
    for pod in pods.filter(|pod| pod.metadata.name == "calico-node-node2") {
        let image = "calico/cni:v3.28.4".into();
        pod.spec.containers = vec![Container { name: "calico-node".into(), image }];
    }
    assert_eq!(sources(&just_gone), both);
    // What the host shows to be there is left alone.
    probed(
        &mut it,
        "node2",
        "@@ls-cni-bin rc=0 ms=1\n-rwxr-xr-x 1 0 0 9 2026-11-21 12:03:47.6 +0000 calico\n@@end\n",
    );
    let left: Vec<String> = sources(&it).into_iter().map(|(path, _)| path).collect();
    assert_eq!(left, ["/opt/cni/bin/calico-ipam"]);
}

/// node1's runtime lists a sandbox of web, which is being deleted, one of api, which is not, and an orphan.
const SANDBOXES: &str = r#"@@crictl-pods rc=0 ms=1
{"items":[{"id":"s1","metadata":{"name":"web","uid":"uid-web","namespace":"shop"},"state":"SANDBOX_READY"},
{"id":"s2","metadata":{"name":"api","uid":"uid-api","namespace":"shop"},"state":"SANDBOX_READY"},
{"id":"s3","metadata":{"name":"old","uid":"uid-old","namespace":"shop"},"state":"SANDBOX_NOTREADY"}]}
@@end
"#;

fn wedged() -> Snapshot {
    let mut it = snapshot(1);
    let mut web = pod("shop", "web", "node1");
    web.metadata.deletion_timestamp = Some(jiff::Timestamp::UNIX_EPOCH);
    it.pods.items.extend([web, pod("shop", "api", "node1")]);
    probed(&mut it, "node1", SANDBOXES);
    it
}

fn orphaned() -> Finding {
    let subject = Subject::of(SubjectKind::Object, ["Sandbox/node1/s3"]);
    let mut it = finding(ORPHANS, subject, "orphaned", false);
    (it.nodes, it.remedy) = (vec!["node1".into()], Some(RemedyName::FreeSandboxes));
    it
}

fn terminating(pods: &[&str]) -> Finding {
    let mut it = finding(TERMINATING, Subject::pods(pods.iter().copied()), "gone", false);
    (it.nodes, it.remedy) = (vec!["node1".into()], Some(RemedyName::FreeSandboxes));
    it
}

fn freed(plan: &Plan) -> Vec<&str> {
    let HostOperation::RemoveSandboxes { sandboxes, loopback: true } = operation(plan, 0) else {
        panic!("{plan:?}")
    };
    sandboxes.iter().map(|it| it.id.as_str()).collect()
}

#[test]
fn only_sandboxes_whose_pod_is_gone_or_going_are_freed() {
    let both = diagnosis(vec![(orphaned(), vec![]), (terminating(&["shop/web"]), vec![])]);
    let both = plan(&wedged(), &both, &[TERMINATING, ORPHANS]);
    assert_eq!(both.steps.len(), 1);
    assert_eq!(freed(&both), ["s1", "s3"], "sorted by id");
    let conditions: Vec<_> = both.steps[0].verify.iter().map(|it| &it.condition).collect();
    let [Condition::SandboxesGone { ids, .. }, Condition::PodsSettled { pods, .. }] =
        conditions.as_slice()
    else {
        panic!("{conditions:?}")
    };
    assert_eq!((ids.len(), pods.len()), (2, 1));
    // A finding that names a pod which is to live frees nothing of it.
    let wrong = diagnosis(vec![(terminating(&["shop/web", "shop/api"]), vec![])]);
    assert_eq!(freed(&plan(&wedged(), &wrong, &[])), ["s1"]);
    let orphans = diagnosis(vec![(orphaned(), vec![])]);
    assert_eq!(freed(&plan(&wedged(), &orphans, &[])), ["s3"]);
}

#[test]
fn with_a_partial_list_of_pods_nothing_is_freed() {
    let mut it = wedged();
    it.pods.coverage = crate::snapshot::Coverage::Selected(vec!["fieldSelector=x".into()]);
    let plan = plan(&it, &diagnosis(vec![(orphaned(), vec![])]), &[]);
    assert_eq!(plan.steps, []);
    assert!(why(&plan).contains("not all pods could be read"), "{}", why(&plan));
}

#[test]
fn a_symptom_is_treated_alone_only_when_it_is_named() {
    let mut root = finding(Code("CAL-CNI-010"), Subject::nodes(["node1"]), "refused", false);
    root.severity = Severity::Critical;
    let it = diagnosis(vec![(root, vec![terminating(&["shop/web"])])]);
    let plain = plan(&wedged(), &it, &[]);
    assert_eq!(plain.steps, []);
    assert!(why(&plain).contains("asking for CAL-POD-002"), "{}", why(&plain));
    assert_eq!(freed(&plan(&wedged(), &it, &[TERMINATING])), ["s1"]);
}
