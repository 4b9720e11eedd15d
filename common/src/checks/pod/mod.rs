//! Pods that hang.

pub mod kubelet_text;

pub(super) mod hanging;
pub(super) mod said;
pub(super) mod stuck_creating;
pub(super) mod stuck_terminating;
