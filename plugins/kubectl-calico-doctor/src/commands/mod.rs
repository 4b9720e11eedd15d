//! One file per verb.

mod change;
pub(crate) mod check;
pub(crate) mod checks;
pub(crate) mod collect;
pub(crate) mod completion;
pub(crate) mod download;
mod earlier;
pub(crate) mod explain;
pub(crate) mod fix;
mod look;
mod node_flags;
mod rbac;
pub(crate) mod resume;
pub(crate) mod runs;
pub(crate) mod status;
pub(crate) mod sweep;
pub(crate) mod undo;
