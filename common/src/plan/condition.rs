//! What a step waits for. The executor looks at the cluster; whether what it saw is enough is decided here.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ipam::IpamChange;
use super::{JsonPatch, ObjectRef};

/// Something that must come true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
#[non_exhaustive]
pub enum Condition {
    /// Another pod of the DaemonSet than `old_uid` is Ready on `node`.
    #[serde(rename_all = "camelCase")]
    DaemonPodReady {
        /// Namespace of the DaemonSet.
        namespace: String,
        /// Its name.
        daemon_set: String,
        /// The node.
        node: String,
        /// Uid of the pod that was replaced.
        old_uid: String,
    },
    /// The credentials in the node's calico-kubeconfig are those of the living cluster: CA hash, ServiceAccount uid,
    /// expiry and key id all match. Read through the node's calico-node pod; the token itself never leaves the node.
    #[serde(rename_all = "camelCase")]
    CniCredentialsAccepted {
        /// The node.
        node: String,
    },
    /// The CNI configuration exists on the node and the node's network is ready.
    #[serde(rename_all = "camelCase")]
    NodeNetworkReady {
        /// The node.
        node: String,
    },
    /// Each of these pods runs, has finished, or is gone. A pod is known by its uid.
    #[serde(rename_all = "camelCase")]
    PodsSettled {
        /// The node they are bound to: a pod that is not among that node's pods is gone.
        node: String,
        /// The pods.
        pods: Vec<PodRef>,
    },
    /// These plugin binaries are in the node's CNI plugin directory. Seen from the host only.
    #[serde(rename_all = "camelCase")]
    CniBinariesPresent {
        /// The node.
        node: String,
        /// Their names.
        names: Vec<String>,
    },
    /// The network configuration that the runtime reads first is Calico's.
    #[serde(rename_all = "camelCase")]
    CalicoConfigurationFirst {
        /// The node.
        node: String,
    },
    /// No file is called so in the directories of CNI configurations and plugins.
    #[serde(rename_all = "camelCase")]
    ConfigurationGone {
        /// The node.
        node: String,
        /// Its name.
        file: String,
    },
    /// None of these sandboxes is known to the runtime. Seen from the host only.
    #[serde(rename_all = "camelCase")]
    SandboxesGone {
        /// The node.
        node: String,
        /// Their ids.
        ids: Vec<String>,
    },
    /// None of these is on the node any more (see [`crate::residue`]). Seen from the host only.
    #[serde(rename_all = "camelCase")]
    ResiduesGone {
        /// The node.
        node: String,
        /// Ids of residues.
        ids: Vec<String>,
    },
    /// The object, as known by its uid, does not exist.
    #[serde(rename_all = "camelCase")]
    ObjectGone {
        /// The object.
        object: ObjectRef,
        /// Its uid.
        uid: String,
    },
    /// The object is as the patch makes it.
    #[serde(rename_all = "camelCase")]
    Patched {
        /// The object.
        object: ObjectRef,
        /// Its uid.
        uid: String,
        /// The patch.
        patch: JsonPatch,
    },
    /// Each of these pods is being deleted, or is gone. A pod is known by its uid.
    #[serde(rename_all = "camelCase")]
    PodsEnding {
        /// The pods.
        pods: Vec<PodRef>,
    },
    /// No container of these pods runs any more, or the time that they were given to end is over. A pod is known by its uid.
    #[serde(rename_all = "camelCase")]
    PodsStopped {
        /// The pods.
        pods: Vec<PodRef>,
        /// Seconds since its deletion after which a pod that still runs is waited for no longer, whatever its spec says.
        at_most_seconds: u32,
    },
    /// None of these pods exists any more. A pod is known by its uid.
    #[serde(rename_all = "camelCase")]
    PodsGone {
        /// The pods.
        pods: Vec<PodRef>,
    },
    /// Pods may be scheduled to the node, or may not.
    #[serde(rename_all = "camelCase")]
    NodeSchedulable {
        /// The node.
        node: String,
        /// Which of the two.
        is: bool,
    },
    /// This machine has a whole archive of what the node had of Calico.
    #[serde(rename_all = "camelCase")]
    BackedUp {
        /// The node.
        node: String,
        /// Directory on this machine.
        directory: String,
    },
    /// The workload's controller has seen its newest template, and every pod that it wants is of it and available.
    #[serde(rename_all = "camelCase")]
    RolledOut {
        /// The DaemonSet or Deployment.
        workload: ObjectRef,
        /// Environment variables that its template must have, literally; one with an empty value must not be there.
        variables: BTreeMap<String, String>,
    },
    /// On every node calico-node has this API server in its environment.
    #[serde(rename_all = "camelCase")]
    EndpointInUse {
        /// DaemonSet calico-node.
        agent: ObjectRef,
        /// Address or name.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// On every node calico-node forwards packets by this data plane, as the kernel shows it.
    #[serde(rename_all = "camelCase")]
    OnDataPlane {
        /// DaemonSet calico-node.
        agent: ObjectRef,
        /// Which.
        is: DataPlane,
        /// Status object of the operator, which may tell why it is not.
        operator: Option<ObjectRef>,
    },
    /// On every node calico-node sees no rules of kube-proxy in iptables any more, for IPv4. What could not be seen is not gone.
    #[serde(rename_all = "camelCase")]
    KubeProxyRulesGone {
        /// DaemonSet calico-node.
        agent: ObjectRef,
        /// Nodes on which they may stay.
        except: BTreeSet<String>,
    },
    /// On these nodes nobody sees that kube-proxy's rules of iptables are gone.
    #[serde(rename_all = "camelCase")]
    KubeProxyRulesKept {
        /// DaemonSet calico-node.
        agent: ObjectRef,
        /// The nodes that had them.
        nodes: BTreeSet<String>,
    },
    /// The DaemonSet wants no pod, and none of its pods is left.
    #[serde(rename_all = "camelCase")]
    NoPods {
        /// The DaemonSet.
        workload: ObjectRef,
    },
    /// Nothing that a proof of Services made is left.
    #[serde(rename_all = "camelCase")]
    ProofCleared {
        /// Where it was made.
        namespace: String,
        /// The run that made it.
        run: String,
    },
    /// A change of what Calico IPAM stores is done, except for what turned out to be in use.
    #[serde(rename_all = "camelCase")]
    IpamChanged {
        /// The change, without what is only needed to do it.
        change: IpamChange,
    },
}

/// What forwards packets on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DataPlane {
    /// BPF programs, which translate Services as well.
    Bpf,
    /// iptables or nftables; Services are kube-proxy's.
    Tables,
}

/// Names a pod for good.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodRef {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
}
