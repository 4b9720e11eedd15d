//! What Calico leaves on a node, and what only looks like it.
//!
//! ```text
//! residues.sh → ResidueFacts ─┐
//!        Snapshot → Surroundings ─┴→ Inventory → removals (host operations)
//! ```
//!
//! A thing is Calico's by facts that only Calico makes true, never by its name alone; it is left over only if nothing that
//! lives needs it. Whatever cannot be proven is kept, and said.

pub mod facts;
mod felix;
#[cfg(test)]
mod felix_tests;
mod id;
mod inventory;
mod node_object;
mod removal;
mod steps;
mod surroundings;
mod transaction;
mod verification;

pub use facts::ResidueFacts;
pub use felix::FelixSettings;
pub use id::{ResidueId, ResidueKind};
pub use inventory::{Inventory, Kept, Residue, take_inventory};
pub use node_object::{NodePatch, add_node_object, patches};
pub use removal::{Removal, left, removal};
pub use steps::{Host, steps};
pub use surroundings::{FelixBackend, Scope, Surroundings, lives_on};
pub use verification::still_there;

#[cfg(test)]
mod tests;
