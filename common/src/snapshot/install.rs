//! How Calico was installed.

use serde::Serialize;

/// Who owns the objects of a Calico install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstallMethod {
    /// `calico.yaml` or a copy of it, usually in kube-system.
    Manifest,
    /// The Tigera operator, in calico-system.
    Operator,
}

/// One install of Calico.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Install {
    /// Who owns the objects.
    pub method: InstallMethod,
    /// Namespace of DaemonSet calico-node.
    pub namespace: String,
    /// Name of that DaemonSet.
    pub daemon_set: String,
    /// `v3.28.4`, from ClusterInformation, else from calico-node's image tag.
    pub version: Option<String>,
    /// Encapsulation for the header line: `VXLAN`, `IP-in-IP`, `no encapsulation`.
    pub encapsulation: Option<String>,
    /// ServiceAccount whose token the CNI plugin uses.
    pub cni_service_account: String,
    /// Namespaces of all DaemonSets calico-node: more than one means several installs, or a migration under way.
    pub namespaces: Vec<String>,
}
