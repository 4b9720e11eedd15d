//! Carries out plans: consent, journal, guards, action, verification. Only here is anything changed.
//!
//! What a run did is known from its journal even after `kill -9`. Whoever asks for the same repair again gets a new plan
//! from what the cluster shows, where what is repaired yields no finding any more; whoever wants to go on with the old plan,
//! or to take it back, does so by its journal.

mod backup;
mod change_object;
mod clock;
mod cluster_operations;
mod consent;
mod ebpf;
mod failures;
mod hold;
mod hosts;
mod ipam;
pub mod journal;
mod kubeconfig;
pub mod lease;
pub mod mirror;
mod node_hosts;
mod observe;
mod observe_pods;
mod operations;
mod pods;
mod progress;
mod prove;
mod rehearse;
pub mod rights;
mod run;
mod stop;
mod sweep;
mod take_back;

#[cfg(test)]
mod api_crash_tests;
#[cfg(test)]
mod api_simulation;
#[cfg(test)]
mod cluster_operations_tests;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod host_crash_tests;
#[cfg(test)]
mod host_simulation;
#[cfg(test)]
mod quick_clock;
#[cfg(test)]
mod run_tests;
#[cfg(test)]
mod simulation;

pub use clock::{Clock, SystemClock, new_plan_id};
pub use cluster_operations::ClusterOperations;
pub use consent::{Consent, Terminal};
pub use hosts::{Hosts, NoHosts};
pub use journal::Journal;
pub use node_hosts::NodeHosts;
pub use operations::{
    GuardFailure, ObserveError, Operations, PerformError, Performed, Prepared, Underway,
};
pub use progress::{Activity, Progress, Reporter, Silent};
pub use prove::{Measured, clear_proof, measure};
pub use rehearse::rehearse;
pub use run::Executor;
pub use stop::{Stop, StopSwitch};
pub use sweep::{Ours, find_ours, sweep, sweep_repairs};
