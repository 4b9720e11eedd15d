//! In which order nodes are left: the one with the least to lose tells whether it works.

use super::super::safeguards::{daemon_pods, is_control_plane, movable_pods};
use crate::slim::Node;
use crate::snapshot::Snapshot;

/// Workers first, the one with the fewest pods before the others; nodes of the control plane last.
pub(super) fn canary_first(snapshot: &Snapshot, nodes: &mut [&Node]) {
    nodes.sort_by_cached_key(|node| {
        let name = &node.metadata.name;
        let pods = movable_pods(snapshot, name).len() + daemon_pods(snapshot, name).len();
        (is_control_plane(node), pods, name.clone())
    });
}
