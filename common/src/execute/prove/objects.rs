//! What a proof makes: a pod of the pod network on every node, and a Service that nobody has seen before. The Service belongs to
//! the first pod, so that whoever removes the pods of a run that was killed removes the Service as well.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::cluster::{ApiError, Cluster, ListRequest, Write};
use crate::node::pod::{
    EXPIRES_AT_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL, NODE_ANNOTATION, OP_LABEL, Op, RUN_LABEL,
};
use crate::plan::ObjectRef;
use crate::slim::Metadata;
use crate::snapshot::{Known, Resource};
use serde::Deserialize;

/// Beginning of the names of all of it.
const NAME: &str = "kubectl-calico-proof-";
/// Seconds after which the kubelet ends the pods of a run that was killed.
const DEADLINE: i64 = 600;
/// The container.
pub(super) const CONTAINER: &str = "ask";
/// Kinds that a proof makes: group, version, plural.
const KINDS: [(&str, &str, &str); 3] =
    [("", "v1", "services"), ("discovery.k8s.io", "v1", "endpointslices"), ("", "v1", "pods")];

/// Where and for whom objects are made.
#[derive(Clone, Debug)]
pub(super) struct Maker<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) namespace: &'a str,
    pub(super) run: &'a str,
    pub(super) write: Write<'a>,
}

/// The part of any object that is read here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Any {
    metadata: Metadata,
}

/// The new Service.
#[derive(Clone, Debug)]
pub(super) struct NewService {
    pub(super) address: String,
    pub(super) port: u16,
    /// None where the cluster has no NodePorts to give.
    pub(super) node_port: Option<u16>,
}

fn object(kind: (&str, &str, &str), namespace: &str, name: &str) -> ObjectRef {
    ObjectRef {
        group: kind.0.to_owned(),
        version: kind.1.to_owned(),
        plural: kind.2.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

impl Maker<'_> {
    fn metadata(&self, node: &str) -> Value {
        let expires = self.cluster.now().checked_add(SignedDuration::from_secs(DEADLINE));
        let expires = expires.unwrap_or(Timestamp::MAX).to_string();
        json!({
            "generateName": NAME,
            "namespace": self.namespace,
            "labels": {
                MANAGED_BY_LABEL: MANAGED_BY, RUN_LABEL: self.run, OP_LABEL: Op::Repair.word(),
            },
            "annotations": {
                NODE_ANNOTATION: node, EXPIRES_AT_ANNOTATION: expires,
                "sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled",
            },
        })
    }

    async fn create(&self, kind: (&str, &str, &str), body: &Value) -> Result<Value, ApiError> {
        self.cluster.create(&object(kind, self.namespace, NAME), body, self.write).await
    }

    /// A pod that waits to be asked from, of an image that is on the node.
    pub(super) async fn pod(&self, node: &str, image: &str) -> Result<Value, ApiError> {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": self.metadata(node),
            "spec": {
                "nodeName": node,
                "restartPolicy": "Never",
                "activeDeadlineSeconds": DEADLINE,
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "tolerations": [{ "operator": "Exists" }],
                "containers": [{
                    "name": CONTAINER, "image": image, "imagePullPolicy": "Never",
                    "command": ["/bin/sleep", DEADLINE.to_string()],
                    "securityContext": {
                        "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
                    },
                }],
            },
        });
        self.create(KINDS[2], &pod).await
    }

    /// A Service that leads to `endpoint`, owned by the pod `owner`: with a NodePort where one can be had.
    pub(super) async fn service(
        &self,
        endpoint: &(String, u16),
        owner: &Value,
    ) -> Result<NewService, ApiError> {
        let port =
            json!({ "name": "https", "port": 443, "targetPort": endpoint.1, "protocol": "TCP" });
        let body = |kind: &str| {
            let mut metadata = self.metadata("");
            metadata["ownerReferences"] = json!([owner_reference(owner)]);
            json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata,
                "spec": { "type": kind, "ports": [port] } })
        };
        let made = match self.create(KINDS[0], &body("NodePort")).await {
            Err(ApiError::Invalid { .. } | ApiError::Forbidden { .. }) => {
                self.create(KINDS[0], &body("ClusterIP")).await?
            }
            other => other?,
        };
        let name = made["metadata"]["name"].as_str().unwrap_or_default();
        let mut metadata = self.metadata("");
        metadata["ownerReferences"] = json!([owner_reference(owner)]);
        metadata["labels"]["kubernetes.io/service-name"] = json!(name);
        metadata["labels"]["endpointslice.kubernetes.io/managed-by"] = json!(MANAGED_BY);
        let family = if endpoint.0.contains(':') { "IPv6" } else { "IPv4" };
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
            "addressType": family,
            "endpoints": [{ "addresses": [endpoint.0], "conditions": { "ready": true } }],
            "ports": [{ "name": "https", "port": endpoint.1, "protocol": "TCP" }],
        });
        self.create(KINDS[1], &slice).await?;
        let node_port = made.pointer("/spec/ports/0/nodePort").and_then(Value::as_u64);
        Ok(NewService {
            address: made["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned(),
            port: 443,
            node_port: node_port.and_then(|it| u16::try_from(it).ok()),
        })
    }

    /// Deletes all of it, of this run. What is gone already is as good.
    pub(super) async fn clear(&self) -> Result<(), ApiError> {
        for kind in KINDS {
            for it in labelled(self.cluster, kind, self.namespace, self.run).await? {
                let object = object(kind, self.namespace, &it.name);
                match self.cluster.delete(&object, &it.uid, false).await {
                    Ok(()) | Err(ApiError::NotFound { .. } | ApiError::Conflict { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

fn owner_reference(pod: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod",
        "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"] })
}

async fn labelled(
    cluster: &Cluster,
    (group, version, plural): (&str, &str, &str),
    namespace: &str,
    run: &str,
) -> Result<Vec<Metadata>, ApiError> {
    let request = ListRequest {
        namespace: Some(namespace.to_owned()),
        label_selector: Some(format!("{MANAGED_BY_LABEL}={MANAGED_BY},{RUN_LABEL}={run}")),
        ..ListRequest::all(Resource::new(plural, group), version)
    };
    let all: Vec<Any> = cluster.list_as(&request).await?;
    // Node pods of the run are somebody else's to remove.
    let is_proof = |it: &Metadata| it.name.starts_with(NAME);
    Ok(all.into_iter().map(|it| it.metadata).filter(is_proof).collect())
}

/// How many objects of proofs of this run are left.
pub(in crate::execute) async fn left(
    cluster: &Cluster,
    namespace: &str,
    run: &str,
) -> Known<usize> {
    let mut count = 0;
    for kind in KINDS {
        match labelled(cluster, kind, namespace, run).await {
            Ok(them) => count += them.len(),
            Err(error) => {
                let what = format!("cluster/{}.json", kind.2);
                return Known::Unknown(crate::execute::ebpf::observe::gap(&what, &error));
            }
        }
    }
    Known::Known(count)
}
