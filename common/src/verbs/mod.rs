//! What the verbs of all plugins do in the same way: look, plan, ask, change under the Lease, look again; undo, resume and
//! list earlier runs; print the role that a verb needs.

pub mod allowed;
pub mod alone;
pub mod change;
pub mod earlier;
pub mod look;
pub mod node_flags;
pub mod rbac;
pub mod repair;
pub mod resume;
pub mod role;
pub mod runs;
mod session;
pub mod undo;

pub use session::Session;
