//! Services, as far as they have addresses.

use serde::{Deserialize, Serialize};

use super::Metadata;

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Metadata.
    pub metadata: Metadata,
    /// Desired state.
    pub spec: ServiceSpec,
    /// Observed state.
    pub status: ServiceStatus,
}

/// Desired state of a [`Service`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// `ClusterIP`, `NodePort`, `LoadBalancer`, `ExternalName`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its address inside; `None` for a headless one.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: String,
    /// The address that it wants from outside.
    #[serde(rename = "loadBalancerIP")]
    pub load_balancer_ip: String,
}

/// Observed state of a [`Service`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceStatus {
    /// What a load balancer gave it.
    pub load_balancer: LoadBalancerStatus,
}

/// What a load balancer gave a [`Service`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadBalancerStatus {
    /// Its ways in.
    pub ingress: Vec<LoadBalancerIngress>,
}

/// One way in. One with a name has no address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadBalancerIngress {
    /// Address; empty where there is a name.
    pub ip: String,
}
