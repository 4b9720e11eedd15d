//! The stories that live tests tell: pods on a testbed, a fault, the doctor, and what must be true afterwards.

mod credentials;
mod doctor;
mod pods;
mod report;

pub use credentials::{Expected, NODE, Story, demand, nothing_of_ours};
pub use doctor::{Doctor, Ran};
pub use pods::{Pods, Snapshot};
pub use report::{Report, Root};
