//! Everything that is looked at to judge and to change the data plane of a cluster.
//!
//! Objects that may be changed are whole, as the API server gave them: to undo a change is to know what was there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::BpfFacts;
use crate::calico::names::{CRD_GROUP, MANIFEST_NAMESPACE, V3_GROUP};
use crate::plan::ObjectRef;
use crate::slim::{DaemonSet, Node, Pod};
use crate::snapshot::{Flavour, Gap, GapReason, InstallMethod, Known, Snapshot};

/// ConfigMap that tells Calico where the API server is.
pub const ENDPOINT_CONFIG_MAP: &str = "kubernetes-services-endpoint";
/// Namespace of the Tigera operator, where it looks for [`ENDPOINT_CONFIG_MAP`].
pub const TIGERA_OPERATOR: &str = "tigera-operator";
/// DaemonSet and ConfigMap of kube-proxy, as kubeadm and most others make them.
pub const KUBE_PROXY: &str = "kube-proxy";
/// Annotation of a pod that the kubelet runs from a file, and the API server only shows.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What was seen of a cluster. What could not be read is unknown, never none.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// Nodes, pods, how Calico is installed.
    pub snapshot: &'a Snapshot,
    /// All FelixConfigurations, whole; absent when the API server serves no such kind.
    pub felix: Known<Vec<Value>>,
    /// Names of the fields that a FelixConfiguration of this cluster may have below `spec`.
    pub felix_fields: Known<BTreeSet<String>>,
    /// Installation `default` of the operator; absent without the operator.
    pub installation: Known<Value>,
    /// Names of the fields that an Installation of this cluster may have below `spec.calicoNetwork`.
    pub installation_fields: Known<BTreeSet<String>>,
    /// TigeraStatuses; absent without the operator.
    pub tigera_status: Known<Vec<Value>>,
    /// Deployment tigera-operator.
    pub operator: Known<Value>,
    /// DaemonSet calico-node (or canal).
    pub calico_node: Known<Value>,
    /// Deployment calico-typha of the same namespace.
    pub typha: Known<Value>,
    /// Deployment calico-kube-controllers of the same namespace.
    pub kube_controllers: Known<Value>,
    /// ConfigMap calico-config of a manifest install.
    pub calico_config: Known<Value>,
    /// ConfigMap [`ENDPOINT_CONFIG_MAP`], in the namespace where this install looks for it.
    pub endpoint_config: Known<Value>,
    /// All DaemonSets.
    pub daemon_sets: Known<Vec<DaemonSet>>,
    /// DaemonSet kube-system/kube-proxy.
    pub kube_proxy: Known<Value>,
    /// ConfigMap kube-system/kube-proxy.
    pub kube_proxy_config: Known<Value>,
    /// ConfigMap kube-system/kubeadm-config.
    pub kubeadm_config: Known<Value>,
    /// ConfigMap kube-public/cluster-info.
    pub cluster_info: Known<Value>,
    /// ConfigMap kube-system/kube-root-ca.crt.
    pub root_ca: Known<Value>,
    /// All Services.
    pub services: Known<Vec<Value>>,
    /// EndpointSlices of Service default/kubernetes.
    pub api_server_slices: Known<Vec<Value>>,
    /// Webhooks that judge writes: ValidatingWebhookConfigurations and MutatingWebhookConfigurations.
    pub webhooks: Known<Vec<Value>>,
    /// APIServices, aggregated ones among them.
    pub api_services: Known<Vec<Value>>,
    /// What each node shows, by name. Every node of the cluster that runs Linux has an entry.
    pub nodes: BTreeMap<String, Known<BpfFacts>>,
}

impl Situation<'_> {
    /// Where this install looks for [`ENDPOINT_CONFIG_MAP`].
    pub fn endpoint_namespace(&self) -> Known<String> {
        self.snapshot
            .install
            .as_ref()
            .map(|install| endpoint_namespace(install.method, &install.namespace))
    }

    /// FelixConfiguration of this name.
    pub fn felix_named(&self, name: &str) -> Known<&Value> {
        self.felix.as_ref().and_then(|all| {
            Known::from_option(all.iter().find(|it| text(it, "/metadata/name") == Some(name)))
        })
    }

    /// FelixConfiguration `name` as an object to change: of the group that stores Calico's objects.
    pub fn felix_object(&self, name: &str) -> Known<ObjectRef> {
        felix_group(self.snapshot).map(|(group, version)| ObjectRef {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: "felixconfigurations".to_owned(),
            namespace: String::new(),
            name: name.to_owned(),
        })
    }

    /// kube-proxy's pods, those that only mirror a file on the node among them.
    pub fn kube_proxy_pods(&self) -> Known<Vec<&Pod>> {
        self.snapshot
            .pods
            .get()
            .map(|pods| pods.iter().filter(|it| is_kube_proxy(it) && !it.is_finished()).collect())
    }
}

/// Where an install looks for [`ENDPOINT_CONFIG_MAP`].
pub fn endpoint_namespace(method: InstallMethod, namespace: &str) -> String {
    match method {
        InstallMethod::Operator => TIGERA_OPERATOR.to_owned(),
        InstallMethod::Manifest => namespace.to_owned(),
    }
}

/// Group and version that Felix's configuration is stored in. During a migration both hold some, and nothing is written.
pub fn felix_group(snapshot: &Snapshot) -> Known<(&'static str, &'static str)> {
    snapshot.flavour.as_ref().and_then(|flavour| match flavour {
        Flavour::CrdV1 => Known::Known((CRD_GROUP, "v1")),
        Flavour::NativeV3 => Known::Known((V3_GROUP, "v3")),
        Flavour::Migrating => Known::Unknown(Gap::new(
            "cluster/felixconfigurations",
            GapReason::Other("migrating".to_owned()),
            "Calico's objects are being moved to another API group",
        )),
    })
}

/// Whether a pod is kube-proxy: of its DaemonSet, or of a file on the node.
pub fn is_kube_proxy(pod: &Pod) -> bool {
    let metadata = &pod.metadata;
    let label = |key: &str| metadata.labels.get(key).is_some_and(|value| value == KUBE_PROXY);
    let by_name = metadata.name.strip_prefix("kube-proxy-").is_some();
    metadata.namespace == MANIFEST_NAMESPACE
        && (label("k8s-app") || label("component") || (by_name && is_mirror(pod)))
}

/// Whether a pod only mirrors a file on its node: deleting it does nothing.
pub fn is_mirror(pod: &Pod) -> bool {
    pod.metadata.annotations.contains_key(MIRROR)
}

/// Whether a node runs Windows, as its kubelet or its label says.
pub fn is_windows(node: &Node) -> bool {
    let label = node.metadata.labels.get("kubernetes.io/os");
    node.status.node_info.operating_system == "windows" || label.is_some_and(|it| it == "windows")
}

/// A text within an object.
pub fn text<'v>(object: &'v Value, pointer: &str) -> Option<&'v str> {
    object.pointer(pointer)?.as_str()
}
