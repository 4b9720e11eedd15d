//! Pods that are of no use any more: those that finished and were left behind, in floods, and those that hang in their
//! deletion.

mod choice;
mod flood;
mod steps;
mod stuck;

pub use choice::{Choice, Kept, Pick};
pub use flood::{Flood, Group, Owner};
pub use steps::{PodOrder, force_deletion_steps, plan_for_floods};
pub use stuck::{Stuck, WhyStuck, is_overdue, why_stuck};
