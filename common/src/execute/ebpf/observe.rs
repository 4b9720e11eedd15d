//! Looks at what the conditions on the way to the eBPF data plane are about.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::Value;

use crate::bpf::{self, BpfFacts, NodeDataPlane, complaint};
use crate::cluster::{ApiError, Cluster, ListRequest, LogRequest};
use crate::node;
use crate::plan::ebpf::{unready, why_unready};
use crate::plan::{Condition, DataPlane, ObjectRef, Observed, describe};
use crate::slim::Pod;
use crate::snapshot::{Gap, GapReason, Known, Resource};

/// Nodes that are asked at once.
const PARALLEL: usize = 20;
/// Nodes whose logs are read to tell why they are not on eBPF. More are not told of.
const ASKED_WHY: usize = 3;

/// What can be seen now of what the condition is about; none for conditions of other ways.
pub(in crate::execute) async fn observe(
    cluster: &Cluster,
    condition: &Condition,
    now: Timestamp,
) -> Option<Observed> {
    let nothing = Observed::nothing(now);
    Some(match condition {
        Condition::RolledOut { workload, .. } => {
            let (object, pods) =
                tokio::join!(object(cluster, workload), pods_in(cluster, &workload.namespace));
            let complaints = match (&object, &pods) {
                (Known::Known(set), Known::Known(pods)) => {
                    Box::pin(last_words(cluster, set, pods)).await
                }
                _ => BTreeMap::new(),
            };
            Observed { pods, object, complaints, ..nothing }
        }
        Condition::EndpointInUse { agent, .. }
        | Condition::KubeProxyRulesGone { agent, .. }
        | Condition::KubeProxyRulesKept { agent, .. } => {
            Box::pin(of_nodes(cluster, agent, (None, false), nothing)).await
        }
        Condition::OnDataPlane { agent, is, operator } => {
            let asked = (operator.as_ref(), *is == DataPlane::Bpf);
            Box::pin(of_nodes(cluster, agent, asked, nothing)).await
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

/// What every node that runs a pod of `agent` shows; with `why`, also what calico-node says where it is not on eBPF.
async fn of_nodes(
    cluster: &Cluster,
    agent: &ObjectRef,
    (operator, why): (Option<&ObjectRef>, bool),
    nothing: Observed,
) -> Observed {
    let (set, pods) = tokio::join!(object(cluster, agent), pods_in(cluster, &agent.namespace));
    let operator = match operator {
        Some(status) => object(cluster, status).await,
        None => Known::Absent,
    };
    let mut said = BTreeMap::new();
    let data_planes = match (&set, &pods) {
        (Known::Known(set), Known::Known(pods)) => {
            let agents = agents(set, pods);
            let facts = facts(cluster, agents.clone()).await;
            if why {
                said = complaints(cluster, &agents, &facts).await;
            }
            Known::Known(facts)
        }
        (_, Known::Unknown(gap)) | (Known::Unknown(gap), _) => Known::Unknown(gap.clone()),
        _ => Known::Absent,
    };
    Observed { object: set, data_planes, complaints: said, operator, ..nothing }
}

/// What the container logged last that keeps the first few pods of a workload from being Ready.
async fn last_words(cluster: &Cluster, set: &Value, pods: &[Pod]) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    for pod in unready(set, pods).take(ASKED_WHY) {
        let Some((container, _)) = why_unready(pod) else { continue };
        if let Some(log) = log(cluster, pod, container, 20).await {
            let last = log.lines().rfind(|it| !it.trim().is_empty());
            said.extend(last.map(|it| (pod.spec.node_name.clone(), bpf::last_words(it))));
        }
    }
    said
}

/// The end of a log; none when it cannot be read.
async fn log(cluster: &Cluster, pod: &Pod, container: &str, lines: u32) -> Option<String> {
    let request = LogRequest {
        namespace: pod.metadata.namespace.clone(),
        pod: pod.metadata.name.clone(),
        container: container.to_owned(),
        previous: false,
        tail_lines: lines,
        limit_bytes: 256 * 1024,
    };
    let log = cluster.logs(&request).await.ok()?;
    Some(String::from_utf8_lossy(&log).into_owned())
}

/// What calico-node says in its log on the first few nodes that are not on eBPF. A log that cannot be read says nothing.
async fn complaints(
    cluster: &Cluster,
    agents: &BTreeMap<String, &Pod>,
    facts: &BTreeMap<String, Known<BpfFacts>>,
) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    let lacks = |node: &&String| {
        let facts = facts.get(*node).and_then(Known::known);
        facts.is_some_and(|it| it.state() != Known::Known(NodeDataPlane::Bpf))
    };
    for node in agents.keys().filter(lacks).take(ASKED_WHY) {
        let log = log(cluster, agents[node], "calico-node", 500).await;
        let found = log.as_deref().and_then(complaint);
        said.extend(found.map(|it| (node.clone(), it)));
    }
    said
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
