//! The CNI plugin's files on the nodes.

pub(super) mod binaries_missing;
pub(super) mod conflist_missing;
pub(super) mod credentials_rejected;
