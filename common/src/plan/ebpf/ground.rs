//! What plans of this way are made from: the objects that they change, as they are now.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use crate::bpf::{ENDPOINT_CONFIG_MAP, Endpoint, endpoint_namespace};
use crate::plan::{ObjectRef, PlanId, Target};
use crate::snapshot::InstallMethod;

use super::ServiceProof;

/// Key of the node selector that keeps kube-proxy's pods off every node. Our own, so that whoever finds it knows whom to ask.
pub const KUBE_PROXY_OFF: &str = "kubectl-calico/disable-kube-proxy";

/// An object as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its name in the API.
    pub name: ObjectRef,
    /// What it says.
    pub value: Value,
}

impl Object {
    /// Its uid.
    pub fn uid(&self) -> String {
        self.text("/metadata/uid").unwrap_or_default().to_owned()
    }

    /// A text in it.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.value.pointer(path).and_then(Value::as_str)
    }

    /// A value in it; none for null, too.
    pub fn at(&self, path: &str) -> Option<&Value> {
        self.value.pointer(path).filter(|it| !it.is_null())
    }
}

/// The objects.
#[derive(Clone, Debug)]
pub struct Objects {
    /// How Calico is installed.
    pub method: InstallMethod,
    /// DaemonSet calico-node.
    pub agent: Object,
    /// Deployments of Calico that reach the API server as well (Typha, kube-controllers), of a manifest install.
    pub companions: Vec<Object>,
    /// It. calico-node makes it when it starts.
    pub felix: Object,
    /// Fields that FelixConfiguration has in this cluster; empty when its definition does not say.
    pub felix_fields: BTreeSet<String>,
    /// Installation `default`, of an operator install.
    pub installation: Option<Object>,
    /// The operator's Deployment.
    pub operator: Option<Object>,
    /// DaemonSet kube-proxy.
    pub kube_proxy: Option<Object>,
    /// ConfigMap [`ENDPOINT_CONFIG_MAP`], where this install reads it.
    pub endpoint_map: Option<Object>,
    /// kube-proxy's rules on the nodes.
    pub rules: ProxyRules,
}

/// Where kube-proxy's rules of iptables are, and where they are not Felix's to remove. Of IPv4: Felix looks after IPv6 only where
/// it is told to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyRules {
    /// Nodes that have them.
    pub shown: BTreeSet<String>,
    /// Nodes on which Felix may leave them: it is told to there, or both implementations of iptables have some, and it looks
    /// after one.
    pub left: BTreeSet<String>,
}

/// What a plan is made from.
#[derive(Clone, Debug)]
pub struct Ground<'a> {
    /// The run.
    pub run: &'a PlanId,
    /// Program, version and verb.
    pub made_by: &'a str,
    /// The cluster.
    pub target: &'a Target,
    /// When the objects were read.
    pub taken: Timestamp,
    /// The objects.
    pub objects: &'a Objects,
    /// What is proven at each step.
    pub proof: &'a ServiceProof,
    /// Seconds that a step may take on each node, beside a minute for all.
    pub per_node_seconds: u64,
    /// Nodes that run calico-node.
    pub nodes: usize,
    /// What needs not be done.
    pub done: Done,
}

/// What is as `enable` would make it, already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// calico-node uses the API server's address on every node, and will.
    pub endpoint: bool,
    /// Felix leaves kube-proxy's rules alone.
    pub coexistence: bool,
    /// eBPF is on on every node.
    pub bpf: bool,
    /// kube-proxy has no pods, and wants none.
    pub kube_proxy: bool,
}

/// What the user wants of `enable`.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Where calico-node is to look for the API server once kube-proxy is gone.
    pub endpoint: Endpoint,
    /// Whether kube-proxy goes.
    pub disable_kube_proxy: bool,
    /// Seconds for which it is watched that it stays away.
    pub watch_seconds: u64,
}

impl Objects {
    /// True where the operator installs Calico.
    pub fn is_operator(&self) -> bool {
        self.method == InstallMethod::Operator
    }

    /// Name of ConfigMap [`ENDPOINT_CONFIG_MAP`].
    pub fn endpoint_map_name(&self) -> ObjectRef {
        let namespace = endpoint_namespace(self.method, &self.agent.name.namespace);
        named("", "v1", "configmaps", &namespace, ENDPOINT_CONFIG_MAP)
    }

    /// TigeraStatus `calico`, by which the operator says what is wrong.
    pub fn status(&self) -> Option<ObjectRef> {
        self.is_operator()
            .then(|| named("operator.tigera.io", "v1", "tigerastatuses", "", "calico"))
    }

    /// Whether FelixConfiguration has this field here. A definition that says nothing lets nobody know.
    pub fn has_felix_field(&self, field: &str) -> bool {
        self.felix_fields.contains(field)
    }
}

/// An object's name in the API.
pub fn named(group: &str, version: &str, plural: &str, namespace: &str, name: &str) -> ObjectRef {
    ObjectRef {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: plural.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}
