//! Actions and looks of the way to the eBPF data plane and back.

mod objects;
pub(super) mod observe;
mod restart;

pub(super) use objects::{create, delete_created};
pub(super) use restart::restart_pods;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod process;
#[cfg(test)]
mod simulation;
