//! Calico's own workloads.

pub(super) mod node_not_ready;
