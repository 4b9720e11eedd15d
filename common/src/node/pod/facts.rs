//! What must be known of a node before a pod is made for it.

use std::time::Duration;

use serde::Deserialize;

use super::{NodePodError, candidate_namespaces};
use crate::calico::names::OPERATOR_NAMESPACE;
use crate::cluster::{ApiError, Cluster, ListRequest};
use crate::plan::ObjectRef;
use crate::slim::{DaemonSet, Node, Pod};
use crate::snapshot::Resource;

/// Selects calico-node, and canal's pods.
const AGENTS: &str = "k8s-app in (calico-node,canal)";
/// Labels of nodes that are no machines.
const VIRTUAL: [(&str, &str); 2] =
    [("type", "virtual-kubelet"), ("eks.amazonaws.com/compute-type", "fargate")];
/// Kubelets renew their lease every 10 s. One that is older belongs to a kubelet that is gone, or nearly so.
pub(super) const LEASE_IS_OLD: Duration = Duration::from_secs(25);

/// A node and the calico-node pod on it.
#[derive(Clone, Debug)]
pub(super) struct NodeFacts {
    pub(super) node: Node,
    pub(super) agent: Option<Pod>,
}

/// Reads them, and refuses at once when no pod would ever start there.
pub(super) async fn read(cluster: &Cluster, name: &str) -> Result<NodeFacts, NodePodError> {
    let node_ref = ObjectRef {
        group: String::new(),
        version: "v1".to_owned(),
        plural: "nodes".to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
    };
    let (node, agent) = futures::join!(cluster.get_json(&node_ref), agent(cluster, name));
    let node = node?.ok_or_else(|| NodePodError::NoSuchNode { node: name.to_owned() })?;
    let node = Node::deserialize(&node).map_err(|error| ApiError::Other {
        attempted: format!("get node {name}"),
        message: format!("the answer makes no sense: {error}"),
    })?;
    suits(&node)?;
    // Without it the pod can be made all the same.
    Ok(NodeFacts { node, agent: agent.unwrap_or_default() })
}

async fn agent(cluster: &Cluster, node: &str) -> Result<Option<Pod>, ApiError> {
    let request = ListRequest {
        label_selector: Some(AGENTS.to_owned()),
        field_selector: Some(format!("spec.nodeName={node}")),
        ..ListRequest::all(Resource::new("pods", ""), "v1")
    };
    let mut found: Vec<Pod> = cluster.list_as(&request).await?;
    found.sort_by_key(|pod| (pod.is_terminating(), pod.metadata.name.clone()));
    Ok(found.into_iter().next())
}

/// Namespaces to make node pods in, best first: that of the user's choice alone, else those of calico-node and
/// kube-system. Where calico-node's cannot be read, those that install methods use are tried.
pub async fn namespaces(cluster: &Cluster, given: Option<&str>) -> Vec<String> {
    let request = ListRequest {
        label_selector: Some(AGENTS.to_owned()),
        ..ListRequest::all(Resource::new("daemonsets", "apps"), "v1")
    };
    let mut found = Vec::new();
    if given.is_none() {
        match cluster.list_as::<DaemonSet>(&request).await {
            Ok(agents) => found.extend(agents.into_iter().map(|it| it.metadata.namespace)),
            Err(error) => {
                tracing::debug!("{error}");
                found.push(OPERATOR_NAMESPACE.to_owned());
            }
        }
    }
    candidate_namespaces(&found, given)
}

/// Whether a pod could start there.
fn suits(node: &Node) -> Result<(), NodePodError> {
    let name = node.metadata.name.clone();
    if !node.is_linux() {
        return Err(NodePodError::Unsuitable { node: name, what: "runs Windows" });
    }
    let labels = &node.metadata.labels;
    if VIRTUAL.iter().any(|(key, value)| labels.get(*key).is_some_and(|it| it == value)) {
        return Err(NodePodError::Unsuitable { node: name, what: "is virtual" });
    }
    match node.condition("Ready") {
        Some(ready) if ready.status == "Unknown" => {
            let since = ready.last_transition_time.map(|at| format!(" (since {at})"));
            let said = format!("{}{}", ready.message, since.unwrap_or_default());
            Err(NodePodError::KubeletSilent { node: name, said })
        }
        _ => Ok(()),
    }
}

/// Seconds since the kubelet renewed its lease, when that can be read and is long ago.
pub(super) async fn lease_age(cluster: &Cluster, node: &str) -> Option<i64> {
    let lease = ObjectRef {
        group: "coordination.k8s.io".to_owned(),
        version: "v1".to_owned(),
        plural: "leases".to_owned(),
        namespace: "kube-node-lease".to_owned(),
        name: node.to_owned(),
    };
    let found = cluster.get_json(&lease).await.ok()??;
    let renewed: jiff::Timestamp = found.pointer("/spec/renewTime")?.as_str()?.parse().ok()?;
    let age = cluster.now().duration_since(renewed).as_secs();
    (age >= i64::try_from(LEASE_IS_OLD.as_secs()).ok()?).then_some(age)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(value: Value) -> Result<(), String> {
        suits(&Node::deserialize(value).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_node_whose_kubelet_is_silent_is_refused_at_once() {
        let condition = |status: &str| {
            json!({ "metadata": { "name": "n1" }, "status": { "conditions": [{
                "type": "Ready", "status": status, "message": "Kubelet stopped posting node status.",
                "lastTransitionTime": "2026-11-21T16:00:00Z" }] } })
        };
        assert_eq!(
            node(condition("Unknown")).unwrap_err(),
            "the kubelet of node n1 is silent: Kubelet stopped posting node status. (since 2026-11-21T16:00:00Z)"
        );
        // A dead pod network makes it NotReady, and is no obstacle; nor is a cordon.
        assert_eq!(node(condition("False")), Ok(()));
        assert_eq!(node(json!({ "spec": { "unschedulable": true } })), Ok(()));
    }

    #[test]
    fn what_is_no_linux_machine_is_told() {
        let windows = json!({ "status": { "nodeInfo": { "operatingSystem": "windows" } } });
        assert!(node(windows).unwrap_err().contains("runs Windows"));
        let fargate =
            json!({ "metadata": { "labels": { "eks.amazonaws.com/compute-type": "fargate" } } });
        assert!(node(fargate).unwrap_err().contains("is virtual"));
        assert_eq!(node(json!({ "metadata": { "labels": { "type": "vm" } } })), Ok(()));
    }
}
