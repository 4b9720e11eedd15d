//! DaemonSets, Deployments and the small kinds around them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Metadata;

/// A DaemonSet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DaemonSet {
    /// Metadata.
    pub metadata: Metadata,
    /// Desired state.
    pub spec: DaemonSetSpec,
    /// Observed state.
    pub status: DaemonSetStatus,
}

/// Desired state of a DaemonSet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DaemonSetSpec {
    /// The pods it makes.
    pub template: PodTemplate,
}

/// The pods that a workload makes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodTemplate {
    /// Their spec.
    pub spec: TemplateSpec,
}

/// Spec of a pod template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateSpec {
    /// ServiceAccount.
    pub service_account_name: String,
    /// Containers.
    pub containers: Vec<TemplateContainer>,
    /// Init containers.
    pub init_containers: Vec<TemplateContainer>,
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// Secrets that its images are pulled with.
    pub image_pull_secrets: Vec<LocalReference>,
}

/// A volume of a pod template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// A path on the host.
    pub host_path: Option<HostPath>,
}

/// A path on the host, as a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostPath {
    /// The path.
    pub path: String,
}

/// An object of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LocalReference {
    /// Its name.
    pub name: String,
}

/// A container of a pod template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateContainer {
    /// Name.
    pub name: String,
    /// Image reference.
    pub image: String,
    /// Environment.
    pub env: Vec<EnvironmentVariable>,
    /// Where more of it comes from, all variables at once.
    pub env_from: Vec<EnvironmentOrigin>,
}

/// An object that all its keys become environment variables of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvironmentOrigin {
    /// A ConfigMap.
    pub config_map_ref: Option<LocalReference>,
    /// A Secret.
    pub secret_ref: Option<LocalReference>,
}

/// An environment variable; one that comes from elsewhere (`valueFrom`) has no value here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvironmentVariable {
    /// Name.
    pub name: String,
    /// Literal value.
    pub value: String,
    /// Where the value comes from when it is not literal.
    pub value_from: Option<EnvironmentSource>,
}

/// Source of an [`EnvironmentVariable`]'s value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvironmentSource {
    /// A field of the pod itself.
    pub field_ref: Option<FieldReference>,
}

/// A field of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FieldReference {
    /// Its path, e.g. `spec.serviceAccountName`.
    pub field_path: String,
}

/// Observed state of a DaemonSet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonSetStatus {
    /// Nodes that should run a pod.
    pub desired_number_scheduled: i64,
    /// Nodes among them that have one.
    pub current_number_scheduled: i64,
    /// Nodes among them that have one of the newest template.
    pub updated_number_scheduled: i64,
    /// The generation of the spec that these numbers are about.
    pub observed_generation: Option<i64>,
    /// Pods that are ready.
    pub number_ready: i64,
}

/// A Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deployment {
    /// Metadata.
    pub metadata: Metadata,
    /// Desired state.
    pub spec: DeploymentSpec,
    /// Observed state.
    pub status: DeploymentStatus,
}

/// Desired state of a Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeploymentSpec {
    /// Desired number of pods.
    pub replicas: Option<i64>,
    /// The pods it makes.
    pub template: PodTemplate,
}

/// Observed state of a Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentStatus {
    /// Pods that are ready.
    pub ready_replicas: i64,
}

/// A Namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// Metadata.
    pub metadata: Metadata,
}

/// A ServiceAccount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceAccount {
    /// Metadata.
    pub metadata: Metadata,
}

/// A ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigMap {
    /// Metadata.
    pub metadata: Metadata,
    /// Text values.
    pub data: BTreeMap<String, String>,
}

impl TemplateSpec {
    /// Literal value of an environment variable of any container.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.variables(name).map(|variable| variable.value.as_str()).find(|value| !value.is_empty())
    }

    /// Whether any container has an environment variable of that name, wherever its value comes from.
    pub fn has_env(&self, name: &str) -> bool {
        self.variables(name).next().is_some()
    }

    /// The pod's field that an environment variable of any container is taken from.
    pub fn env_field(&self, name: &str) -> Option<&str> {
        let mut sources = self.variables(name).filter_map(|variable| variable.value_from.as_ref());
        sources.find_map(|source| source.field_ref.as_ref()).map(|field| field.field_path.as_str())
    }

    fn variables(&self, name: &str) -> impl Iterator<Item = &EnvironmentVariable> {
        let containers = self.init_containers.iter().chain(&self.containers);
        containers
            .flat_map(|container| &container.env)
            .filter(move |variable| variable.name == name)
    }
}
