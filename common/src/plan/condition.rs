//! What a step waits for. The executor looks at the cluster; whether what it saw is enough is decided here.

use serde::{Deserialize, Serialize};

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
