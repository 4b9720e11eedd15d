//! Access to the cluster.

pub(super) mod control_plane;
pub(super) mod node_unseen;
pub(super) mod rbac_too_narrow;
pub(super) mod unreachable;
