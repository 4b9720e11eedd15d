//! What to do about addresses that nobody uses and handles that nobody needs.

mod change;
mod leaks;
mod make;
#[cfg(test)]
mod tests;
pub(in crate::plan) mod words;

pub use change::{BlockRef, HandleRef, IpamApi, IpamChange, handles_of};
pub use leaks::{Leaks, idle_handles, obstacle};
pub use make::{Going, IpamOrder};
