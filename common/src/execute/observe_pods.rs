//! Looks for pods that are to go: one by one when they are few, else page by page through the metadata of their
//! namespaces, of which only the awaited ones are kept.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use jiff::SignedDuration;
use serde::Deserialize;

use crate::cluster::{ApiError, Cluster, ListRequest};
use crate::plan::{LingeringPod, ObjectRef, PodRef};
use crate::slim::{Metadata, PodStatus};
use crate::snapshot::{Form, Gap, Known, Resource};

/// So many pods of a namespace are asked for one by one: a namespace may hold thousands of others.
pub(super) const FEW: usize = 10;
/// Requests at a time.
const PARALLEL: usize = 8;

/// A page of metadata, or one object.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Items {
    items: Option<Vec<Item>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Item {
    metadata: Metadata,
    /// Absent where only metadata was asked for.
    status: Option<PodStatus>,
}

/// Those of `pods` that still exist, in their order.
pub(super) async fn lingering(cluster: &Cluster, pods: &[PodRef]) -> Known<Vec<LingeringPod>> {
    let mut namespaces: BTreeMap<&str, Vec<&PodRef>> = BTreeMap::new();
    for pod in pods {
        namespaces.entry(&pod.namespace).or_default().push(pod);
    }
    let mut left = Vec::new();
    for (namespace, pods) in namespaces {
        let found = match pods.len() {
            0..=FEW => one_by_one(cluster, &pods).await,
            _ => listed(cluster, namespace, &pods).await,
        };
        match found {
            Ok(found) => left.extend(found),
            Err(error) => return unseen(&error),
        }
    }
    left.sort_by(|a, b| a.pod.cmp(&b.pod));
    Known::Known(left)
}

/// The same, with how many of their containers run: each is asked for by its name.
pub(super) async fn stopping(cluster: &Cluster, pods: &[PodRef]) -> Known<Vec<LingeringPod>> {
    let pods: Vec<&PodRef> = pods.iter().collect();
    match one_by_one(cluster, &pods).await {
        Ok(mut left) => {
            left.sort_by(|a, b| a.pod.cmp(&b.pod));
            Known::Known(left)
        }
        Err(error) => unseen(&error),
    }
}

fn unseen<T>(error: &ApiError) -> Known<T> {
    Known::Unknown(Gap::new("cluster/pods.json", error.gap_reason(), error.to_string()))
}

async fn one_by_one(cluster: &Cluster, pods: &[&PodRef]) -> Result<Vec<LingeringPod>, ApiError> {
    let looks = pods.iter().map(|pod| async move {
        let object = ObjectRef {
            group: String::new(),
            version: "v1".to_owned(),
            plural: "pods".to_owned(),
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
        };
        let found = cluster.get_json(&object).await?;
        let Some(found) = found else { return Ok(None) };
        let item = Item::deserialize(&found).map_err(|error| no_sense(&error))?;
        Ok((item.metadata.uid == pod.uid).then(|| lingers(item)))
    });
    let mut looks = stream::iter(looks).buffer_unordered(PARALLEL);
    let mut left = Vec::new();
    while let Some(found) = looks.next().await {
        left.extend(found?);
    }
    Ok(left)
}

async fn listed(
    cluster: &Cluster,
    namespace: &str,
    pods: &[&PodRef],
) -> Result<Vec<LingeringPod>, ApiError> {
    let awaited: BTreeSet<&str> = pods.iter().map(|it| it.uid.as_str()).collect();
    let request = ListRequest {
        namespace: Some(namespace.to_owned()),
        form: Form::Metadata,
        ..ListRequest::all(Resource::new("pods", ""), "v1")
    };
    let mut left: Result<Vec<LingeringPod>, ApiError> = Ok(Vec::new());
    let mut take = |page: crate::cluster::Page| {
        let Ok(found) = &mut left else { return };
        if page.is_first {
            found.clear();
        }
        match serde_json::from_slice::<Items>(&page.body) {
            Ok(items) => {
                let items = items.items.unwrap_or_default().into_iter();
                let is_awaited = |it: &Item| awaited.contains(it.metadata.uid.as_str());
                found.extend(items.filter(is_awaited).map(lingers));
            }
            Err(error) => left = Err(no_sense(&error)),
        }
    };
    cluster.list(&request, &mut take).await?;
    left
}

fn lingers(Item { metadata, status }: Item) -> LingeringPod {
    let due = metadata.deletion_timestamp;
    let grace = metadata.deletion_grace_period_seconds.unwrap_or_default();
    LingeringPod {
        is_terminating: due.is_some(),
        since: due.and_then(|due| due.checked_sub(SignedDuration::from_secs(grace)).ok()),
        due,
        running: status.as_ref().map(running),
        finalizers: metadata.finalizers,
        pod: PodRef { namespace: metadata.namespace, name: metadata.name, uid: metadata.uid },
    }
}

/// Containers that its kubelet last saw running. Those that a person attached to debug it do not count.
fn running(status: &PodStatus) -> usize {
    let all = status.init_container_statuses.iter().chain(&status.container_statuses);
    all.filter(|it| it.state.running.is_some()).count()
}

fn no_sense(error: &serde_json::Error) -> ApiError {
    ApiError::Other {
        attempted: "look for pods".to_owned(),
        message: format!("the answer makes no sense: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::test_server::{Reply, TestServer};
    use crate::snapshot::GapReason;

    fn pods(count: usize) -> Vec<PodRef> {
        let pod = |n: usize| PodRef {
            namespace: "shop".into(),
            name: format!("web-{n}"),
            uid: format!("u{n}"),
        };
        (0..count).map(pod).collect()
    }

    async fn seen(
        count: usize,
        reply: (u16, &'static str),
    ) -> (Known<Vec<LingeringPod>>, Vec<String>) {
        let server = TestServer::start(move |_, _| Reply::Body(reply.0, reply.1.into())).await;
        let cluster = server.cluster(Duration::from_secs(5)).await;
        (lingering(&cluster, &pods(count)).await, server.lines())
    }

    #[tokio::test]
    async fn few_are_asked_for_by_name() {
        let pod = r#"{"metadata":{"namespace":"shop","name":"web-0","uid":"u0","deletionTimestamp":"2026-11-21T10:00:00Z","finalizers":["a/b"]}}"#;
        let (left, lines) = seen(1, (200, pod)).await;
        let left = left.known().unwrap().clone();
        assert_eq!(
            (left[0].is_terminating, left[0].finalizers.as_slice()),
            (true, &["a/b".to_owned()][..])
        );
        assert_eq!(lines, ["GET /api/v1/namespaces/shop/pods/web-0"]);
        // Another pod of the same name is another pod.
        let (left, _) = seen(1, (200, r#"{"metadata":{"uid":"other"}}"#)).await;
        assert_eq!(left, Known::Known(vec![]));
        let (left, _) = seen(1, (404, "{}")).await;
        assert_eq!(left, Known::Known(vec![]));
    }

    #[tokio::test]
    async fn what_still_runs_is_counted() {
        const POD: &str = r#"{"metadata":{"namespace":"shop","name":"web-0","uid":"u0",
            "deletionTimestamp":"2026-11-21T10:00:30Z","deletionGracePeriodSeconds":30},
            "status":{"initContainerStatuses":[{"state":{"running":{}}}],
            "containerStatuses":[{"state":{"terminated":{}}},{"state":{"running":{}}},{"state":{"waiting":{}}}]}}"#;
        let server = TestServer::start(|_, _| Reply::Body(200, POD.into())).await;
        let cluster = server.cluster(Duration::from_secs(5)).await;
        let left = stopping(&cluster, &pods(1)).await;
        let it = left.known().unwrap()[0].clone();
        let at = |text: &str| text.parse().ok();
        assert_eq!((it.running, it.due), (Some(2), at("2026-11-21T10:00:30Z")));
        assert_eq!(it.since, at("2026-11-21T10:00:00Z"));
        let metadata = Item { status: None, ..Item::default() };
        assert_eq!(lingers(metadata).running, None, "nobody looked");
    }

    #[tokio::test]
    async fn many_are_looked_for_in_one_list() {
        let page = r#"{"metadata":{},"items":[{"metadata":{"namespace":"shop","name":"web-2","uid":"u2"}},{"metadata":{"namespace":"shop","name":"new","uid":"n"}}]}"#;
        let (left, lines) = seen(3000, (200, page)).await;
        let left = left.known().unwrap().clone();
        assert_eq!(left.len(), 1);
        assert!(left[0].pod.name == "web-2" && !left[0].is_terminating);
        assert_eq!(lines, ["GET /api/v1/namespaces/shop/pods?limit=500"]);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_not_gone() {
        for count in [1, 3000] {
            let (left, _) = seen(count, (403, "{}")).await;
            assert!(matches!(left, Known::Unknown(gap) if gap.why == GapReason::Forbidden));
            let (left, _) = seen(count, (200, r#"{"metadata":{},"items":7}"#)).await;
            assert!(count == 1 || matches!(left, Known::Unknown(_)));
        }
    }
}
