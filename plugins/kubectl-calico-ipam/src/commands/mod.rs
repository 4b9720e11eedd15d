//! One file per verb.

pub(crate) mod check;
pub(crate) mod completion;
pub(crate) mod diff;
pub(crate) mod ip;
pub(crate) mod map;
mod observe;
pub(crate) mod overlap;
pub(crate) mod pools;
pub(crate) mod show;
pub(crate) mod top;
pub(crate) mod why;
