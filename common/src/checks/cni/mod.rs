//! The CNI plugin's files on the nodes, and what it needs to work.

pub(super) mod api_unreachable;
pub(super) mod binaries_missing;
pub(super) mod conflist_inconsistent;
pub(super) mod conflist_missing;
pub(super) mod credentials_rejected;
pub(super) mod datastore_locked;
#[cfg(test)]
mod fixtures;
pub(super) mod forbidden;
pub(super) mod node_name_differs;
pub(super) mod nodename_missing;
pub(super) mod other_network_first;
mod other_networks;
pub(super) mod runtime_looks_elsewhere;
