//! The road that every kubectl-calico plugin travels.
//!
//! ```text
//! source → records → Snapshot → checks → diagnosis → report
//!                                            └→ remedies → Plan → executor → Journal
//! ```
//!
//! The modules of the first block are pure: no tokio, no kube, no clock, no environment. They build alone
//! (`cargo check -p common --no-default-features`), and a test keeps forbidden names out of them.

pub mod bpf;
pub mod bundle;
pub mod calico;
pub mod checks;
#[cfg(feature = "live")]
pub mod cli;
#[cfg(feature = "live")]
pub mod cluster;
#[cfg(feature = "live")]
pub mod collect;
#[cfg(feature = "live")]
pub mod download;
#[cfg(feature = "live")]
pub mod execute;
pub mod findings;
pub mod ipam;
#[cfg(feature = "live")]
pub mod node;
pub mod plan;
pub mod report;
pub mod residue;
pub mod slim;
pub mod snapshot;
#[cfg(feature = "live")]
pub mod verbs;
pub mod yaml;
