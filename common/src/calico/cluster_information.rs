//! ClusterInformation: one object, `default`, that the CNI plugin reads before everything it does.

use serde::{Deserialize, Serialize};

use crate::slim::Metadata;

/// Calico's facts about the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterInformation {
    /// Metadata.
    pub metadata: Metadata,
    /// Facts.
    pub spec: ClusterInformationSpec,
}

/// Facts of [`ClusterInformation`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterInformationSpec {
    /// Version of the newest calico-node that started.
    pub calico_version: String,
    /// False while a migration locks the datastore: then no pod can start or stop.
    pub datastore_ready: Option<bool>,
    /// `k8s,bgp,kdd`, …
    pub cluster_type: String,
}
