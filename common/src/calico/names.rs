//! Names that Calico gives to its objects and files.

/// API group in which Calico stores its objects, in every release up to now.
pub const CRD_GROUP: &str = "crd.projectcalico.org";
/// API group of the aggregated API server, and of native CRDs from v3.32.
pub const V3_GROUP: &str = "projectcalico.org";
/// Namespace of a manifest install.
pub const MANIFEST_NAMESPACE: &str = "kube-system";
/// Namespace of an operator install.
pub const OPERATOR_NAMESPACE: &str = "calico-system";
/// ServiceAccount of the CNI plugin from v3.26; before, it was calico-node's.
pub const CNI_SERVICE_ACCOUNT: &str = "calico-cni-plugin";
/// Environment variable of calico-node that overrides [`CNI_SERVICE_ACCOUNT`].
pub const CNI_SERVICE_ACCOUNT_VARIABLE: &str = "CALICO_CNI_SERVICE_ACCOUNT";
/// The CNI plugin's kubeconfig on the host.
pub const CNI_KUBECONFIG_PATH: &str = "/etc/cni/net.d/calico-kubeconfig";
/// Where container runtimes look for network configurations, unless they are told otherwise.
pub const CNI_CONFIG_DIR: &str = "/etc/cni/net.d";
/// Where container runtimes look for network plugins, unless they are told otherwise.
pub const CNI_BIN_DIR: &str = "/opt/cni/bin";
/// Volume of calico-node that mounts the host's directory of network configurations.
pub const CNI_CONFIG_VOLUME: &str = "cni-net-dir";
/// Volume of calico-node that mounts the host's directory of network plugins.
pub const CNI_BIN_VOLUME: &str = "cni-bin-dir";
/// Name of the CNI plugin's kubeconfig in its directory.
pub const CNI_KUBECONFIG_NAME: &str = "calico-kubeconfig";
/// The CNI configuration that install-cni writes.
pub const CONFLIST_NAME: &str = "10-calico.conflist";
/// Names under which installs of Calico, and of Canal, write their configuration unless told otherwise.
pub const CALICO_CONFLIST_NAMES: [&str; 2] = [CONFLIST_NAME, "10-canal.conflist"];
/// Environment variable of install-cni that overrides [`CONFLIST_NAME`].
pub const CONFLIST_NAME_VARIABLE: &str = "CNI_CONF_NAME";
/// Environment variable of calico-node that says where Calico's objects are stored.
pub const DATASTORE_VARIABLE: &str = "DATASTORE_TYPE";
/// Names of configurations that we lay there ourselves, for as long as a repair takes, begin so: before all others.
pub const OWN_CONFIGURATION_PREFIX: &str = "00-kubectl-calico-";
/// Plugins that install-cni writes and Calico cannot do without.
pub const CNI_BINARIES: [&str; 2] = ["calico", "calico-ipam"];
/// ConfigMap of every namespace that holds the cluster's CA.
pub const ROOT_CA_CONFIG_MAP: &str = "kube-root-ca.crt";
/// Its key.
pub const ROOT_CA_KEY: &str = "ca.crt";
/// ConfigMap of a manifest install with the backend, the MTU and the conflist's template.
pub const CALICO_CONFIG_MAP: &str = "calico-config";
/// Namespace of the Lease that a run of this tool holds while it changes a cluster.
pub const LEASE_NAMESPACE: &str = "kube-system";
/// Name of that Lease.
pub const LEASE_NAME: &str = "kubectl-calico";
/// What this tool writes into label [`MANAGED_BY`] of all that it makes.
pub const OURS: &str = "kubectl-calico";
/// Annotation of this tool's pods: until when their run may need them.
pub const EXPIRES_AT: &str = "kubectl-calico/expires-at";
/// Beginning of the names of this tool's own network configurations on nodes: they sort before all others.
pub const OUR_CONFIGURATION_PREFIX: &str = "00-kubectl-calico-";
/// Label of an object that names the tool that manages it.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Tunnel devices that Calico makes: VXLAN for both families, IP-in-IP, WireGuard for both families.
pub const TUNNEL_DEVICES: [&str; 5] =
    ["vxlan.calico", "vxlan-v6.calico", "tunl0", "wireguard.cali", "wg-v6.cali"];
/// Environment variable of calico-node: what distributes routes.
pub const NETWORKING_BACKEND_VARIABLE: &str = "CALICO_NETWORKING_BACKEND";
/// The same in ConfigMap [`CALICO_CONFIG_MAP`].
pub const NETWORKING_BACKEND_KEY: &str = "calico_backend";
/// Label of nodes that calico-node is to keep off; its value is the run that put it there.
pub const EXCLUDED_LABEL: &str = "kubectl-calico/excluded";
/// Annotation of nodes that this tool cordoned; its value is the run that did.
pub const CORDONED_ANNOTATION: &str = "kubectl-calico/cordoned";
