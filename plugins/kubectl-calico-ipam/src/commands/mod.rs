//! One file per verb.

pub(crate) mod completion;
pub(crate) mod ip;
mod observe;
pub(crate) mod pools;
pub(crate) mod show;
pub(crate) mod top;
