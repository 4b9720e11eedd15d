//! The table of all checks.

use super::{CheckMeta, acc, cni, ins, ipm, own, pod, rbt, wrk};

/// All checks, sorted by code. Kept by hand: a new check is added here, and a test shows it in review.
pub static ALL: &[&CheckMeta] = &[
    &acc::unreachable::UNREACHABLE,
    &acc::rbac_too_narrow::RBAC_TOO_NARROW,
    &acc::node_unseen::NODE_UNSEEN,
    &cni::conflist_missing::CONFLIST_MISSING,
    &cni::conflist_inconsistent::CONFLIST_INCONSISTENT,
    &cni::other_network_first::OTHER_NETWORK_FIRST,
    &cni::binaries_missing::BINARIES_MISSING,
    &cni::runtime_looks_elsewhere::RUNTIME_LOOKS_ELSEWHERE,
    &cni::credentials_rejected::CREDENTIALS_REJECTED,
    &cni::forbidden::FORBIDDEN,
    &cni::node_name_differs::NODE_NAME_DIFFERS,
    &cni::nodename_missing::NODENAME_MISSING,
    &cni::api_unreachable::API_UNREACHABLE,
    &cni::datastore_locked::DATASTORE_LOCKED,
    &ins::not_one_install::NOT_ONE_INSTALL,
    &ins::definitions_gone::DEFINITIONS_GONE,
    &own::leftovers::LEFTOVERS,
    &pod::stuck_creating::STUCK_CREATING,
    &pod::stuck_terminating::STUCK_TERMINATING,
    &pod::orphaned_sandboxes::ORPHANED_SANDBOXES,
    &pod::leaked_links::LEAKED_LINKS,
    &pod::calls_hang::CALLS_HANG,
    &rbt::kubelet_dead::KUBELET_DEAD,
    &wrk::node_not_ready::NODE_NOT_READY,
];

/// The checks of address management, sorted by code. They read lists that grow with the cluster and that a usual look at a
/// cluster does not ask for, so that they are not among [`ALL`].
pub static IPAM: &[&CheckMeta] = &[
    &ipm::pool_full::POOL_FULL,
    &ipm::ranges_overlap::RANGES_OVERLAP,
    &ipm::addresses_leaked::ADDRESSES_LEAKED,
    &ipm::affinities::AFFINITIES,
    &ipm::handles::HANDLES,
    &ipm::blocks_outside::BLOCKS_OUTSIDE,
    &ipm::used_twice::USED_TWICE,
    &ipm::not_allocated::NOT_ALLOCATED,
    &ipm::bad_blocks::BAD_BLOCKS,
    &ipm::nobody_collects::NOBODY_COLLECTS,
];

/// The check with this code, in any case of letters.
pub fn find(code: &str) -> Option<&'static CheckMeta> {
    ALL.iter().chain(IPAM).copied().find(|check| check.code.0.eq_ignore_ascii_case(code))
}

#[cfg(test)]
mod tests {
    use super::{ALL, IPAM};

    /// A code, once published, keeps its meaning: this list only grows.
    #[test]
    fn codes_are_the_published_ones() {
        let codes: Vec<_> = ALL.iter().map(|check| check.code.0).collect();
        assert_eq!(
            codes,
            [
                "CAL-ACC-001",
                "CAL-ACC-002",
                "CAL-ACC-003",
                "CAL-CNI-001",
                "CAL-CNI-002",
                "CAL-CNI-003",
                "CAL-CNI-004",
                "CAL-CNI-005",
                "CAL-CNI-006",
                "CAL-CNI-007",
                "CAL-CNI-008",
                "CAL-CNI-009",
                "CAL-CNI-010",
                "CAL-CNI-011",
                "CAL-INS-001",
                "CAL-INS-004",
                "CAL-OWN-001",
                "CAL-POD-001",
                "CAL-POD-002",
                "CAL-POD-003",
                "CAL-POD-004",
                "CAL-POD-008",
                "CAL-RBT-004",
                "CAL-WRK-001",
            ]
        );
        let codes: Vec<_> = IPAM.iter().map(|check| check.code.0).collect();
        assert_eq!(
            codes,
            [
                "CAL-IPM-001",
                "CAL-IPM-004",
                "CAL-IPM-005",
                "CAL-IPM-006",
                "CAL-IPM-007",
                "CAL-IPM-010",
                "CAL-IPM-011",
                "CAL-IPM-012",
                "CAL-IPM-013",
                "CAL-IPM-014",
            ]
        );
    }

    #[test]
    fn every_page_has_its_headings() {
        for check in ALL.iter().chain(IPAM) {
            for heading in [
                "# ",
                "## What it detects",
                "## How sure",
                "## What it looks like",
                "## What to do",
                "## What not to do",
            ] {
                assert!(check.explain.contains(heading), "{} lacks {heading}", check.code);
            }
        }
    }
}
