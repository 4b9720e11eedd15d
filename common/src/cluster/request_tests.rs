//! Requests against a server that answers well, badly, late or not at all.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::test_server::{Reply, TestServer, connect};
use super::{ApiError, Cluster, ListRequest, Unreachable};
use crate::plan::ObjectRef;
use crate::snapshot::{GapReason, Resource};

const LIMIT: Duration = Duration::from_secs(20);

fn body(text: &str) -> Reply {
    Reply::Body(200, text.to_owned())
}

fn status(code: u16, reason: &str) -> Reply {
    let text = format!(
        r#"{{"kind":"Status","status":"Failure","message":"it says {reason}","reason":"{reason}","code":{code}}}"#
    );
    Reply::Body(code, text)
}

fn page(token: &str, name: &str) -> Reply {
    body(&format!(
        r#"{{"kind":"PodList","metadata":{{"resourceVersion":"7","continue":"{token}"}},"items":[{{"metadata":{{"name":"{name}"}}}}]}}"#
    ))
}

fn pods() -> ListRequest {
    ListRequest::all(Resource::new("pods", ""), "v1")
}

/// Lists pods: the pages since the last beginning, and how often it began.
async fn list(cluster: &Cluster) -> (Vec<String>, usize, Result<(), ApiError>) {
    let (mut pages, mut begins) = (Vec::new(), 0);
    let result = cluster
        .list(&pods(), &mut |page| {
            if page.is_first {
                pages.clear();
                begins += 1;
            }
            assert_eq!(page.resource_version.as_deref(), Some("7"));
            pages.push(String::from_utf8(page.body).unwrap());
        })
        .await;
    (pages, begins, result)
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let server = TestServer::start(|number, _| match number {
        0 => page("a b&c", "one"),
        1 => page("d", "two"),
        _ => page("", "three"),
    })
    .await;
    let (pages, begins, result) = list(&server.cluster(LIMIT).await).await;
    assert_eq!((result, begins, pages.len()), (Ok(()), 1, 3));
    assert!(pages[2].contains("three"));
    assert_eq!(
        server.lines(),
        [
            "GET /api/v1/pods?limit=500",
            "GET /api/v1/pods?limit=500&continue=a%20b%26c",
            "GET /api/v1/pods?limit=500&continue=d"
        ]
    );
}

#[tokio::test]
async fn selectors_and_namespaces_are_sent() {
    let server = TestServer::start(|_, _| page("", "one")).await;
    let request = ListRequest {
        resource: Resource::new("daemonsets", "apps"),
        namespace: Some("a".into()),
        label_selector: Some("k in (a,b)".into()),
        field_selector: Some("reason=X".into()),
        ..pods()
    };
    assert_eq!(
        request.selector().as_deref(),
        Some("fieldSelector=reason=X&labelSelector=k in (a,b)&namespace=a")
    );
    server.cluster(LIMIT).await.list(&request, &mut |_| {}).await.unwrap();
    assert_eq!(
        server.lines(),
        [
            "GET /apis/apps/v1/namespaces/a/daemonsets?limit=500&labelSelector=k%20in%20%28a%2Cb%29&fieldSelector=reason%3DX"
        ]
    );
}

#[tokio::test]
async fn an_expired_list_begins_anew() {
    let server = TestServer::start(|number, _| match number {
        1 => status(410, "Expired"),
        0 | 2 => page("next", "one"),
        _ => page("", "two"),
    })
    .await;
    let (pages, begins, result) = list(&server.cluster(LIMIT).await).await;
    assert_eq!((result, begins, pages.len()), (Ok(()), 2, 2));
}

#[tokio::test]
async fn a_list_that_expires_again_and_again_is_given_up() {
    let server = TestServer::start(|number, _| {
        if number % 2 == 0 { page("next", "one") } else { status(410, "Expired") }
    })
    .await;
    let (_, begins, result) = list(&server.cluster(LIMIT).await).await;
    assert_eq!(begins, 3);
    assert!(matches!(result, Err(ApiError::Gone { .. })));
    assert_eq!(server.lines().len(), 6);
}

#[tokio::test]
async fn a_token_that_comes_back_ends_the_list() {
    let server = TestServer::start(|_, _| page("same", "one")).await;
    let (_, _, result) = list(&server.cluster(LIMIT).await).await;
    assert!(matches!(result, Err(ApiError::Other { .. })));
    assert_eq!(server.lines().len(), 2);
}

#[tokio::test]
async fn status_codes_are_told_apart() {
    let table = [
        (
            401,
            "Unauthorized",
            GapReason::Other("Unauthorized".into()),
            "error: You must be logged in to the server (it says Unauthorized)",
        ),
        (
            403,
            "Forbidden",
            GapReason::Forbidden,
            "Error from server (Forbidden): it says Forbidden",
        ),
        (404, "NotFound", GapReason::NotServed, "Error from server (NotFound): it says NotFound"),
        (
            422,
            "Invalid",
            GapReason::Other("Invalid".into()),
            "Error from server (Invalid): it says Invalid",
        ),
        (
            500,
            "InternalError",
            GapReason::Undecodable,
            "error: GET /version: HTTP 500: it says InternalError",
        ),
    ];
    for (code, reason, gap, sentence) in table {
        let server = TestServer::start(move |_, _| status(code, reason)).await;
        let error = server.cluster(LIMIT).await.get_raw("/version").await.unwrap_err();
        assert_eq!(error.gap_reason(), gap, "{code}");
        assert_eq!(error.kubectl_sentence(), sentence);
        assert_eq!(server.lines().len(), 1, "{code} must not be tried again");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_status_is_shown_by_its_first_line() {
    let server = TestServer::start(|_, _| Reply::Body(502, "\n<html>\nlong page".into())).await;
    let error = server.cluster(LIMIT).await.get_raw("/version").await.unwrap_err();
    assert_eq!(error.to_string(), "GET /version: HTTP 502: <html>");
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_the_user_is_told() {
    let server = TestServer::start(|number, _| match number {
        0 => status(429, "TooManyRequests"),
        _ => body("{}"),
    })
    .await;
    let said = Arc::new(Mutex::new(Vec::new()));
    let kept = said.clone();
    let cluster = server
        .cluster(LIMIT)
        .await
        .with_notice(Arc::new(move |line| kept.lock().unwrap().push(line.to_owned())));
    assert_eq!(cluster.get_raw("/version").await, Ok(b"{}".to_vec()));
    assert_eq!(
        *said.lock().unwrap(),
        ["GET /version: the server is busy: it says TooManyRequests; trying again (2/3) in 1 s"]
    );
}

#[tokio::test]
async fn a_broken_connection_is_tried_three_times_for_reads_only() {
    let server = TestServer::start(|_, _| Reply::Close).await;
    let cluster = server.cluster(LIMIT).await.with_notice(Arc::new(|_| {}));
    let error = cluster.get_raw("/version").await.unwrap_err();
    assert!(matches!(error, ApiError::Unreachable { how: Unreachable::Reset, .. }), "{error:?}");
    assert_eq!(server.lines().len(), 3);
    let error = cluster.delete(&pod(), "u", false).await.unwrap_err();
    assert!(matches!(error, ApiError::Unreachable { .. }), "{error:?}");
    assert_eq!(server.lines().len(), 4);
}

#[tokio::test]
async fn writes_are_sent_once_also_to_a_busy_server() {
    let server = TestServer::start(|_, _| status(503, "ServiceUnavailable")).await;
    let error = server.cluster(LIMIT).await.delete(&pod(), "u", false).await.unwrap_err();
    assert!(matches!(error, ApiError::Busy { .. }));
    assert_eq!(server.lines(), ["DELETE /api/v1/namespaces/n/pods/p"]);
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_in_the_stated_time() {
    let server = TestServer::start(|_, _| Reply::Hang).await;
    let started = Instant::now();
    let error = server.cluster(Duration::from_secs(1)).await.get_raw("/version").await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(
        error.to_string(),
        format!("GET /version: 127.0.0.1:{} gave no answer within 1 s", server.port)
    );
    assert_eq!(error.gap_reason(), GapReason::TimedOut);
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn a_port_without_listener_is_refused() {
    // Bound and let go: nothing listens there, and nobody else is likely to within the test.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let cluster = connect(&format!("https://127.0.0.1:{port}"), LIMIT).await;
    let error = cluster.get_raw("/version").await.unwrap_err();
    assert_eq!(error.gap_reason(), GapReason::Unreachable);
    assert_eq!(
        error.kubectl_sentence(),
        format!(
            "The connection to the server 127.0.0.1:{port} was refused - did you specify the right host or port?"
        )
    );
}

#[tokio::test]
async fn an_unknown_name_is_told_as_such() {
    // A label of 64 letters is refused by the resolver itself: nothing leaves this machine.
    let server = format!("http://{}.invalid:6443", "x".repeat(64));
    let cluster = connect(&server, LIMIT).await;
    let error = cluster.get_raw("/version").await.unwrap_err();
    assert!(matches!(error, ApiError::Unreachable { how: Unreachable::Dns, .. }), "{error:?}");
}

fn pod() -> ObjectRef {
    ObjectRef {
        group: String::new(),
        version: "v1".into(),
        plural: "pods".into(),
        namespace: "n".into(),
        name: "p".into(),
    }
}

#[tokio::test]
async fn an_object_that_is_not_there_is_none() {
    let server = TestServer::start(|number, _| match number {
        0 => status(404, "NotFound"),
        _ => body(r#"{"metadata":{"name":"p"}}"#),
    })
    .await;
    let cluster = server.cluster(LIMIT).await;
    assert_eq!(cluster.get_json(&pod()).await, Ok(None));
    assert_eq!(cluster.get_json(&pod()).await.unwrap().unwrap()["metadata"]["name"], "p");
}

#[tokio::test]
async fn a_deletion_names_the_uid() {
    let server = TestServer::start(|number, _| match number {
        0 => body("{}"),
        _ => status(409, "Conflict"),
    })
    .await;
    let cluster = server.cluster(LIMIT).await;
    assert_eq!(cluster.delete(&pod(), "u-1", true).await, Ok(()));
    let error = cluster.delete(&pod(), "u-1", false).await.unwrap_err();
    assert!(matches!(error, ApiError::Conflict { .. }));
    let sent: serde_json::Value = serde_json::from_str(&server.asked()[0].body).unwrap();
    assert_eq!(sent["preconditions"]["uid"], "u-1");
    assert_eq!(sent["dryRun"][0], "All");
    let sent: serde_json::Value = serde_json::from_str(&server.asked()[1].body).unwrap();
    assert!(sent.get("dryRun").is_none());
    assert!(server.asked()[0].head.to_lowercase().contains("user-agent: kubectl-calico/"));
}

#[tokio::test]
async fn who_i_am_is_asked_of_older_servers_too() {
    let server = TestServer::start(|number, _| match number {
        0 => status(404, "NotFound"),
        _ => body(r#"{"status":{"userInfo":{"username":"jane"}}}"#),
    })
    .await;
    assert_eq!(server.cluster(LIMIT).await.who_am_i().await, Ok("jane".to_owned()));
    assert_eq!(
        server.lines(),
        [
            "POST /apis/authentication.k8s.io/v1/selfsubjectreviews",
            "POST /apis/authentication.k8s.io/v1beta1/selfsubjectreviews"
        ]
    );
}

#[tokio::test]
async fn a_request_that_is_given_up_closes_its_connection() {
    let server = TestServer::start(|_, _| Reply::Hang).await;
    let cluster = server.cluster(LIMIT).await;
    // As ^C does: the future is dropped while the server has the request and does not answer.
    let given_up = tokio::time::timeout(Duration::from_millis(500), cluster.get_raw("/version"));
    assert!(given_up.await.is_err());
    assert_eq!(server.lines().len(), 1);
    let left = tokio::time::timeout(Duration::from_secs(5), server.left.notified()).await;
    assert!(left.is_ok(), "the connection is still open after 5 s");
}
