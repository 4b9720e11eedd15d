//! What writes, tokens and waits send, and what they make of the answers.

use std::time::Duration;

use serde_json::{Value, json};

use super::test_server::{Reply, TestServer};
use super::{ApiError, Patch, Write};
use crate::plan::ObjectRef;

const LIMIT: Duration = Duration::from_secs(5);

fn lease() -> ObjectRef {
    ObjectRef {
        group: "coordination.k8s.io".into(),
        version: "v1".into(),
        plural: "leases".into(),
        namespace: "kube-system".into(),
        name: "kubectl-calico".into(),
    }
}

fn pod() -> ObjectRef {
    ObjectRef {
        group: String::new(),
        plural: "pods".into(),
        namespace: "n".into(),
        name: "p".into(),
        ..lease()
    }
}

#[tokio::test]
async fn each_write_is_the_request_it_should_be() {
    let server = TestServer::start(|_, _| Reply::Body(200, r#"{"answer":1}"#.into())).await;
    let cluster = server.cluster(LIMIT).await;
    let (write, body) = (Write::by("kubectl-calico-doctor"), json!({"a": 1}));
    let dry = Write { dry_run: true, ..write };
    let answer = cluster.create(&lease(), &body, write).await.unwrap();
    assert_eq!(answer, json!({"answer": 1}));
    cluster.create(&pod(), &body, dry).await.unwrap();
    cluster.update(&lease(), &body, write).await.unwrap();
    cluster.patch(&lease(), Patch::Merge(&body), write).await.unwrap();
    cluster.patch(&lease(), Patch::Json(&json!([])), dry).await.unwrap();
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    let by = "fieldManager=kubectl-calico-doctor";
    assert_eq!(
        server.lines(),
        [
            format!("POST {leases}?{by}"),
            format!("POST /api/v1/namespaces/n/pods?{by}&dryRun=All"),
            format!("PUT {leases}/kubectl-calico?{by}"),
            format!("PATCH {leases}/kubectl-calico?{by}"),
            format!("PATCH {leases}/kubectl-calico?{by}&dryRun=All"),
        ]
    );
    let asked = server.asked();
    assert_eq!(asked[0].body, r#"{"a":1}"#);
    assert!(asked[0].head.contains("content-type: application/json\r\n"), "{}", asked[0].head);
    assert!(asked[3].head.contains("content-type: application/merge-patch+json\r\n"));
    assert!(asked[4].head.contains("content-type: application/json-patch+json\r\n"));
}

#[tokio::test]
async fn a_write_is_never_sent_twice() {
    let server =
        TestServer::start(
            |number, _| {
                if number == 0 { Reply::Body(503, "{}".into()) } else { Reply::Close }
            },
        )
        .await;
    let cluster = server.cluster(LIMIT).await;
    let write = Write::by("x");
    let busy = cluster.create(&lease(), &json!({}), write).await.unwrap_err();
    assert!(matches!(busy, ApiError::Busy { .. }), "{busy}");
    let broken = cluster.update(&lease(), &json!({}), write).await.unwrap_err();
    assert!(matches!(broken, ApiError::Unreachable { .. }), "{broken}");
    assert_eq!(server.lines().len(), 2);
}

#[tokio::test]
async fn a_token_is_never_shown() {
    let server = TestServer::start(|number, _| {
        Reply::Body(
            201,
            match number {
                0 => r#"{"kind":"TokenRequest","status":{"token":"eyJ.secret.text"}}"#,
                1 => r#"{"status":{"token":"eyJ.secret"#,
                _ => r#"{"status":{"token":""}}"#,
            }
            .into(),
        )
    })
    .await;
    let cluster = server.cluster(LIMIT).await;
    let token = cluster.token_request("kube-system", "calico-cni-plugin", 3600).await.unwrap();
    assert_eq!(token.expose(), "eyJ.secret.text");
    assert!(!format!("{token:?} {token}").contains("secret.text"));
    assert_eq!(
        server.lines(),
        ["POST /api/v1/namespaces/kube-system/serviceaccounts/calico-cni-plugin/token"]
    );
    assert!(server.asked()[0].body.contains(r#""expirationSeconds":3600"#));
    for _ in 0..2 {
        let error = cluster.token_request("n", "a", 600).await.unwrap_err();
        assert!(!error.to_string().contains("secret") && !format!("{error:?}").contains("eyJ"));
    }
}

fn phase(found: Option<&Value>) -> Option<String> {
    match found.and_then(|pod| pod.pointer("/status/phase")?.as_str()) {
        Some("Pending") => None,
        Some(phase) => Some(phase.to_owned()),
        None => Some("gone".to_owned()),
    }
}

#[tokio::test]
async fn a_change_is_seen_when_it_happens() {
    let server = TestServer::start(|_, asked| {
        Reply::Body(
            200,
            if asked.line.contains("watch=1") {
                "{\"type\":\"BOOKMARK\",\"object\":{}}\n{\"type\":\"MODIFIED\",\"object\":{\"status\":{\"phase\":\"Running\"}}}\n"
            } else {
                r#"{"metadata":{"resourceVersion":"7"},"status":{"phase":"Pending"}}"#
            }
            .into(),
        )
    })
    .await;
    let cluster = server.cluster(LIMIT).await;
    assert_eq!(cluster.wait_for(&pod(), LIMIT, phase).await.unwrap().unwrap(), "Running");
    assert_eq!(
        server.lines(),
        [
            "GET /api/v1/namespaces/n/pods/p",
            "GET /api/v1/namespaces/n/pods?watch=1&fieldSelector=metadata.name%3Dp&resourceVersion=7&timeoutSeconds=5"
        ]
    );
}

#[tokio::test]
async fn a_watch_that_breaks_off_is_begun_again() {
    let server =
        TestServer::start(|number, asked| match (number, asked.line.contains("watch=1")) {
            (1, _) => Reply::Body(200, "{\"type\":\"ERROR\",\"object\":{\"code\":410}}\n".into()),
            (3, _) => Reply::Close,
            (_, true) => Reply::Body(200, "{\"type\":\"DELETED\",\"object\":{}}\n".into()),
            _ => Reply::Body(200, r#"{"status":{"phase":"Pending"}}"#.into()),
        })
        .await;
    let cluster = server.cluster(LIMIT).await;
    assert_eq!(cluster.wait_for(&pod(), LIMIT, phase).await.unwrap().unwrap(), "gone");
    assert_eq!(server.lines().len(), 6);
}

#[tokio::test]
async fn a_wait_ends_in_time_and_says_what_is_forbidden() {
    let server = TestServer::start(|_, asked| {
        if asked.line.contains("watch=1") {
            Reply::Hang
        } else {
            Reply::Body(200, r#"{"status":{"phase":"Pending"}}"#.into())
        }
    })
    .await;
    let cluster = server.cluster(LIMIT).await;
    let limit = Duration::from_millis(300);
    assert_eq!(cluster.wait_for(&pod(), limit, phase).await.unwrap(), None);
    let server = TestServer::start(|number, _| {
        if number == 0 {
            Reply::Body(200, r#"{"status":{"phase":"Pending"}}"#.into())
        } else {
            Reply::Body(403, "{}".into())
        }
    })
    .await;
    let cluster = server.cluster(LIMIT).await;
    let error = cluster.wait_for(&pod(), LIMIT, phase).await.unwrap_err();
    assert!(matches!(error, ApiError::Forbidden { .. }), "{error}");
}
