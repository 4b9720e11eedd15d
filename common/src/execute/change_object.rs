//! Changes one object by its patch: looks, fits the patch to what is there, and sends it for exactly that.

use serde_json::{Value, json};

use super::cluster_operations::{unread, unsuccessful};
use super::{PerformError, Performed};
use crate::cluster::{ApiError, Cluster, Patch, Write};
use crate::plan::{Aim, JsonPatch, ObjectRef, describe};

/// How often the object is looked at anew at most, because somebody else changed it between look and write.
const TRIES: u32 = 5;

/// A change of an object, as a plan holds it.
pub(super) struct Change<'a> {
    pub(super) object: &'a ObjectRef,
    pub(super) uid: &'a str,
    pub(super) patch: &'a JsonPatch,
    pub(super) subresource: Option<&'a str>,
}

/// Makes the object what the patch says. With `write.dry_run` the server only says whether it would.
pub(super) async fn change(
    cluster: &Cluster,
    change: &Change<'_>,
    write: Write<'_>,
) -> Result<Performed, PerformError> {
    let object = describe::object(change.object);
    let refused = |why: &str| Err(PerformError::Refused(format!("{object} {why}")));
    let mut refusal: Option<(String, ApiError)> = None;
    for _ in 0..TRIES {
        let found = cluster.get_json(change.object).await;
        let found = found.map_err(|error| unread(&error))?;
        let Some(found) = found else { return refused("is gone") };
        if metadata(&found, "uid") != change.uid {
            return refused("was recreated since the diagnosis");
        }
        let patch = match change.patch.aim(&found) {
            Aim::AlreadyRight => {
                return Ok(Performed::AlreadyRight(format!("{object} is so already")));
            }
            Aim::Refused(why) => return refused(&format!("changed since the diagnosis: {why}")),
            Aim::Ready(patch) => patch,
        };
        let version = metadata(&found, "resourceVersion");
        // It was refused as it still is: that was no race.
        if let Some((before, error)) = &refusal
            && before == version
        {
            return Err(PerformError::Rejected(error.to_string()));
        }
        let body = json!(patch.only_for(change.uid, version));
        match cluster.patch_part(change.object, change.subresource, Patch::Json(&body), write).await
        {
            Ok(_) => return Ok(Performed::Acted),
            Err(error @ (ApiError::Invalid { .. } | ApiError::Conflict { .. })) => {
                refusal = Some((version.to_owned(), error));
            }
            Err(ApiError::NotFound { .. }) => return refused("is gone"),
            Err(error) => return Err(unsuccessful(&error)),
        }
    }
    let last = refusal.map(|(_, error)| format!(": {error}")).unwrap_or_default();
    Err(PerformError::Rejected(format!("{object} changes faster than it can be changed{last}")))
}

fn metadata<'a>(object: &'a Value, field: &str) -> &'a str {
    object.pointer(&format!("/metadata/{field}")).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::cluster::test_server::{Reply, TestServer};

    fn node() -> ObjectRef {
        ObjectRef {
            group: String::new(),
            version: "v1".into(),
            plural: "nodes".into(),
            namespace: String::new(),
            name: "n1".into(),
        }
    }

    fn as_it_is(version: usize, unschedulable: bool) -> Reply {
        let spec = if unschedulable { r#"{"unschedulable":true}"# } else { "{}" };
        let metadata = format!(r#"{{"uid":"u1","resourceVersion":"{version}"}}"#);
        Reply::Body(200, format!(r#"{{"metadata":{metadata},"spec":{spec}}}"#))
    }

    /// Cordons against a server that answers the so-many-th look and write so.
    async fn cordon(
        look: impl Fn(usize) -> Reply + Send + Sync + 'static,
        write: impl Fn(usize) -> Reply + Send + Sync + 'static,
    ) -> (Result<Performed, PerformError>, TestServer) {
        let (looks, writes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let server = TestServer::start(move |_, asked| {
            if asked.line.starts_with("GET") {
                look(looks.fetch_add(1, Ordering::SeqCst))
            } else {
                write(writes.fetch_add(1, Ordering::SeqCst))
            }
        })
        .await;
        let cluster = server.cluster(Duration::from_secs(5)).await;
        let patch = JsonPatch::default().change("/spec/unschedulable", None, Some(true.into()));
        let object = node();
        let it = Change { object: &object, uid: "u1", patch: &patch, subresource: None };
        let ended = change(&cluster, &it, Write::by("kubectl-calico-purge")).await;
        (ended, server)
    }

    fn says(code: u16, body: &'static str) -> impl Fn(usize) -> Reply {
        move |_| Reply::Body(code, body.into())
    }

    #[tokio::test]
    async fn it_is_sent_for_what_was_seen_and_once() {
        let (ended, server) = cordon(|_| as_it_is(7, false), says(200, "{}")).await;
        assert_eq!(ended, Ok(Performed::Acted));
        let asked = server.asked();
        assert_eq!(asked.len(), 2);
        assert_eq!(asked[1].line, "PATCH /api/v1/nodes/n1?fieldManager=kubectl-calico-purge");
        let sent = r#"[{"op":"test","path":"/metadata/uid","value":"u1"},{"op":"test","path":"/metadata/resourceVersion","value":"7"},{"op":"add","path":"/spec/unschedulable","value":true}]"#;
        assert_eq!(asked[1].body, sent);
    }

    #[tokio::test]
    async fn what_is_so_already_is_not_sent() {
        let (ended, server) = cordon(|_| as_it_is(7, true), says(500, "{}")).await;
        assert!(matches!(ended, Ok(Performed::AlreadyRight(why)) if why.contains("node n1")));
        assert_eq!(server.lines(), ["GET /api/v1/nodes/n1"]);
    }

    #[tokio::test]
    async fn a_race_is_run_again_and_a_refusal_is_not() {
        let write = |number| Reply::Body(if number < 2 { 422 } else { 200 }, "{}".into());
        let (ended, server) = cordon(|look| as_it_is(look, false), write).await;
        assert_eq!((ended, server.lines().len()), (Ok(Performed::Acted), 6));
        let refused = says(422, r#"{"message":"spec is invalid"}"#);
        let (ended, server) = cordon(|_| as_it_is(7, false), refused).await;
        assert!(matches!(ended, Err(PerformError::Rejected(why)) if why.contains("spec is inv")));
        assert_eq!(server.lines().len(), 3, "looked again, and found that it was no race");
        let (ended, _) = cordon(|look| as_it_is(look, false), says(409, "{}")).await;
        assert!(matches!(ended, Err(PerformError::Rejected(why)) if why.contains("faster")));
    }

    #[tokio::test]
    async fn another_object_is_left_alone_and_a_lost_answer_is_unclear() {
        let other = says(200, r#"{"metadata":{"uid":"u2"}}"#);
        let (ended, server) = cordon(other, says(200, "{}")).await;
        assert!(matches!(ended, Err(PerformError::Refused(why)) if why.contains("recreated")));
        assert_eq!(server.lines().len(), 1);
        let (ended, _) = cordon(says(404, "{}"), says(200, "{}")).await;
        assert!(matches!(ended, Err(PerformError::Refused(why)) if why.contains("is gone")));
        let (ended, _) = cordon(|_| as_it_is(7, false), |_| Reply::Close).await;
        assert!(matches!(ended, Err(PerformError::Unclear(_))), "{ended:?}");
        let (ended, _) = cordon(|_| as_it_is(7, false), says(403, "{}")).await;
        assert!(matches!(ended, Err(PerformError::Rejected(_))), "{ended:?}");
    }
}
