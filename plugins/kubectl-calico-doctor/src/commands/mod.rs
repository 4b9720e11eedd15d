//! One file per verb.

pub(crate) mod check;
pub(crate) mod checks;
pub(crate) mod collect;
pub(crate) mod completion;
pub(crate) mod download;
pub(crate) mod explain;
pub(crate) mod fix;
mod look;
mod node_flags;
mod rbac;
pub(crate) mod sweep;
