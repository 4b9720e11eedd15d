//! What it takes to say that Services answer: a new one, which no stale rule can serve, and those that answered before.

use serde::{Deserialize, Serialize};

use crate::plan::ObjectRef;

/// Who must translate the new Service, beyond that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Translator {
    /// Whoever does.
    Any,
    /// The NAT table of the eBPF data plane holds it on every node.
    Bpf,
    /// kube-proxy's rules hold it on every node.
    KubeProxy,
}

/// How a target is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Question {
    /// A TCP connection comes about.
    Tcp,
    /// A DNS question over UDP is answered.
    Dns,
}

/// From where something is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vantage {
    /// The node.
    pub node: String,
    /// True from a pod of the pod network, false from the host's network.
    pub from_pod: bool,
}

/// An existing Service that is asked again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProofTarget {
    /// `namespace/name`
    pub service: String,
    /// Its ClusterIP.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// How it is asked.
    pub question: Question,
    /// Places from where it did not answer before anything was changed: nothing is demanded there.
    pub silent_before: Vec<Vantage>,
}

/// What is to answer, and from where: from every node that runs calico-node, from its host and from a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceProof {
    /// Which proof of the run it is: `bpf-on`.
    pub name: String,
    /// The run, for the labels of what is made.
    pub run: String,
    /// DaemonSet calico-node: it names the nodes, and its pods ask from the hosts.
    pub agent: ObjectRef,
    /// Who must translate the new Service.
    pub by: Translator,
    /// Whether the new Service is asked from pods of the pod network: not where none of them got an answer before.
    pub from_pods: bool,
    /// Whether it is asked by its NodePort: not where that did not work before.
    pub node_ports: bool,
    /// Services that answered before.
    pub targets: Vec<ProofTarget>,
    /// Seconds until all must have answered.
    pub within_seconds: u64,
}
