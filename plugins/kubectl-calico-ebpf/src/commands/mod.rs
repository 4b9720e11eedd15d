//! One file per verb.

pub(crate) mod back;
mod beginning;
pub(crate) mod completion;
pub(crate) mod enable;
pub(crate) mod endpoint;
mod endpoints;
mod finish;
mod ground;
pub(crate) mod kube_proxy;
mod observe;
pub(crate) mod preflight;
pub(crate) mod resume;
pub(crate) mod status;
