//! kube-proxy as distributions have it.

use serde_json::json;

use super::super::requirements::fixtures;
use super::super::status::fixtures::{Cluster, kube_proxy, off, snapshot};
use super::*;
use crate::slim::{DaemonSet, Pod};
use crate::snapshot::Snapshot;

/// A snapshot where this is changed of every node.
fn with_nodes(change: impl Fn(&mut crate::slim::Node)) -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.nodes.items.iter_mut().for_each(change);
    snapshot
}

fn kubelet(version: &str) -> Snapshot {
    with_nodes(|node| node.status.node_info.kubelet_version = version.to_owned())
}

/// A pod of kube-proxy; of a file when it is a mirror.
fn pod(is_mirror: bool) -> Pod {
    let mut pod =
        Pod { metadata: fixtures::named("kube-system", "kube-proxy-node1"), ..Pod::default() };
    pod.metadata.labels.insert("k8s-app".into(), "kube-proxy".into());
    if is_mirror {
        pod.metadata.annotations.insert("kubernetes.io/config.mirror".into(), "x".into());
    }
    pod
}

fn in_process(snapshot: &Snapshot) -> Cluster<'_> {
    let mut situation = off(snapshot);
    situation.kube_proxy = Known::Absent;
    situation.with("node2", "listeners", "0: 0100007F:2809 00000000:0000 0A 0");
    situation
}

#[test]
fn the_state_is_told_by_pods_then_the_daemon_set_then_the_nodes() {
    let mut snapshot = snapshot();
    let mut situation = off(&snapshot);
    assert_eq!(state(&situation), KubeProxyState::Running);
    situation.kube_proxy = kube_proxy(0);
    assert_eq!(state(&situation), KubeProxyState::Stopped);
    situation.kube_proxy = Known::Absent;
    assert_eq!(state(&situation), KubeProxyState::Absent);
    situation.nodes.insert("node1".into(), fixtures::unknown());
    assert!(matches!(state(&situation), KubeProxyState::Unknown(_)));
    assert_eq!(state(&in_process(&snapshot)), KubeProxyState::InProcess);
    let elsewhere = DaemonSet {
        metadata: fixtures::named("openshift-kube-proxy", "openshift-kube-proxy"),
        ..Default::default()
    };
    situation.daemon_sets = Known::Known(vec![elsewhere]);
    assert_eq!(state(&situation), KubeProxyState::Stopped);
    snapshot.pods.items.push(pod(true));
    assert_eq!(state(&off(&snapshot)), KubeProxyState::StaticPod);
    snapshot.pods.items.push(pod(false));
    assert_eq!(state(&off(&snapshot)), KubeProxyState::Running);
}

#[test]
fn a_daemon_set_that_has_not_counted_anew_is_not_stopped() {
    let snapshot = snapshot();
    let mut situation = off(&snapshot);
    situation.kube_proxy = Known::Known(json!({
        "metadata": { "generation": 3 }, "status": { "desiredNumberScheduled": 0, "observedGeneration": 2 },
    }));
    assert_eq!(state(&situation), KubeProxyState::Running);
}

#[test]
fn a_plain_daemon_set_is_for_this_tool_with_warnings() {
    let snapshot = snapshot();
    let mut situation = off(&snapshot);
    let KubeProxyWay::DaemonSet { warnings } = how_to_disable(&situation) else { panic!() };
    assert!(warnings[0].contains("kubeadm upgrade") && warnings.len() == 1);
    situation.kube_proxy = Known::Known(json!({
        "metadata": { "annotations": { "argocd.argoproj.io/tracking-id": "a:b" }, "labels": { "app": "x" } },
        "status": { "desiredNumberScheduled": 2 },
    }));
    let KubeProxyWay::DaemonSet { warnings } = how_to_disable(&situation) else { panic!() };
    assert!(warnings[0].contains("Argo CD may put kube-proxy back"));
    situation.kube_proxy = kube_proxy(0);
    assert_eq!(how_to_disable(&situation), KubeProxyWay::AlreadyOff);
    situation.kube_proxy = fixtures::unknown();
    assert!(matches!(how_to_disable(&situation), KubeProxyWay::Impossible { .. }));
}

#[test]
fn others_are_told_what_to_do() {
    let k3s = kubelet("v1.31.2+k3s1");
    let way = how_to_disable(&in_process(&k3s));
    assert!(
        matches!(&way, KubeProxyWay::ByHand { kind, instruction, .. } if kind == "k3s" && instruction.contains("disable-kube-proxy"))
    );
    let microk8s = with_nodes(|node| {
        node.metadata.labels.insert("microk8s.io/cluster".into(), "true".into());
    });
    assert!(
        matches!(how_to_disable(&in_process(&microk8s)), KubeProxyWay::Impossible { why } if why.contains("MicroK8s"))
    );
    let mut rke2 = kubelet("v1.31.2+rke2r1");
    rke2.pods.items.push(pod(true));
    let mut situation = off(&rke2);
    situation.kube_proxy = Known::Absent;
    assert!(
        matches!(how_to_disable(&situation), KubeProxyWay::ByHand { kind, .. } if kind == "RKE2")
    );
    let mut files = snapshot();
    files.pods.items.push(pod(true));
    let mut situation = off(&files);
    situation.kube_proxy = Known::Absent;
    assert!(
        matches!(how_to_disable(&situation), KubeProxyWay::ByHand { kind, .. } if kind == "static pods")
    );
    // Nobody knows whose it is.
    let plain = snapshot();
    assert!(matches!(how_to_disable(&in_process(&plain)), KubeProxyWay::Impossible { .. }));
}

#[test]
fn the_operator_that_manages_kube_proxy_does_it_itself() {
    let snapshot = snapshot();
    let mut situation = off(&snapshot);
    let installation = |word: &str| {
        Known::Known(json!({ "spec": { "calicoNetwork": { "kubeProxyManagement": word } } }))
    };
    situation.installation = installation("Enabled");
    let way = how_to_disable(&situation);
    assert!(
        matches!(&way, KubeProxyWay::ByHand { instruction_back, .. } if instruction_back.contains("\"kubeProxyManagement\":\"Disabled\"")),
        "{way:?}"
    );
    situation.installation = installation("Disabled");
    assert!(matches!(how_to_disable(&situation), KubeProxyWay::DaemonSet { .. }));
}

#[test]
fn the_way_back_is_the_distributions() {
    let snapshot = snapshot();
    let mut situation = off(&snapshot);
    situation.kube_proxy = kube_proxy(0);
    assert!(matches!(how_to_bring_back(&situation), KubeProxyWay::DaemonSet { .. }));
    situation.kube_proxy = Known::Absent;
    assert!(matches!(how_to_bring_back(&situation), KubeProxyWay::Impossible { .. }));
    let kops = with_nodes(|node| {
        node.metadata.labels.insert("kops.k8s.io/instancegroup".into(), "nodes".into());
    });
    assert!(matches!(how_to_bring_back(&off(&kops)), KubeProxyWay::ByHand { .. }));
}
