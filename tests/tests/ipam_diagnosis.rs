//! What the checks of address management say of recorded clusters, beside what calicoctl said of the same ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]
#![allow(clippy::print_stdout, reason = "the findings are asked for with --nocapture")]

use std::path::{Path, PathBuf};

use common::checks::{IPAM, diagnose, diagnose_by};
use common::findings::{Diagnosis, Finding, Severity};
use common::snapshot::{GapReason, Snapshot};
use jiff::SignedDuration;

fn recording(id: &str) -> Snapshot {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
    let mut all = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(&format!("{id}-")) && name.ends_with(".tar.gz")
    };
    common::bundle::load(&all.find(is_it).unwrap()).unwrap()
}

fn judged(id: &str, snapshot: &Snapshot) -> Diagnosis {
    let diagnosis = diagnose_by(IPAM, snapshot);
    for it in diagnosis.findings() {
        println!(
            "{id} {} {} {}: {} — {}",
            it.code, it.severity, it.cause.key, it.title, it.consequence
        );
        it.evidence.iter().for_each(|it| println!("      {}: {}", it.source, it.excerpt));
    }
    for it in &diagnosis.unjudged {
        println!("{id} {} {} not judged: {}", it.code, it.subject, it.gap.detail);
    }
    diagnosis
}

/// Codes and causes, sorted.
fn keys(diagnosis: &Diagnosis) -> Vec<(&'static str, &'static str)> {
    let mut all: Vec<_> = diagnosis.findings().map(|it| (it.code.0, it.cause.key)).collect();
    all.sort_unstable();
    all
}

fn find<'a>(diagnosis: &'a Diagnosis, code: &str, key: &str) -> &'a Finding {
    diagnosis.findings().find(|it| it.code.0 == code && it.cause.key == key).unwrap()
}

const SYNTHETIC: &str = "IPAMHandle/k8s-pod-network.6c86cd97";

#[test]
fn healthy_clusters_have_no_finding() {
    for id in ["R01", "R03"] {
        let diagnosis = judged(id, &recording(id));
        assert_eq!(keys(&diagnosis), [], "{id}");
        assert!(diagnosis.unjudged.is_empty(), "{id}: {:?}", diagnosis.unjudged);
    }
}

/// Handles that are too young to be judged, with that detail.
fn young<'a>(diagnosis: &'a Diagnosis, detail: &str) -> Vec<&'a str> {
    let all = diagnosis.unjudged.iter().filter(|it| it.gap.detail.starts_with(detail));
    let all = all.filter(|it| it.code.0 == "CAL-IPM-007" && it.gap.why == GapReason::TooYoung);
    all.map(|it| it.subject.as_str()).collect()
}

fn later(id: &str) -> Snapshot {
    let mut snapshot = recording(id);
    snapshot.taken += SignedDuration::from_mins(15);
    snapshot
}

const TUNNELS: [&str; 3] = [
    "IPAMHandle/vxlan-tunnel-addr-node1",
    "IPAMHandle/vxlan-tunnel-addr-node2",
    "IPAMHandle/vxlan-tunnel-addr-node3",
];

/// The handle was made three minutes before: it is named, and judged once it is old enough.
#[test]
fn r14_has_one_orphaned_handle() {
    let diagnosis = judged("R14", &recording("R14"));
    assert_eq!(keys(&diagnosis), []);
    let orphaned = young(&diagnosis, "it has no address");
    assert!(matches!(orphaned.as_slice(), [it] if it.starts_with(SYNTHETIC)), "{orphaned:?}");
    // Since the CRDs were deleted those of tunnels count an address too many. calicoctl does not compare counts.
    assert_eq!(young(&diagnosis, "it counts other"), TUNNELS);
    assert_eq!(diagnosis.unjudged.len(), 4);
    let diagnosis = judged("R14", &later("R14"));
    assert_eq!(keys(&diagnosis), [("CAL-IPM-007", "orphaned"), ("CAL-IPM-007", "too-high")]);
    assert!(diagnosis.unjudged.is_empty());
    let names = &find(&diagnosis, "CAL-IPM-007", "orphaned").subject.names;
    assert!(matches!(names.as_slice(), [it] if it.starts_with(SYNTHETIC)), "{names:?}");
    assert_eq!(find(&diagnosis, "CAL-IPM-007", "too-high").severity, Severity::Info);
}

#[test]
fn r18_has_what_a_deleted_node_left() {
    let diagnosis = judged("R18", &recording("R18"));
    let mut expected = vec![
        ("CAL-IPM-005", "node-gone"),
        ("CAL-IPM-006", "node-gone"),
        ("CAL-IPM-014", "scaled-to-zero"),
    ];
    assert_eq!(keys(&diagnosis), expected);
    let leaked = find(&diagnosis, "CAL-IPM-005", "node-gone");
    let addresses = [0, 10, 11, 12].map(|it| format!("Address/192.168.135.{it}"));
    assert_eq!(leaked.subject.names, addresses);
    assert_eq!(leaked.nodes, ["node3"]);
    assert!(leaked.consequence.contains("kube-system/calico-kube-controllers is scaled to 0"));
    let stale = find(&diagnosis, "CAL-IPM-006", "node-gone");
    assert_eq!(stale.subject.names, ["BlockAffinity/node3-192-168-135-0-26"]);
    // Made by hand eight seconds before.
    let orphaned = young(&diagnosis, "it has no address");
    assert!(matches!(orphaned.as_slice(), [it] if it.starts_with(SYNTHETIC)), "{orphaned:?}");
    assert_eq!(young(&diagnosis, "it counts other"), TUNNELS);
    let diagnosis = judged("R18", &later("R18"));
    expected.extend([("CAL-IPM-007", "orphaned"), ("CAL-IPM-007", "too-high")]);
    expected.sort_unstable();
    assert_eq!(keys(&diagnosis), expected);
    // What is collected leaves the one of node3 behind, as INCIDENT.md tells: it counts an address too many.
    assert_eq!(find(&diagnosis, "CAL-IPM-007", "too-high").subject.names, TUNNELS);
}

/// The doctor does not read these lists yet: what it says of a recording does not change.
#[test]
fn the_usual_diagnosis_leaves_them_out() {
    let diagnosis = diagnose(&recording("R18"));
    assert!(!diagnosis.checks.iter().any(|it| it.code.0.starts_with("CAL-IPM-")));
    assert!(diagnosis.findings().all(|it| !it.code.0.starts_with("CAL-IPM-")));
}

#[test]
fn ids_do_not_depend_on_the_order_of_lists() {
    for id in ["R14", "R18"] {
        let mut snapshot = recording(id);
        let once = serde_json::to_value(diagnose_by(IPAM, &snapshot)).unwrap();
        snapshot.pods.items.reverse();
        snapshot.nodes.items.reverse();
        snapshot.addresses.blocks.items.reverse();
        snapshot.addresses.handles.items.reverse();
        snapshot.addresses.affinities.items.reverse();
        assert_eq!(once, serde_json::to_value(diagnose_by(IPAM, &snapshot)).unwrap(), "{id}");
    }
}

/// Nothing is read: every check is skipped, and none is passed.
#[test]
fn without_lists_nothing_is_judged() {
    use common::findings::CheckState;
    let nothing = common::snapshot::SnapshotBuilder::new().finish(jiff::Timestamp::UNIX_EPOCH);
    let diagnosis = diagnose_by(IPAM, &nothing);
    assert_eq!(keys(&diagnosis), []);
    assert!(diagnosis.checks.iter().all(|it| it.state == CheckState::Skipped));
}
