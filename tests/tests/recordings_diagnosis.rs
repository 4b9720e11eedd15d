//! The diagnosis of recorded incidents. `cargo test --test recordings_diagnosis -- --nocapture` prints it as a table.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]
#![allow(clippy::print_stdout, reason = "the table is asked for with --nocapture")]

use std::path::{Path, PathBuf};

use common::checks::diagnose;
use common::cli::{FailOn, verdict};
use common::findings::Diagnosis;
use tests::expectation::{Expected, symptoms};

/// Checks that judge what a recording shows; those that cannot see everything there say so, and must not find anything.
const ALL: &str = "[CAL-ACC-001, CAL-ACC-002, CAL-ACC-003, CAL-CNI-001, CAL-CNI-002, CAL-CNI-003, \
                   CAL-CNI-004, CAL-CNI-005, CAL-CNI-006, CAL-CNI-007, CAL-CNI-008, CAL-CNI-009, \
                   CAL-CNI-010, CAL-CNI-011, CAL-INS-001, CAL-OWN-001, CAL-POD-001, CAL-POD-002, \
                   CAL-POD-003, CAL-POD-004, CAL-POD-008, CAL-RBT-004, CAL-WRK-001]";

/// By recording, what its INCIDENT.md says; `silence` where nothing of it is in the reach of these checks.
const EXPECTED: [(&str, &str); 11] = [
    ("R01-healthy-vxlan", SILENCE),
    (
        "R02-stale-token-sa-recreated",
        "exit: 3
roots:
- code: CAL-CNI-006
  cause: service-account-recreated
  nodes: [node1, node2, node3]
  severity: critical
  confidence: certain
  remedy: true
  says:
  - ServiceAccount kube-system/calico-cni-plugin was recreated at 2026-11-21 12:01:43 UTC
  - 'node1, node2, node3: token uid 686bbed9… ≠ live uid 30ab0063…'
  - 'plugin type=\"calico\" failed (add): error getting ClusterInformation: connection is unauthorized: Unauthorized'
  - 6 pods hang on node2 (3 ContainerCreating, 3 Terminating); on node1 and node3 the next pod to start or stop will hang as well
  symptoms:
    CAL-POD-001: [shop/cart-1, shop/cart-2, shop/web-6b95d8b988-vxr2x]
    CAL-POD-002: [batch/db-0, shop/agent-hrwkc, shop/web-6b95d8b988-f78x2]
",
    ),
    ("R03-healed-stale-token", SILENCE),
    (
        "R05-control-plane-reinit",
        "exit: 3
roots:
- code: CAL-CNI-006
  cause: ca-differs
  nodes: [node2, node3]
  confidence: certain
  remedy: true
  says:
  - 'x509: certificate signed by unknown authority'
  - 8 pods hang on node2 and node3 (4 ContainerCreating, 4 Terminating)
  symptoms:
    CAL-POD-001: [shop/basket-2, shop/basket-3, shop/web-6b95d8b988-twkjk, shop/web-6b95d8b988-zpszz]
    CAL-POD-002: [shop/agent-npjct, shop/cart-5, shop/web-6b95d8b988-kmg4h, shop/web-6b95d8b988-vxr2x]
",
    ),
    (
        "R06-cni-binaries-removed",
        "exit: 3
roots:
- code: CAL-CNI-004
  cause: missing
  nodes: [node1]
  confidence: certain
  remedy: true
  says: ['calico, calico-ipam not found in /opt/cni/bin']
  symptoms:
    CAL-POD-001: [shop/cart-4, shop/web-6b95d8b988-ftzxg]
    CAL-POD-002: [shop/agent-2qf28, shop/web-6b95d8b988-h2wwn]
",
    ),
    (
        "R07-conflist-missing",
        "exit: 3
roots:
- code: CAL-CNI-001
  cause: missing
  nodes: [node2]
  confidence: certain
  remedy: true
  says: [10-calico.conflist is gone]
  symptoms:
    CAL-POD-001: [shop/cart-5]
    CAL-POD-002: [shop/web-6b95d8b988-fbzsv]
",
    ),
    (
        "R09-crds-deleted",
        "exit: 3
roots:
- code: CAL-INS-004
  cause: all
  nodes: [node1, node2, node3]
  confidence: certain
  remedy: false
  says: ['resource does not exist: ClusterInformation(default) with error: the server could not find the requested resource']
  symptoms:
    CAL-POD-001: [shop/web-6b95d8b988-gvvb4, shop/web-6b95d8b988-wkqhv, shop/web-6b95d8b988-wnq24]
    CAL-POD-002: [batch/db-0, shop/agent-vz6p6, shop/web-6b95d8b988-45mxm, shop/web-6b95d8b988-ftzxg, shop/web-6b95d8b988-twkjk]
silent: [CAL-CNI-001, CAL-CNI-004, CAL-CNI-006, CAL-INS-001, CAL-WRK-001]
",
    ),
    ("R10-udp4789-dropped", SILENCE),
    ("R11-vxlan-foreign-device", SILENCE),
    ("R14-failed-pod-flood", SILENCE),
    ("R18-ipam-leaks", SILENCE),
];

/// Nothing is found, by any check, and nothing failed.
const SILENCE: &str = "";

fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings")
}

fn diagnosis(name: &str) -> Diagnosis {
    let path = recordings().join(format!("{name}.tar.gz"));
    let snapshot = common::bundle::load(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    diagnose(&snapshot)
}

#[test]
fn recorded_incidents_have_their_one_cause() {
    let mut wrong = Vec::new();
    for (name, expected) in EXPECTED {
        let silence = format!("{{exit: 0, silent: {ALL}}}");
        let expected = if expected.is_empty() { &silence } else { expected };
        let expected = Expected::parse(expected).unwrap_or_else(|why| panic!("{name}: {why}"));
        let diagnosis = diagnosis(name);
        print(name, &diagnosis);
        let differences = expected.differences(&diagnosis);
        wrong.extend(differences.into_iter().map(|it| format!("{name}: {it}")));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A recording that is added is expected to be understood.
#[test]
fn every_recording_is_tested() {
    let mut found: Vec<String> = std::fs::read_dir(recordings())
        .unwrap()
        .filter_map(|entry| {
            Some(entry.unwrap().file_name().to_str()?.strip_suffix(".tar.gz")?.to_owned())
        })
        .collect();
    found.sort();
    assert_eq!(found, EXPECTED.map(|(name, _)| name));
}

/// Ids, grouping and order do not depend on the order of lists, nor on the run.
#[test]
fn a_diagnosis_is_repeatable() {
    for (name, _) in EXPECTED {
        let path = recordings().join(format!("{name}.tar.gz"));
        let mut snapshot = common::bundle::load(&path).unwrap();
        let once = serde_json::to_value(diagnose(&snapshot)).unwrap();
        snapshot.pods.items.reverse();
        snapshot.nodes.items.reverse();
        snapshot.events.items.reverse();
        assert_eq!(once, serde_json::to_value(diagnose(&snapshot)).unwrap(), "{name}");
    }
}

fn print(name: &str, diagnosis: &Diagnosis) {
    let exit = verdict(diagnosis, FailOn::default()).code();
    if diagnosis.roots.is_empty() {
        println!("{name:<29} exit {exit}  silent");
    }
    for root in &diagnosis.roots {
        let finding = &root.finding;
        let symptoms: Vec<String> = symptoms(root)
            .iter()
            .map(|(code, pods)| format!("{code} {} pods", pods.len()))
            .collect();
        println!(
            "{name:<29} exit {exit}  {} {} on {}  {} folded: {}",
            finding.code,
            finding.cause.key,
            finding.nodes.join(","),
            root.symptoms.len(),
            symptoms.join(", ")
        );
    }
}
