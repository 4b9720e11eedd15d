//! One file per verb that only this plugin has; the others are in `common::verbs`.

pub(crate) mod check;
pub(crate) mod checks;
pub(crate) mod collect;
pub(crate) mod completion;
pub(crate) mod download;
pub(crate) mod explain;
pub(crate) mod fix;
pub(crate) mod status;
pub(crate) mod sweep;
