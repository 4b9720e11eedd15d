//! Our cut of Kubernetes' kinds: lenient, every field defaulted, unknown values kept.
//!
//! Lists that grow with the cluster are never decoded into full types: 30,000 pods take 34 MB here and
//! 1.6 GB in k8s-openapi's.

mod event;
mod lease;
mod metadata;
mod node;
mod pod;
mod service;
mod workload;

pub use event::{Event, EventSource, ObjectReference};
pub use lease::{Lease, LeaseSpec};
pub use metadata::{Metadata, OwnerReference};
pub use node::{
    ContainerImage, Node, NodeAddress, NodeCondition, NodeInfo, NodeSpec, NodeStatus, Taint,
};
pub use pod::{
    Container, ContainerState, ContainerStatus, EmptyDir, Pod, PodAddress, PodCondition, PodSpec,
    PodStatus, PodVolume, StateDetail,
};
pub use service::{LoadBalancerIngress, LoadBalancerStatus, Service, ServiceSpec, ServiceStatus};
pub use workload::{
    ConfigMap, DaemonSet, DaemonSetSpec, DaemonSetStatus, Deployment, DeploymentSpec,
    DeploymentStatus, EnvironmentOrigin, EnvironmentSource, EnvironmentVariable, FieldReference,
    HostPath, LocalReference, Namespace, PodTemplate, ServiceAccount, TemplateContainer,
    TemplateSpec, Volume,
};
