//! What earlier runs left in the cluster: node pods that are over, and a Lease that nobody renews. Found by our labels,
//! deleted by uid.

use futures::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Consent, lease};
use crate::cluster::{ApiError, Cluster, ListRequest};
use crate::node::pod::{
    EXPIRES_AT_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL, NODE_ANNOTATION, OP_LABEL, Op, RUN_LABEL,
};
use crate::plan::{ObjectRef, PlanId};
use crate::slim::{Metadata, Pod};
use crate::snapshot::Resource;

/// Deletions under way at once.
const CONCURRENCY: usize = 8;

/// Something of ours in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ours {
    /// `pod` or `lease`.
    pub kind: &'static str,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Its uid: another object of the same name is left alone.
    pub uid: String,
    /// The run that made it; empty when it does not say.
    pub run: String,
    /// The node that a pod is for.
    pub node: String,
    /// Why it is left over, or why it is not.
    pub why: String,
    /// True when no run needs it any more.
    pub is_left_over: bool,
}

impl Ours {
    /// How the API names it.
    pub fn object(&self) -> ObjectRef {
        let (group, plural) = match self.kind {
            "lease" => ("coordination.k8s.io", "leases"),
            _ => ("", "pods"),
        };
        ObjectRef {
            group: group.to_owned(),
            version: "v1".to_owned(),
            plural: plural.to_owned(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

/// A Lease, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LeaseObject {
    metadata: Metadata,
    spec: LeaseTerm,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LeaseTerm {
    renew_time: Option<Timestamp>,
    lease_duration_seconds: Option<i64>,
}

/// Everything of ours, sorted. With `all` what a run may still be using counts as left over, too.
///
/// # Errors
/// When pods or Leases cannot be listed.
pub async fn find_ours(cluster: &Cluster, all: bool) -> Result<Vec<Ours>, ApiError> {
    let labelled = |resource: Resource| ListRequest {
        label_selector: Some(format!("{MANAGED_BY_LABEL}={MANAGED_BY}")),
        ..ListRequest::all(resource, "v1")
    };
    let leases = ListRequest {
        namespace: Some(lease::NAMESPACE.to_owned()),
        ..labelled(Resource::new("leases", "coordination.k8s.io"))
    };
    let pods: Vec<Pod> = cluster.list_as(&labelled(Resource::new("pods", ""))).await?;
    let leases: Vec<LeaseObject> = cluster.list_as(&leases).await?;
    let now = cluster.now();
    let mut found: Vec<Ours> = pods
        .iter()
        .map(|pod| of_pod(pod, now))
        .chain(leases.iter().map(|lease| of_lease(lease, now)))
        .map(|it| Ours { is_left_over: it.is_left_over || all, ..it })
        .collect();
    found.sort();
    Ok(found)
}

/// A pod is left over when it has finished, or when its time is over and its kubelet has not ended it.
fn of_pod(pod: &Pod, now: Timestamp) -> Ours {
    let expires: Option<Timestamp> =
        pod.metadata.annotations.get(EXPIRES_AT_ANNOTATION).and_then(|at| at.parse().ok());
    let (is_left_over, why) = match expires {
        _ if pod.is_finished() => (true, format!("it is {}", pod.status.phase)),
        Some(at) if at <= now => (true, format!("its time was over at {at:.0}")),
        Some(at) => (false, format!("a run may be using it until {at:.0}")),
        None => (true, "it does not say how long it is needed".to_owned()),
    };
    let node = pod.metadata.annotations.get(NODE_ANNOTATION);
    let node = node.unwrap_or(&pod.spec.node_name).clone();
    Ours { node, why, is_left_over, ..ours("pod", &pod.metadata) }
}

fn of_lease(lease: &LeaseObject, now: Timestamp) -> Ours {
    let seconds = lease.spec.lease_duration_seconds.unwrap_or_default();
    let over = lease
        .spec
        .renew_time
        .and_then(|renewed| renewed.checked_add(SignedDuration::from_secs(seconds)).ok());
    let (is_left_over, why) = match over {
        Some(over) if over > now => (false, "a run is renewing it".to_owned()),
        Some(over) => (true, format!("it expired at {over:.0}")),
        None => (true, "nobody renews it".to_owned()),
    };
    Ours { why, is_left_over, ..ours("lease", &lease.metadata) }
}

fn ours(kind: &'static str, metadata: &Metadata) -> Ours {
    Ours {
        kind,
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
        uid: metadata.uid.clone(),
        run: metadata.labels.get(RUN_LABEL).cloned().unwrap_or_default(),
        node: String::new(),
        why: String::new(),
        is_left_over: false,
    }
}

/// Deletes the node pods of earlier runs that changed something, and of `own` when it is given: one that is gone on with.
/// Whoever holds the Lease knows that no run is entitled to them; a run that is still waiting for it makes them anew.
/// Returns how many there were.
///
/// # Errors
/// When pods cannot be listed, or one cannot be deleted.
pub async fn sweep_repairs(cluster: &Cluster, run: &PlanId, own: bool) -> Result<usize, ApiError> {
    let request = ListRequest {
        label_selector: Some(format!(
            "{MANAGED_BY_LABEL}={MANAGED_BY},{OP_LABEL}={}",
            Op::Repair.word()
        )),
        ..ListRequest::all(Resource::new("pods", ""), "v1")
    };
    let pods: Vec<Pod> = cluster.list_as(&request).await?;
    let mut found: Vec<Ours> = pods.iter().map(|pod| ours("pod", &pod.metadata)).collect();
    found.retain(|it| own || it.run != run.0);
    for it in &found {
        match cluster.delete(&it.object(), &it.uid, false).await {
            Ok(()) | Err(ApiError::NotFound { .. } | ApiError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found.len())
}

/// Deletes what is left over; what is not is left alone. The answer is what could not be deleted, and why.
pub async fn sweep(cluster: &Cluster, found: &[Ours], consent: Consent) -> Vec<(Ours, ApiError)> {
    consent.spend();
    let left_over: Vec<Ours> = found.iter().filter(|it| it.is_left_over).cloned().collect();
    let deletion = |it: Ours| async move {
        match cluster.delete(&it.object(), &it.uid, false).await {
            // Gone, or another one of that name: not ours to delete.
            Ok(()) | Err(ApiError::NotFound { .. } | ApiError::Conflict { .. }) => None,
            Err(error) => Some((it, error)),
        }
    };
    let ends: Vec<_> =
        stream::iter(left_over.into_iter().map(deletion)).buffered(CONCURRENCY).collect().await;
    ends.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::test_server::{Reply, TestServer};

    const NOW: &str = "2026-11-21T16:00:00Z";

    fn pod(expires: Option<&str>, phase: &str) -> Ours {
        let mut pod = json!({
            "metadata": { "name": "p", "namespace": "n", "uid": "u",
                "labels": { RUN_LABEL: "01RUN" }, "annotations": { NODE_ANNOTATION: "n1" } },
            "status": { "phase": phase },
        });
        if let Some(expires) = expires {
            pod["metadata"]["annotations"][EXPIRES_AT_ANNOTATION] = json!(expires);
        }
        of_pod(&serde_json::from_value(pod).unwrap(), NOW.parse().unwrap())
    }

    #[test]
    fn what_a_run_may_be_using_is_no_leftover() {
        let living = pod(Some("2026-11-21T16:05:00.5Z"), "Running");
        assert!(!living.is_left_over);
        assert_eq!((living.node.as_str(), living.run.as_str()), ("n1", "01RUN"));
        assert!(!pod(Some("2026-11-21T16:05:00Z"), "Pending").is_left_over);
        for over in [
            pod(Some("2026-11-21T15:59:59Z"), "Running"),
            pod(Some("2026-11-21T16:05:00Z"), "Failed"),
            pod(None, "Running"),
            pod(Some("tomorrow"), "Running"),
        ] {
            assert!(over.is_left_over, "{over:?}");
        }
    }

    #[test]
    fn a_lease_that_is_renewed_is_no_leftover() {
        let lease = |spec: Value| {
            let value = json!({ "metadata": { "name": "kubectl-calico" }, "spec": spec });
            of_lease(&serde_json::from_value(value).unwrap(), NOW.parse().unwrap())
        };
        let renewed = |at: &str| lease(json!({ "renewTime": at, "leaseDurationSeconds": 30 }));
        assert!(!renewed("2026-11-21T15:59:45.000000Z").is_left_over);
        assert!(renewed("2026-11-21T15:59:29.000000Z").is_left_over);
        assert!(lease(json!({})).is_left_over);
    }

    #[tokio::test]
    async fn only_leftovers_are_deleted_and_by_uid() {
        let server = TestServer::start(|_, asked| match asked.line.split(' ').next() {
            Some("DELETE") if asked.line.ends_with("/b") => Reply::Body(403, "{}".into()),
            Some("DELETE") => Reply::Body(200, "{}".into()),
            _ if asked.line.contains("/pods") => Reply::Body(
                200,
                json!({ "items": [
                    { "metadata": { "name": "b", "namespace": "n", "uid": "ub" } },
                    { "metadata": { "name": "a", "namespace": "n", "uid": "ua" } },
                    { "metadata": { "name": "c", "namespace": "n", "uid": "uc",
                        "annotations": { EXPIRES_AT_ANNOTATION: "2999-01-01T00:00:00Z" } } },
                ] })
                .to_string(),
            ),
            _ => Reply::Body(200, r#"{"items":null}"#.into()),
        })
        .await;
        let cluster = server.cluster(Duration::from_secs(5)).await;
        let found = find_ours(&cluster, false).await.unwrap();
        let names: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.is_left_over)).collect();
        assert_eq!(names, [("a", true), ("b", true), ("c", false)]);
        assert!(find_ours(&cluster, true).await.unwrap().iter().all(|it| it.is_left_over));
        let failed = sweep(&cluster, &found, Consent::from_flag(true).unwrap()).await;
        assert_eq!(failed.iter().map(|(it, _)| it.name.as_str()).collect::<Vec<_>>(), ["b"]);
        let asked = server.asked();
        let mut deletions: Vec<_> =
            asked.iter().filter(|it| it.line.starts_with("DELETE")).collect();
        deletions.sort_by_key(|it| &it.line);
        assert_eq!(deletions.len(), 2);
        assert!(deletions[0].line.ends_with("/namespaces/n/pods/a"));
        assert!(deletions[0].body.contains(r#""uid":"ua""#), "{}", deletions[0].body);
    }
}
