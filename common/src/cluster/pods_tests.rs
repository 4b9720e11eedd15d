//! What wishing a pod away sends, and what it makes of the answers.

use std::time::Duration;

use super::test_server::{Reply, TestServer};
use super::{ApiError, PodAnswer};
use crate::plan::PodRef;

const LIMIT: Duration = Duration::from_secs(5);

fn pod() -> PodRef {
    PodRef { namespace: "shop".into(), name: "web-1".into(), uid: "u1".into() }
}

async fn said(code: u16, body: &'static str) -> Result<PodAnswer, ApiError> {
    let server = TestServer::start(move |_, _| Reply::Body(code, body.into())).await;
    server.cluster(LIMIT).await.evict_pod(&pod(), None, false).await
}

#[tokio::test]
async fn each_wish_names_the_pod_for_good() {
    let server = TestServer::start(|_, _| Reply::Body(201, "{}".into())).await;
    let cluster = server.cluster(LIMIT).await;
    assert_eq!(cluster.delete_pod(&pod(), None, false).await, Ok(PodAnswer::Accepted));
    cluster.delete_pod(&pod(), Some(0), true).await.unwrap();
    cluster.evict_pod(&pod(), Some(30), false).await.unwrap();
    let path = "/api/v1/namespaces/shop/pods/web-1";
    let lines =
        [format!("DELETE {path}"), format!("DELETE {path}"), format!("POST {path}/eviction")];
    assert_eq!(server.lines(), lines);
    let bodies: Vec<serde_json::Value> =
        server.asked().iter().map(|it| serde_json::from_str(&it.body).unwrap()).collect();
    assert!(bodies[..2].iter().all(|it| it["preconditions"]["uid"] == "u1"), "{bodies:?}");
    assert_eq!(bodies[0].get("gracePeriodSeconds"), None);
    assert_eq!(
        (&bodies[1]["gracePeriodSeconds"], &bodies[1]["dryRun"][0]),
        (&0.into(), &"All".into())
    );
    let options = &bodies[2]["deleteOptions"];
    assert_eq!(
        (&options["preconditions"]["uid"], &options["gracePeriodSeconds"]),
        (&"u1".into(), &30.into())
    );
    assert_eq!(bodies[2]["apiVersion"], "policy/v1");
}

#[tokio::test]
async fn a_pod_that_is_gone_is_told_from_a_server_without_evictions() {
    let gone = r#"{"message":"pods \"web-1\" not found","details":{"name":"web-1","kind":"pods"}}"#;
    assert_eq!(said(404, gone).await, Ok(PodAnswer::Gone));
    let unserved = r#"{"message":"the server could not find the requested resource","details":{}}"#;
    assert!(said(404, unserved).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn refusals_that_pass_are_told_from_those_that_stay() {
    let replaced = r#"{"message":"Operation cannot be fulfilled on Pod \"web-1\": Precondition failed: UID in precondition: u1, UID in object meta: u2"}"#;
    assert_eq!(said(409, replaced).await, Ok(PodAnswer::Replaced));
    let replaced = r#"{"message":"Operation cannot be fulfilled on Pod \"web-1\": the UID in the precondition (u1) does not match the UID in record (u2). The object might have been deleted and then recreated"}"#;
    assert_eq!(said(409, replaced).await, Ok(PodAnswer::Replaced));
    let budget = r#"{"message":"Cannot evict pod as it would violate the pod's disruption budget.","details":{"causes":[{"reason":"DisruptionBudget","message":"The disruption budget web needs 2 healthy pods and has 2 currently"}]}}"#;
    let why = "The disruption budget web needs 2 healthy pods and has 2 currently";
    assert_eq!(said(429, budget).await, Ok(PodAnswer::Budget(why.into())));
    let busy = r#"{"message":"too many","details":{"retryAfterSeconds":7}}"#;
    let Ok(PodAnswer::Busy { why, after }) = said(429, busy).await else { panic!() };
    assert_eq!((why.contains("too many"), after), (true, Some(Duration::from_secs(7))));
    for code in [409, 500, 502, 503, 504] {
        let said = said(code, r#"{"message":"not now"}"#).await;
        assert!(matches!(said, Ok(PodAnswer::Busy { after: None, .. })), "{code}: {said:?}");
    }
    let two = r#"{"message":"This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."}"#;
    assert!(said(500, two).await.unwrap_err().to_string().contains("more than one"));
    assert!(matches!(said(403, "{}").await, Err(ApiError::Forbidden { .. })));
    let leaving = r#"{"message":"unable to create","details":{"causes":[{"reason":"NamespaceTerminating","message":"…"}]}}"#;
    assert_eq!(said(403, leaving).await, Ok(PodAnswer::Accepted));
}

#[tokio::test]
async fn the_header_says_when_to_ask_again() {
    let server =
        TestServer::start(|_, _| Reply::With(429, "Retry-After: 3", "slow down".into())).await;
    let answer = server.cluster(LIMIT).await.delete_pod(&pod(), None, false).await.unwrap();
    assert!(
        matches!(&answer, PodAnswer::Busy { after: Some(after), .. } if after.as_secs() == 3),
        "{answer:?}"
    );
}
