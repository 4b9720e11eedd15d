//! Tests of the judgement: every condition met, not met, and not seen.

use std::collections::BTreeSet;

use super::*;
use crate::calico::credentials::RootCa;
use crate::plan::PodRef;
use crate::slim::{ContainerState, NodeCondition, OwnerReference, PodCondition, StateDetail};
use crate::snapshot::{CniKubeconfig, FileEntry, TokenFacts, Vantage};

const NOW: i64 = 1_800_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).unwrap()
}

fn seen() -> Observed {
    Observed::nothing(at(0))
}

fn not_yet(verdict: &Verdict, part: &str) {
    let Verdict::NotYet(why) = verdict else { panic!("{verdict:?}") };
    assert!(why.contains(part), "{why} lacks {part}");
}

fn condition_of(kind: &str, status: &str, since: i64) -> PodCondition {
    PodCondition {
        kind: kind.into(),
        status: status.into(),
        last_transition_time: Some(at(since)),
        ..PodCondition::default()
    }
}

fn waiting(name: &str, reason: &str) -> ContainerStatus {
    let waiting = Some(StateDetail { reason: reason.into(), ..StateDetail::default() });
    let state = ContainerState { waiting, ..ContainerState::default() };
    ContainerStatus { name: name.into(), state, ..ContainerStatus::default() }
}

fn running(name: &str) -> ContainerStatus {
    let state =
        ContainerState { running: Some(StateDetail::default()), ..ContainerState::default() };
    ContainerStatus { name: name.into(), state, ..ContainerStatus::default() }
}

fn daemon_pod(uid: &str, ready: &str) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.namespace = "kube-system".into();
    pod.metadata.name = format!("calico-node-{uid}");
    pod.metadata.uid = uid.into();
    pod.metadata.owner_references.push(OwnerReference {
        api_version: "apps/v1".into(),
        kind: "DaemonSet".into(),
        name: "calico-node".into(),
        uid: "ds".into(),
        controller: true,
    });
    pod.spec.node_name = "node2".into();
    pod.status.phase = "Pending".into();
    pod.status.conditions.push(condition_of("Ready", ready, 0));
    pod
}

fn judge_daemon(pods: Vec<Pod>) -> Verdict {
    let condition = Condition::DaemonPodReady {
        namespace: "kube-system".into(),
        daemon_set: "calico-node".into(),
        node: "node2".into(),
        old_uid: "old".into(),
    };
    judge(&condition, &Observed { pods: Known::Known(pods), ..seen() })
}

#[test]
fn only_another_pod_that_is_ready_counts() {
    assert_eq!(judge_daemon(vec![daemon_pod("new", "True")]), Verdict::Met);
    not_yet(&judge_daemon(vec![daemon_pod("old", "True")]), "is still there");
    not_yet(&judge_daemon(vec![]), "no new pod");
    let mut starting = daemon_pod("new", "False");
    starting.status.init_container_statuses.push(waiting("install-cni", "ImagePullBackOff"));
    not_yet(&judge_daemon(vec![starting]), "install-cni ImagePullBackOff");
    let mut going = daemon_pod("new", "True");
    going.metadata.deletion_timestamp = Some(at(0));
    not_yet(&judge_daemon(vec![going]), "no new pod");
    let mut elsewhere = daemon_pod("new", "True");
    elsewhere.spec.node_name = "node1".into();
    not_yet(&judge_daemon(vec![elsewhere]), "no new pod");
}

fn hung(uid: &str) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.namespace = "shop".into();
    pod.metadata.name = "web".into();
    pod.metadata.uid = uid.into();
    pod.status.phase = "Pending".into();
    pod.status.conditions.push(condition_of("PodReadyToStartContainers", "False", 0));
    pod.status.container_statuses.push(waiting("web", "ContainerCreating"));
    pod
}

fn judge_hung(pods: Vec<Pod>) -> Verdict {
    let pods_wanted =
        vec![PodRef { namespace: "shop".into(), name: "web".into(), uid: "u1".into() }];
    let condition = Condition::PodsSettled { node: "node2".into(), pods: pods_wanted };
    judge(&condition, &Observed { pods: Known::Known(pods), ..seen() })
}

#[test]
fn a_pod_is_settled_when_it_runs_or_is_gone() {
    not_yet(&judge_hung(vec![hung("u1")]), "shop/web has no network yet: web ContainerCreating");
    // Another pod of the same name is not the one we wait for: that one is gone.
    assert_eq!(judge_hung(vec![hung("u2")]), Verdict::Met);
    assert_eq!(judge_hung(vec![]), Verdict::Met);
    let mut finished = hung("u1");
    finished.status.phase = "Succeeded".into();
    assert_eq!(judge_hung(vec![finished]), Verdict::Met);
    let mut going = hung("u1");
    going.metadata.deletion_timestamp = Some(at(0));
    not_yet(&judge_hung(vec![going]), "still Terminating");
}

#[test]
fn a_pod_with_a_network_is_settled_once_it_waits_for_something_else() {
    let with = |status: ContainerStatus, since: i64| {
        let mut pod = hung("u1");
        pod.status.conditions = vec![condition_of("PodReadyToStartContainers", "True", since)];
        pod.status.container_statuses = vec![status];
        judge_hung(vec![pod])
    };
    assert_eq!(with(running("web"), 0), Verdict::Met);
    assert_eq!(with(waiting("web", "ImagePullBackOff"), 0), Verdict::Met);
    not_yet(&with(waiting("web", "ContainerCreating"), -5), "does not run yet");
    assert_eq!(with(waiting("web", "ContainerCreating"), -60), Verdict::Met);
    // After a reboot a status may still say Running: the missing sandbox decides.
    let mut stale = hung("u1");
    stale.status.phase = "Running".into();
    stale.status.container_statuses = vec![running("web")];
    not_yet(&judge_hung(vec![stale]), "no network yet");
    // Old kubelets do not report the sandbox.
    let mut old = hung("u1");
    old.status.conditions.clear();
    not_yet(&judge_hung(vec![old.clone()]), "does not run yet");
    old.status.container_statuses = vec![running("web")];
    assert_eq!(judge_hung(vec![old]), Verdict::Met);
}

fn host() -> HostFacts {
    HostFacts {
        vantage: Vantage::CalicoNode,
        cni_kubeconfig: Known::Known(CniKubeconfig {
            server: Known::Known("https://10.96.0.1:443".into()),
            ca_sha256: Known::Known("aa".into()),
            token: Known::Known(TokenFacts {
                key_id: Some("k1".into()),
                service_account_uid: Some("u1".into()),
                expires_at: Some(at(3600)),
                ..TokenFacts::default()
            }),
        }),
        cni_config_dir: Known::Known(vec![]),
        ..HostFacts::from_probe("node2", b"").0
    }
}

fn ca(sha256: &str) -> Known<RootCa> {
    Known::Known(RootCa { sha256: sha256.into(), certificates: BTreeSet::new() })
}

fn judge_credentials(change: impl FnOnce(&mut Observed)) -> Verdict {
    let mut it = seen();
    it.host = Known::Known(host());
    it.credentials = ClusterCredentials {
        root_ca: ca("aa"),
        service_account_uid: Known::Known("u1".into()),
        key_ids: Known::Known(BTreeSet::from(["k1".to_owned()])),
    };
    change(&mut it);
    judge(&Condition::CniCredentialsAccepted { node: "node2".into() }, &it)
}

#[test]
fn credentials_are_accepted_only_when_everything_matches() {
    assert_eq!(judge_credentials(|_| {}), Verdict::Met);
    let other = || Known::Known("another-uid-of-some-length".to_owned());
    not_yet(&judge_credentials(|it| it.credentials.root_ca = ca("bb")), "CA aa ≠");
    not_yet(
        &judge_credentials(|it| it.credentials.service_account_uid = other()),
        "uid u1 ≠ live uid another-…",
    );
    not_yet(
        &judge_credentials(|it| it.credentials.key_ids = Known::Known(BTreeSet::new())),
        "token key k1",
    );
    not_yet(&judge_credentials(|it| it.now = at(3601)), "expired at");
}

#[test]
fn what_cannot_be_seen_is_never_accepted() {
    not_yet(
        &judge_credentials(|it| it.host = not_asked("probe.txt")),
        "probe.txt could not be read",
    );
    not_yet(&judge_credentials(|it| it.host = Known::Absent), "cannot be probed");
    not_yet(&judge_credentials(|it| it.credentials.key_ids = not_asked("jwks")), "jwks");
    not_yet(
        &judge_credentials(|it| {
            it.host = Known::Known(HostFacts { cni_kubeconfig: Known::Absent, ..host() });
        }),
        "no calico-kubeconfig",
    );
    let nothing = seen();
    for condition in [
        Condition::CniCredentialsAccepted { node: "n".into() },
        Condition::NodeNetworkReady { node: "n".into() },
        Condition::PodsSettled { node: "n".into(), pods: vec![] },
    ] {
        not_yet(&judge(&condition, &nothing), "could not be read");
    }
}

#[test]
fn without_its_service_account_waiting_is_pointless() {
    let verdict = judge_credentials(|it| it.credentials.service_account_uid = Known::Absent);
    assert!(matches!(verdict, Verdict::Failed(_)), "{verdict:?}");
}

fn judge_network(status: &str, message: &str, file: Option<(&str, u64)>) -> Verdict {
    let mut node = Node::default();
    node.status.conditions.push(NodeCondition {
        kind: "Ready".into(),
        status: status.into(),
        message: message.into(),
        ..NodeCondition::default()
    });
    let files = file.map(|(name, size)| FileEntry {
        name: name.into(),
        mode: "-rw-r--r--".into(),
        size,
        modified: None,
    });
    let mut host = host();
    host.cni_config_dir = Known::Known(files.into_iter().collect());
    let it = Observed { node: Known::Known(node), host: Known::Known(host), ..seen() };
    judge(&Condition::NodeNetworkReady { node: "node2".into() }, &it)
}

#[test]
fn the_network_needs_a_ready_node_and_a_configuration() {
    assert_eq!(judge_network("True", "", Some(("10-calico.conflist", 600))), Verdict::Met);
    assert_eq!(judge_network("True", "", Some(("10-canal.conflist", 600))), Verdict::Met);
    for file in [None, Some(("calico-kubeconfig", 3000)), Some(("10-calico.conflist", 0))] {
        not_yet(&judge_network("True", "", file), "no CNI configuration");
    }
    let file = Some(("10-calico.conflist", 600));
    not_yet(&judge_network("False", "cni plugin not initialized", file), "not initialized");
    let gone = Observed { node: Known::Absent, ..seen() };
    let verdict = judge(&Condition::NodeNetworkReady { node: "node2".into() }, &gone);
    assert_eq!(verdict, Verdict::Failed("node node2 no longer exists".into()));
}

fn judge_probe(condition: &Condition, probe: &str) -> Verdict {
    let mut it = seen();
    it.host = Known::Known(HostFacts::from_probe("node2", probe.as_bytes()).0);
    judge(condition, &it)
}

#[test]
fn binaries_are_there_when_the_host_shows_both() {
    let condition = Condition::CniBinariesPresent {
        node: "node2".into(),
        names: vec!["calico".into(), "calico-ipam".into()],
    };
    let line = |name: &str, size: u64| {
        format!("-rwxr-xr-x 1 0 0 {size} 2026-11-21 12:03:47.6 +0000 {name}\n")
    };
    let listing = |files: String| format!("@@ls-cni-bin rc=0 ms=1\n{files}@@end\n");
    let both = line("calico", 9) + &line("calico-ipam", 9);
    assert_eq!(judge_probe(&condition, &listing(both)), Verdict::Met);
    let torn = line("calico", 9) + &line("calico-ipam", 0);
    not_yet(&judge_probe(&condition, &listing(torn)), "calico-ipam is not in");
    not_yet(&judge_probe(&condition, ""), "could not be read");
}

#[test]
fn the_first_configuration_by_name_counts() {
    let condition = Condition::CalicoConfigurationFirst { node: "node2".into() };
    let listing = |names: &[&str]| {
        let line = |name: &&str| format!("-rw------- 1 0 0 9 2026-11-21 12:03:47.6 +0000 {name}\n");
        format!("@@ls-cni-net.d rc=0 ms=1\n{}@@end\n", names.iter().map(line).collect::<String>())
    };
    let judged = |names: &[&str]| judge_probe(&condition, &listing(names));
    let ours = "10-calico.conflist";
    assert_eq!(
        judged(&["00-x.conflist.kubectl-calico-01.bak", ours, "calico-kubeconfig"]),
        Verdict::Met
    );
    not_yet(&judged(&["05-cilium.conflist", ours]), "05-cilium.conflist comes before");
    not_yet(&judged(&["calico-kubeconfig"]), "no CNI configuration");
}

#[test]
fn sandboxes_and_objects_are_gone_when_nothing_shows_them() {
    let condition = Condition::SandboxesGone { node: "node2".into(), ids: vec!["a".into()] };
    let listing =
        |id: &str| format!("@@crictl-pods rc=0 ms=1\n{{\"items\":[{{\"id\":\"{id}\"}}]}}\n@@end\n");
    assert_eq!(judge_probe(&condition, &listing("b")), Verdict::Met);
    not_yet(&judge_probe(&condition, &listing("a")), "1 of 1 sandboxes");
    not_yet(&judge_probe(&condition, "@@crictl-pods rc=127 ms=1\nnot found\n@@end\n"), "read");

    let object = crate::plan::ObjectRef {
        group: String::new(),
        version: "v1".into(),
        plural: "pods".into(),
        namespace: "n".into(),
        name: "p".into(),
    };
    let condition = Condition::ObjectGone { object, uid: "u1".into() };
    let judged = |uid: Known<String>| judge(&condition, &Observed { object_uid: uid, ..seen() });
    assert_eq!(judged(Known::Absent), Verdict::Met);
    assert_eq!(judged(Known::Known("u2".into())), Verdict::Met);
    not_yet(&judged(Known::Known("u1".into())), "still there");
    not_yet(&judged(not_asked("object")), "could not be read");
}

#[test]
fn a_patched_object_is_judged_by_what_it_is_now() {
    let object = crate::plan::ObjectRef {
        group: String::new(),
        version: "v1".into(),
        plural: "nodes".into(),
        namespace: String::new(),
        name: "node2".into(),
    };
    let patch =
        crate::plan::JsonPatch::default().change("/spec/unschedulable", None, Some(true.into()));
    let condition = Condition::Patched { object, uid: "u1".into(), patch };
    let judged = |object: Known<Value>| judge(&condition, &Observed { object, ..seen() });
    let node = |uid: &str, unschedulable: Value| {
        let metadata = serde_json::json!({ "uid": uid });
        Known::Known(
            serde_json::json!({ "metadata": metadata, "spec": { "unschedulable": unschedulable } }),
        )
    };
    assert_eq!(judged(node("u1", true.into())), Verdict::Met);
    not_yet(&judged(node("u1", Value::Null)), "not changed");
    assert!(
        matches!(judged(node("u2", true.into())), Verdict::Failed(why) if why.contains("another"))
    );
    not_yet(&judged(Known::Absent), "gone");
    not_yet(&judged(not_asked("object")), "could not be read");
}

#[test]
fn a_node_takes_pods_or_does_not() {
    let judged = |is: bool, unschedulable: bool| {
        let mut node = Node::default();
        node.spec.unschedulable = unschedulable;
        let condition = Condition::NodeSchedulable { node: "node2".into(), is };
        judge(&condition, &Observed { node: Known::Known(node), ..seen() })
    };
    assert_eq!((judged(true, false), judged(false, true)), (Verdict::Met, Verdict::Met));
    not_yet(&judged(true, true), "is cordoned");
    not_yet(&judged(false, false), "is not cordoned");
    let cordoned = Condition::NodeSchedulable { node: "node2".into(), is: false };
    not_yet(&judge(&cordoned, &Observed { node: Known::Absent, ..seen() }), "no longer exists");
}

#[test]
fn an_empty_archive_is_no_backup() {
    let condition = Condition::BackedUp { node: "node2".into(), directory: "/d".into() };
    let judged = |backup| judge(&condition, &Observed { backup, ..seen() });
    assert_eq!(judged(Known::Known(BackupFacts { entries: 9 })), Verdict::Met);
    assert!(matches!(judged(Known::Known(BackupFacts { entries: 0 })), Verdict::Failed(_)));
    not_yet(&judged(Known::Absent), "no archive");
    not_yet(&judged(not_asked("backup")), "could not be read");
    let gone = Condition::PodsGone { pods: Vec::new() };
    assert_eq!(
        judge(&gone, &Observed { lingering: Known::Known(Vec::new()), ..seen() }),
        Verdict::Met
    );
    not_yet(&judge(&gone, &seen()), "could not be read");
}
