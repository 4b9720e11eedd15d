//! Looks for pods that are to go: one by one when they are few, else page by page through the metadata of their
//! namespaces, of which only the awaited ones are kept.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use serde::Deserialize;

use crate::cluster::{ApiError, Cluster, ListRequest};
use crate::plan::{LingeringPod, ObjectRef, PodRef};
use crate::slim::Metadata;
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
            Err(error) => {
                let reason = error.gap_reason();
                return Known::Unknown(Gap::new("cluster/pods.json", reason, error.to_string()));
            }
        }
    }
    left.sort_by(|a, b| a.pod.cmp(&b.pod));
    Known::Known(left)
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
        Ok((item.metadata.uid == pod.uid).then(|| lingers(item.metadata)))
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
                let items = items.items.unwrap_or_default().into_iter().map(|it| it.metadata);
                found.extend(items.filter(|it| awaited.contains(it.uid.as_str())).map(lingers));
            }
            Err(error) => left = Err(no_sense(&error)),
        }
    };
    cluster.list(&request, &mut take).await?;
    left
}

fn lingers(metadata: Metadata) -> LingeringPod {
    LingeringPod {
        is_terminating: metadata.deletion_timestamp.is_some(),
        finalizers: metadata.finalizers,
        pod: PodRef { namespace: metadata.namespace, name: metadata.name, uid: metadata.uid },
    }
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
