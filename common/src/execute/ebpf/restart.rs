//! New pods for a Deployment, without a change of its template.

use serde_json::Value;

use super::observe::pods_in;
use crate::cluster::{Cluster, PodAnswer};
use crate::execute::cluster_operations::{unread, unsuccessful};
use crate::execute::{PerformError, Performed};
use crate::plan::{ObjectRef, PodRef, describe};
use crate::slim::Pod;
use crate::snapshot::Known;

/// Deletes the pods that the Deployment's ReplicaSets control.
pub(in crate::execute) async fn restart_pods(
    cluster: &Cluster,
    workload: &ObjectRef,
) -> Result<Performed, PerformError> {
    let it = describe::object(workload);
    let set = cluster.get_json(workload).await.map_err(|error| unread(&error))?;
    let Some(set) = set else {
        return Err(PerformError::Refused(format!("{it} does not exist")));
    };
    let labels = set.pointer("/spec/selector/matchLabels").and_then(Value::as_object).cloned();
    let labels = labels.filter(|it| !it.is_empty());
    let Some(labels) = labels else {
        return Err(PerformError::Refused(format!("{it} selects its pods by no label")));
    };
    let pods = match pods_in(cluster, &workload.namespace).await {
        Known::Known(pods) => pods,
        Known::Absent => Vec::new(),
        Known::Unknown(gap) => return Err(PerformError::Rejected(gap.detail)),
    };
    let is_mine = |pod: &&Pod| {
        let of_replica_set = pod.metadata.controller().is_some_and(|it| it.kind == "ReplicaSet");
        of_replica_set
            && !pod.is_terminating()
            && labels.iter().all(|(key, value)| {
                value.as_str() == pod.metadata.labels.get(key).map(String::as_str)
            })
    };
    for pod in pods.iter().filter(is_mine) {
        delete(cluster, pod).await?;
    }
    Ok(Performed::Acted)
}

async fn delete(cluster: &Cluster, pod: &Pod) -> Result<(), PerformError> {
    let pod = PodRef {
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
    };
    match cluster.delete_pod(&pod, None, false).await {
        Ok(PodAnswer::Budget(why) | PodAnswer::Busy { why, .. }) => {
            Err(PerformError::Rejected(why))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(unsuccessful(&error)),
    }
}
