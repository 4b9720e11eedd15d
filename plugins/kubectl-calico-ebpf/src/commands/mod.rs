//! One file per verb.

pub(crate) mod back;
pub(crate) mod completion;
pub(crate) mod enable;
mod endpoints;
mod finish;
mod ground;
pub(crate) mod kube_proxy;
pub(crate) mod resume;
pub(crate) mod status;
