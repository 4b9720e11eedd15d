//! Who uses which address: pure reasoning over what Calico IPAM stores, shared by `calico-ipam` and the checks of group IPM.
//!
//! A [`Ledger`] is made of a [`Snapshot`](crate::snapshot::Snapshot): pools with their blocks, and what every address is
//! allocated to. A [`Population`] is the other side: what pods, nodes and Services use. [`leak`] compares the two, and
//! [`edit`] changes what is stored.

pub mod block;
pub mod cidr;
pub mod diff;
pub mod edit;
#[cfg(test)]
pub(crate) mod fixtures;
mod held;
pub mod leak;
mod ledger;
pub mod map;
pub mod overlap;
pub mod owner;
mod population;
mod usage;
pub mod why;

pub use block::{Allocation, Block, Counts, Fault, State};
pub use held::{Held, Holder, Witnesses};
pub use ledger::{Ledger, Pool};
pub use owner::Owner;
pub use population::{CONTAINER_ID, Population, User, held_by};
pub use usage::{NodeUsage, PoolUsage};
