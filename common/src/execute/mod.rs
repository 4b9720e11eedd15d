//! Carries out plans: consent, journal, guards, action, verification. Only here is anything changed.
//!
//! What a run did is known from its journal even after `kill -9`. A later run does not continue an old journal: it
//! plans anew from the cluster, where what is repaired yields no finding any more.

mod clock;
mod cluster_operations;
mod consent;
pub mod journal;
pub mod lease;
mod observe;
mod operations;
mod progress;
mod run;
mod stop;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod run_tests;
#[cfg(test)]
mod simulation;

pub use clock::{Clock, SystemClock, new_plan_id};
pub use cluster_operations::ClusterOperations;
pub use consent::{Consent, Terminal};
pub use journal::Journal;
pub use operations::{GuardFailure, ObserveError, Operations, PerformError, Performed};
pub use progress::{Activity, Progress, Reporter, Silent};
pub use run::Executor;
pub use stop::{Stop, StopSwitch};
