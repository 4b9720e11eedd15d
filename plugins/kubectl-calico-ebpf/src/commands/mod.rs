//! One file per verb.

pub(crate) mod completion;
pub(crate) mod endpoint;
mod observe;
pub(crate) mod preflight;
