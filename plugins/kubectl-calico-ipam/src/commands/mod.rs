//! One file per verb.

mod change;
pub(crate) mod check;
pub(crate) mod completion;
pub(crate) mod diff;
pub(crate) mod gc;
pub(crate) mod ip;
pub(crate) mod map;
mod observe;
pub(crate) mod overlap;
pub(crate) mod pools;
pub(crate) mod release;
pub(crate) mod resume;
pub(crate) mod show;
pub(crate) mod top;
pub(crate) mod why;
