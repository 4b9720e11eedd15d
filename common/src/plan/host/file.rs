//! What a file on a host is to hold, and what must be found at its path before.

use serde::{Deserialize, Serialize};

/// What a file is to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
#[non_exhaustive]
pub enum FileContent {
    /// This text, which holds no secret.
    #[serde(rename_all = "camelCase")]
    Text {
        /// The text.
        text: String,
    },
    /// calico-kubeconfig with a token that is requested when the step is carried out.
    #[serde(rename_all = "camelCase")]
    CniKubeconfig {
        /// URL of the API server as the node reaches it.
        server: String,
        /// Namespace of the ServiceAccount, and of the ConfigMap that holds the cluster's CA.
        namespace: String,
        /// The CNI plugin's ServiceAccount.
        service_account: String,
    },
    /// A CNI plugin's binary.
    #[serde(rename_all = "camelCase")]
    Binary {
        /// `calico` or `calico-ipam`.
        name: String,
        /// Where it comes from.
        source: BinarySource,
    },
}

/// Where a binary comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
#[non_exhaustive]
pub enum BinarySource {
    /// From an image that is on the node.
    #[serde(rename_all = "camelCase")]
    Image {
        /// Its name, as the node's status spells it.
        image: String,
        /// Path of the binary in it.
        path: String,
    },
    /// From Calico's release archive in the cache of `download`.
    #[serde(rename_all = "camelCase")]
    Release {
        /// `v3.28.4`
        version: String,
        /// The node's architecture as Kubernetes calls it: `amd64`.
        architecture: String,
    },
}

/// What must be found at a path immediately before an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind", content = "value")]
#[non_exhaustive]
pub enum Expected {
    /// Nothing.
    Absent,
    /// A file with this SHA-256, in hex.
    Sha256(String),
    /// Whatever it is.
    Any,
}
