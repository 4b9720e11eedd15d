//! Looks at what the conditions on the way to the eBPF data plane are about.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::Value;

use crate::bpf::BpfFacts;
use crate::cluster::{ApiError, Cluster, ListRequest};
use crate::node;
use crate::plan::{Condition, ObjectRef, Observed, describe};
use crate::slim::Pod;
use crate::snapshot::{Gap, GapReason, Known, Resource};

/// Nodes that are asked at once.
const PARALLEL: usize = 20;

/// What can be seen now of what the condition is about; none for conditions of other ways.
pub(in crate::execute) async fn observe(
    cluster: &Cluster,
    condition: &Condition,
    now: Timestamp,
) -> Option<Observed> {
    let nothing = Observed::nothing(now);
    Some(match condition {
        Condition::RolledOut { workload, .. } => {
            Observed { object: object(cluster, workload).await, ..nothing }
        }
        Condition::EndpointInUse { agent, .. } => of_nodes(cluster, agent, None, nothing).await,
        Condition::OnDataPlane { agent, operator, .. } => {
            of_nodes(cluster, agent, operator.as_ref(), nothing).await
        }
        Condition::NoPods { workload } => {
            let (object, pods) =
                tokio::join!(object(cluster, workload), pods_in(cluster, &workload.namespace));
            Observed { pods, object, ..nothing }
        }
        Condition::ProofCleared { namespace, run } => {
            let left = crate::execute::prove::left(cluster, namespace, run).await;
            Observed { left_of_proof: left, ..nothing }
        }
        _ => return None,
    })
}

/// What every node that runs a pod of `agent` shows.
async fn of_nodes(
    cluster: &Cluster,
    agent: &ObjectRef,
    operator: Option<&ObjectRef>,
    nothing: Observed,
) -> Observed {
    let (set, pods) = tokio::join!(object(cluster, agent), pods_in(cluster, &agent.namespace));
    let operator = match operator {
        Some(status) => object(cluster, status).await,
        None => Known::Absent,
    };
    let data_planes = match (&set, &pods) {
        (Known::Known(set), Known::Known(pods)) => {
            Known::Known(facts(cluster, agents(set, pods)).await)
        }
        (_, Known::Unknown(gap)) | (Known::Unknown(gap), _) => Known::Unknown(gap.clone()),
        _ => Known::Absent,
    };
    Observed { object: set, data_planes, operator, ..nothing }
}

/// The pods of a DaemonSet, one per node: the one that is not on its way out.
pub(in crate::execute) fn agents<'a>(set: &Value, pods: &'a [Pod]) -> BTreeMap<String, &'a Pod> {
    let uid = set.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
    let is_mine = |pod: &&Pod| {
        pod.metadata.controller().is_some_and(|owner| owner.uid == uid)
            && !pod.is_terminating()
            && !pod.is_finished()
            && !pod.spec.node_name.is_empty()
    };
    pods.iter().filter(is_mine).map(|pod| (pod.spec.node_name.clone(), pod)).collect()
}

async fn facts(
    cluster: &Cluster,
    agents: BTreeMap<String, &Pod>,
) -> BTreeMap<String, Known<BpfFacts>> {
    let ask = |(node, pod): (String, Pod)| async move {
        let facts = match node::bpf(cluster, &pod).await {
            Ok(text) => Known::Known(BpfFacts::from_scan(&node, &text)),
            Err(error) => Known::Unknown(gap(&format!("nodes/{node}/bpf.txt"), &error)),
        };
        (node, facts)
    };
    let all: Vec<_> = agents.into_iter().map(|(node, pod)| (node, pod.clone())).collect();
    stream::iter(all.into_iter().map(ask)).buffer_unordered(PARALLEL).collect().await
}

pub(in crate::execute) async fn object(cluster: &Cluster, object: &ObjectRef) -> Known<Value> {
    match cluster.get_json(object).await {
        Ok(None) => Known::Absent,
        Ok(Some(value)) => Known::Known(value),
        Err(error) => Known::Unknown(gap(&describe::object(object), &error)),
    }
}

pub(in crate::execute) async fn pods_in(cluster: &Cluster, namespace: &str) -> Known<Vec<Pod>> {
    let request = ListRequest {
        namespace: Some(namespace.to_owned()),
        ..ListRequest::all(Resource::new("pods", ""), "v1")
    };
    match cluster.list_as(&request).await {
        Ok(pods) => Known::Known(pods),
        Err(error) => Known::Unknown(gap("cluster/pods.json", &error)),
    }
}

pub(in crate::execute) fn gap(what: &str, error: &ApiError) -> Gap {
    let why = if error.is_not_found() { GapReason::NotServed } else { error.gap_reason() };
    Gap::new(what, why, error.to_string())
}
