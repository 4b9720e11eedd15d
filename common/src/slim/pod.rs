//! Pods.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{LocalReference, Metadata};

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Metadata.
    pub metadata: Metadata,
    /// Desired state.
    pub spec: PodSpec,
    /// Observed state.
    pub status: PodStatus,
}

/// Desired state of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The node it is bound to; empty while it is not scheduled.
    pub node_name: String,
    /// True when it shares the host's network and so needs no CNI.
    pub host_network: bool,
    /// ServiceAccount it runs as.
    pub service_account_name: String,
    /// Containers.
    pub containers: Vec<Container>,
    /// Init containers.
    pub init_containers: Vec<Container>,
    /// Secrets that its images are pulled with.
    pub image_pull_secrets: Vec<LocalReference>,
    /// Volumes.
    pub volumes: Vec<PodVolume>,
}

/// A volume of a pod, as far as it decides whether the pod may go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodVolume {
    /// Set when its content lives as long as the pod.
    pub empty_dir: Option<EmptyDir>,
}

/// A volume that lives as long as its pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EmptyDir {}

/// A container of a pod's spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Name.
    pub name: String,
    /// Image reference.
    pub image: String,
}

/// Observed state of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`.
    pub phase: String,
    /// Why it is in that phase, e.g. `Evicted`.
    pub reason: String,
    /// The same for a person.
    pub message: String,
    /// Conditions.
    pub conditions: Vec<PodCondition>,
    /// Containers.
    pub container_statuses: Vec<ContainerStatus>,
    /// Init containers.
    pub init_container_statuses: Vec<ContainerStatus>,
    /// Address; finished pods still show one.
    #[serde(rename = "podIP")]
    pub pod_ip: String,
    /// Its addresses of all families.
    #[serde(rename = "podIPs")]
    pub pod_ips: Vec<PodAddress>,
    /// When the kubelet acknowledged it.
    pub start_time: Option<Timestamp>,
}

/// An address of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodAddress {
    /// The address.
    pub ip: String,
}

/// A condition of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodCondition {
    /// `Ready`, `PodScheduled`, `PodReadyToStartContainers`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False`, `Unknown`.
    pub status: String,
    /// Machine-readable reason.
    pub reason: String,
    /// Text for a person.
    pub message: String,
    /// When it changed last.
    pub last_transition_time: Option<Timestamp>,
}

/// Observed state of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// Name.
    pub name: String,
    /// True when its readiness probe passes.
    pub ready: bool,
    /// How often it was restarted.
    pub restart_count: i64,
    /// What it does now.
    pub state: ContainerState,
    /// What it did before its last restart.
    pub last_state: ContainerState,
}

/// One of three states.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    /// It waits, e.g. `ContainerCreating`.
    pub waiting: Option<StateDetail>,
    /// It runs.
    pub running: Option<StateDetail>,
    /// It ended.
    pub terminated: Option<StateDetail>,
}

/// Details of a container's state; which fields are set depends on the state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StateDetail {
    /// Machine-readable reason.
    pub reason: String,
    /// Text for a person.
    pub message: String,
    /// Exit code of a terminated container.
    pub exit_code: Option<i64>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl Pod {
    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.metadata.namespace, self.metadata.name)
    }

    /// True for Calico's node agent (label `k8s-app=calico-node`, in both install methods; canal's pods carry `k8s-app=canal`).
    pub fn is_calico_node(&self) -> bool {
        matches!(
            self.metadata.labels.get("k8s-app").map(String::as_str),
            Some("calico-node" | "canal")
        )
    }

    /// The condition of this type.
    pub fn condition(&self, kind: &str) -> Option<&PodCondition> {
        self.status.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// True when condition Ready is True.
    pub fn is_ready(&self) -> bool {
        self.condition("Ready").is_some_and(|ready| ready.status == "True")
    }

    /// True when it has finished: it needs no network any more.
    pub fn is_finished(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    /// True while a deletion is under way.
    pub fn is_terminating(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }
}
