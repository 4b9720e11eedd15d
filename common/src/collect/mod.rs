//! From a living cluster to records: what to ask, in which order, and what becomes of answers that do not come.
//!
//! [`collect_live`] asks the API server, then runs the probe on nodes through calico-node, and pours everything into a
//! [`Sink`] in a stable order. Errors are data: each becomes a gap. Only when nothing can be had at all does it stop
//! early, and says so in its [`Outcome`]. It creates nothing in the cluster. [`collect_with_hosts`] looks at hosts as well,
//! which makes pods.
//!
//! A bundle takes the same way by [`crate::bundle::read`].
//!
//! [`Sink`]: crate::snapshot::Sink

mod addresses;
pub use addresses::blocks_as_stored;
mod ask;
pub mod bpf;
mod circumstances;
mod hosts;
mod live;
mod merge;
mod nodes;
mod probes;
mod progress;
mod tee;
#[cfg(test)]
mod tests;
mod want;

pub use circumstances::{circumstances, felix_configurations};
pub use hosts::{HostProbes, Which};
pub use live::{MissedHost, Outcome, collect_live, collect_with_hosts};
pub use nodes::{ALL_NODES_LIMIT, SAMPLE};
pub use progress::{Progress, Quiet, Spinner};
pub use tee::Tee;
pub use want::{Addresses, Want};
