//! What to do about addresses that nobody uses and handles that nobody needs.

mod change;
pub(in crate::plan) mod words;

pub use change::{BlockRef, HandleRef, IpamApi, IpamChange, handles_of};
