//! What users and programs read: stable wire types and one pure printer per format.

mod catalogue;
mod differences;
mod document;
mod download;
mod ebpf_status;
mod endpoint;
mod escape;
pub mod ipam;
mod layout;
mod leftovers;
mod plan_text;
mod pods;
mod preflight;
mod remedy;
mod runs;
mod status;
mod text;
#[cfg(test)]
mod text_tests;
pub mod v1;

pub use catalogue::{CatalogueEntry, catalogue, table};
pub use differences::differences;
pub use document::{json, yaml};
pub use download::{DownloadReport, DownloadedFile};
pub use ebpf_status::{
    EbpfStatusReport, InvariantReport, KubeProxyReport, KubeProxySummary, NodeReport, WantedReport,
    ebpf_status_text, kube_proxy_text, way_text,
};
pub use endpoint::{EndpointCandidate, EndpointProof, EndpointReport, endpoint};
pub use escape::escape;
pub use layout::{TextOptions, number};
pub use leftovers::{LeftoversReport, NodeLeftovers, leftovers};
pub use plan_text::{outcome, plan, rehearsal};
pub use pods::{PodGroup, PodsReport, StuckPod, pods};
pub use preflight::{PreflightEntry, PreflightNode, PreflightReport, preflight};
pub use runs::{RunEntry, RunList, UndoReport, UndoStep, runs, undo};
pub use status::{
    AgentStatus, NodeStatus, NodeVerdict, PodStatus, StatusReport, TokenStatus, TunnelStatus,
    UnknownFact, status_text,
};
pub use text::text;
