//! Collections from a server that plays a cluster, and the choice of nodes.

use std::time::Duration;

use crate::cluster::test_server::{Asked, Reply, TestServer};
use crate::slim::Pod;
use crate::snapshot::{Coverage, Flavour, GapReason, Known, Snapshot, SnapshotBuilder};

use super::nodes::{Target, targets};
use super::{ALL_NODES_LIMIT, Outcome, Quiet, SAMPLE, Want, collect_live};

const LIMIT: Duration = Duration::from_secs(20);

fn body(text: &str) -> Reply {
    Reply::Body(200, text.to_owned())
}

fn refusal(code: u16) -> Reply {
    Reply::Body(code, format!(r#"{{"kind":"Status","message":"no {code}"}}"#))
}

const CALICO_NODE: &str = r#"{"metadata":{"namespace":"kube-system","name":"calico-node","labels":{"k8s-app":"calico-node"}},"status":{"desiredNumberScheduled":1}}"#;

/// A cluster with one node, whose calico-node has not started yet.
fn cluster(asked: &Asked, groups: &str) -> Reply {
    let list =
        |items: &str| body(&format!(r#"{{"kind":"List","metadata":{{}},"items":[{items}]}}"#));
    let path = asked.line.trim_start_matches("GET ");
    match path.split('?').next().unwrap_or_default() {
        "/version" => body(r#"{"gitVersion":"v1.34.4"}"#),
        "/apis" => body(&format!(r#"{{"groups":[{groups}]}}"#)),
        "/openid/v1/jwks" => body(r#"{"keys":[{"kid":"k1"}]}"#),
        "/api/v1/namespaces/kube-system" => body(
            r#"{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":"u-1"}}"#,
        ),
        "/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt" => refusal(404),
        "/api/v1/nodes" => list(r#"{"metadata":{"name":"n1"}}"#),
        "/api/v1/pods" => list(
            r#"{"metadata":{"namespace":"kube-system","name":"calico-node-x","labels":{"k8s-app":"calico-node"}},"spec":{"nodeName":"n1"},"status":{"phase":"Pending"}}"#,
        ),
        "/apis/apps/v1/daemonsets" => list(CALICO_NODE),
        path if path.starts_with("/apis/projectcalico.org")
            && groups.contains("\"projectcalico.org\"") =>
        {
            list("")
        }
        path if path.starts_with("/apis/crd.projectcalico.org") && groups.contains("crd.") => {
            list(r#"{"metadata":{"name":"default"},"spec":{"calicoVersion":"v3.28.4"}}"#)
        }
        path if path.contains("projectcalico.org") => refusal(404),
        _ => list(""),
    }
}

const CRD: &str = r#"{"name":"apps"},{"name":"crd.projectcalico.org"}"#;

async fn collect(server: &TestServer, want: Want) -> (Outcome, Snapshot) {
    let cluster = server.cluster(LIMIT).await;
    let mut builder = SnapshotBuilder::new();
    let outcome = collect_live(&cluster, want, &mut builder, &Quiet).await;
    (outcome, builder.finish(jiff::Timestamp::UNIX_EPOCH))
}

#[tokio::test]
async fn a_cluster_becomes_a_snapshot() {
    let server = TestServer::start(|_, asked| cluster(asked, CRD)).await;
    let (outcome, seen) = collect(&server, Want::ALL).await;
    assert_eq!(outcome, Outcome::default());
    assert_eq!(seen.cluster.uid, Known::Known("u-1".to_owned()));
    assert_eq!(seen.flavour, Known::Known(Flavour::CrdV1));
    assert_eq!(seen.install.known().unwrap().version.as_deref(), Some("v3.28.4"));
    assert!(seen.pods.is_whole() && seen.nodes.is_whole());
    let Coverage::Selected(events) = &seen.events.coverage else { panic!("{:?}", seen.events) };
    assert_eq!(events.len(), 5);
    assert_eq!(
        seen.service_accounts.coverage,
        Coverage::Selected(vec!["namespace=kube-system".to_owned()])
    );
    assert_eq!(seen.config_maps.items.len(), 0);
    // The pod that does not run yet is a reason, not a silence.
    let gap = seen.host("n1").gap().cloned().unwrap();
    assert_eq!(gap.why, GapReason::Unreachable);
    assert!(gap.detail.contains("kube-system/calico-node-x does not run: Pending"), "{gap:?}");
    assert!(server.lines().iter().all(|line| line.starts_with("GET ")), "nothing is created");
}

#[tokio::test]
async fn only_what_is_wanted_is_asked() {
    let server = TestServer::start(|_, asked| cluster(asked, CRD)).await;
    let (_, seen) = collect(&server, Want::of([crate::checks::Need::Nodes])).await;
    assert!(seen.nodes.is_whole() && seen.pods.coverage == Coverage::None);
    assert_eq!(server.lines().len(), 4, "{:?}", server.lines());
}

#[tokio::test]
async fn what_is_refused_is_a_gap_and_the_rest_goes_on() {
    let server = TestServer::start(|_, asked| {
        if asked.line.contains("/pods") || asked.line.contains("reason%3DUnhealthy") {
            refusal(403)
        } else {
            cluster(asked, CRD)
        }
    })
    .await;
    let (outcome, seen) = collect(&server, Want::ALL).await;
    assert_eq!(outcome.unreachable, None);
    assert_eq!(seen.pods.gap.as_ref().unwrap().why, GapReason::Forbidden);
    let events = seen.events.gap.as_ref().unwrap();
    assert!(events.why == GapReason::Forbidden && events.detail.contains("reason=Unhealthy"));
    assert!(seen.nodes.is_whole());
    assert!(!seen.events.is_whole());
}

#[tokio::test]
async fn a_server_that_refuses_the_user_is_asked_once() {
    let server = TestServer::start(|_, _| refusal(401)).await;
    let (outcome, seen) = collect(&server, Want::ALL).await;
    assert!(outcome.unreachable.is_some());
    assert_eq!(server.lines(), ["GET /version"]);
    let version = seen.gaps.iter().find(|gap| gap.what == "cluster/api/version.json").unwrap();
    assert_eq!(version.why, GapReason::Other("Unauthorized".to_owned()));
}

#[tokio::test]
async fn the_group_that_is_served_is_read() {
    let v3 = r#"{"name":"projectcalico.org"}"#;
    let server = TestServer::start(move |_, asked| cluster(asked, v3)).await;
    let (_, seen) = collect(&server, Want::ALL).await;
    assert_eq!(seen.flavour, Known::Known(Flavour::NativeV3));
    assert!(server.lines().iter().all(|line| !line.contains("crd.projectcalico.org")));

    let server = TestServer::start(|_, asked| cluster(asked, r#"{"name":"apps"}"#)).await;
    let (_, seen) = collect(&server, Want::ALL).await;
    assert_eq!(seen.flavour, Known::Absent);
    assert_eq!(seen.cluster_information.gap.unwrap().why, GapReason::NotServed);
    assert!(server.lines().iter().all(|line| !line.contains("projectcalico.org")));
}

/// Nodes `n000`…, each with a running calico-node that is ready unless its number is in `unready`.
fn nodes(count: usize, unready: &[usize]) -> Snapshot {
    let mut seen = SnapshotBuilder::new().finish(jiff::Timestamp::UNIX_EPOCH);
    for number in 0..count {
        let name = format!("n{number:03}");
        let ready = if unready.contains(&number) { "False" } else { "True" };
        let pod = format!(
            r#"{{"metadata":{{"name":"a-{name}","namespace":"c","labels":{{"k8s-app":"calico-node"}}}},
                "spec":{{"nodeName":"{name}","hostNetwork":true}},
                "status":{{"phase":"Running","conditions":[{{"type":"Ready","status":"{ready}"}}],
                "containerStatuses":[{{"name":"calico-node","state":{{"running":{{}}}}}}]}}}}"#
        );
        seen.pods.items.push(serde_json::from_str(&pod).unwrap());
        let node = format!(r#"{{"metadata":{{"name":"{name}"}}}}"#);
        seen.nodes.items.push(serde_json::from_str(&node).unwrap());
    }
    seen
}

fn stuck_on(node: &str) -> Pod {
    let pod = format!(
        r#"{{"metadata":{{"name":"s"}},"spec":{{"nodeName":"{node}"}},"status":{{"phase":"Pending"}}}}"#
    );
    serde_json::from_str(&pod).unwrap()
}

#[test]
fn all_nodes_are_probed_up_to_the_limit() {
    let seen = nodes(ALL_NODES_LIMIT, &[]);
    let targets = targets(&seen);
    assert_eq!(targets.len(), ALL_NODES_LIMIT);
    assert!(targets.values().all(|target| matches!(target, Target::Through(_))));
}

#[test]
fn in_a_large_cluster_the_suspects_and_a_sample_are_probed() {
    let mut seen = nodes(ALL_NODES_LIMIT + 50, &[111]);
    seen.pods.items.push(stuck_on("n222"));
    seen.pods.items.push(stuck_on(""));
    let targets = targets(&seen);
    assert_eq!(targets.len(), 2 + SAMPLE);
    assert!(targets.contains_key("n111") && targets.contains_key("n222"));
}

#[test]
fn a_node_that_cannot_be_asked_says_why() {
    let mut seen = nodes(3, &[]);
    seen.pods.items.remove(0);
    let silent = r#"{"type":"Ready","status":"Unknown"}"#;
    seen.nodes.items[1].status.conditions.push(serde_json::from_str(silent).unwrap());
    seen.pods.items[1].status.container_statuses[0].state.running = None;
    let targets = targets(&seen);
    let why = |name: &str| match &targets[name] {
        Target::NoPod(why) | Target::NotRunning(why) => why.clone(),
        Target::Through(pod) => panic!("{name} through {}", pod.full_name()),
    };
    assert!(why("n000").contains("no calico-node pod"));
    assert!(why("n001").contains("kubelet has stopped reporting"));
    assert!(why("n002").contains("c/a-n002 does not run"));
}

#[test]
fn a_running_pod_goes_before_one_that_is_being_replaced() {
    let mut seen = nodes(1, &[]);
    let mut old = seen.pods.items[0].clone();
    old.metadata.name = "a-0".to_owned();
    old.metadata.deletion_timestamp = Some(jiff::Timestamp::UNIX_EPOCH);
    seen.pods.items.push(old);
    let targets = targets(&seen);
    let Target::Through(pod) = &targets["n000"] else { panic!("{targets:?}") };
    assert_eq!(pod.metadata.name, "a-n000");
}
