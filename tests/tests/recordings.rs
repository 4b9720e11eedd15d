//! The published recordings, read as bundles: the facts that their INCIDENT.md tells are in the snapshot.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]

use std::path::PathBuf;

use common::bundle;
use common::snapshot::{
    Flavour, Gap, GapReason, InstallMethod, Known, Record, Sink, Snapshot, SnapshotBuilder, Vantage,
};

const NODES: [&str; 3] = ["node1", "node2", "node3"];

const ALL: [&str; 11] =
    ["R01", "R02", "R03", "R05", "R06", "R07", "R09", "R10", "R11", "R14", "R18"];

/// The only recording whose name starts with `id`, kept as `recordings/<name>.tar.gz`.
fn path(id: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("recordings");
    let mut found: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with(&format!("{id}-")) && name.ends_with(".tar.gz")
        })
        .collect();
    assert_eq!(found.len(), 1, "recordings of {id}: {found:?}");
    found.remove(0)
}

fn recording(id: &str) -> Snapshot {
    bundle::load(&path(id)).unwrap()
}

/// Gives everything to both.
struct Both(SnapshotBuilder, bundle::Writer);

impl Sink for Both {
    fn record(&mut self, record: &Record) {
        self.0.record(record);
        self.1.record(record);
    }

    fn gap(&mut self, gap: Gap) {
        self.0.gap(gap.clone());
        self.1.gap(gap);
    }
}

#[test]
fn what_is_written_of_them_is_read_as_the_same_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    for id in ALL {
        let target = folder.path().join(format!("{id}.tar.gz"));
        let mut both = Both(SnapshotBuilder::new(), bundle::Writer::create(&target).unwrap());
        let manifest = bundle::read(&path(id), &mut both).unwrap();
        let taken = manifest.created_at.unwrap();
        both.1.finish(taken, "0.0.0").unwrap();
        let read = both.0.finish(taken);
        let again = bundle::load(&target).unwrap();
        for (name, host) in &read.hosts {
            let sections = |host: &Known<common::snapshot::HostFacts>| {
                host.known().map(|host| host.sections.clone())
            };
            assert_eq!(sections(host), sections(&again.hosts[name]), "{id} {name}");
        }
        assert_eq!(
            serde_json::to_value(&read).unwrap(),
            serde_json::to_value(&again).unwrap(),
            "{id}"
        );
    }
}

fn token_uid(snapshot: &Snapshot, node: &str) -> String {
    let host = snapshot.host(node);
    let token = host.known().unwrap().cni_token();
    token.known().unwrap().service_account_uid.clone().unwrap()
}

fn ca<'a>(snapshot: &'a Snapshot, node: &str) -> &'a str {
    let Known::Known(host) = snapshot.host(node) else { panic!("{node} was not probed") };
    let Known::Known(hash) = host.cni_ca_sha256() else { panic!("{node} has no CA") };
    hash
}

#[test]
fn all_are_read_without_a_fault() {
    for id in ALL {
        let snapshot = recording(id);
        let bad: Vec<_> =
            snapshot.gaps.iter().filter(|gap| gap.why == GapReason::Undecodable).collect();
        assert!(bad.is_empty(), "{id}: {bad:?}");
        assert_eq!(snapshot.cluster.server_version, Known::Known("v1.34.4".to_owned()), "{id}");
        assert!(snapshot.cluster.uid.known().is_some(), "{id}");
        let install = snapshot.install.known().unwrap();
        assert_eq!(install.method, InstallMethod::Manifest, "{id}");
        assert_eq!(
            (install.namespace.as_str(), install.daemon_set.as_str()),
            ("kube-system", "calico-node")
        );
        assert_eq!(install.cni_service_account, "calico-cni-plugin");
        assert!(
            snapshot.pods.is_whole() && snapshot.nodes.is_whole() && snapshot.events.is_whole()
        );
        assert!(snapshot.cni_service_account().known().is_some(), "{id}");
        if id != "R09" {
            assert_eq!(snapshot.flavour, Known::Known(Flavour::CrdV1), "{id}");
            assert_eq!(install.version.as_deref(), Some("v3.28.4"), "{id}");
            assert_eq!(install.encapsulation.as_deref(), Some("VXLAN"), "{id}");
        }
        for (node, host) in &snapshot.hosts {
            let Known::Known(host) = host else { continue };
            assert_eq!(host.vantage, Vantage::Host, "{id} {node}");
            assert_eq!(
                host.cni_bin_dir.known().unwrap().len(),
                if id == "R06" && node == "node1" { 16 } else { 18 },
                "{id} {node}"
            );
        }
    }
}

#[test]
fn r01_is_healthy() {
    let snapshot = recording("R01");
    let live = snapshot.cni_service_account().known().unwrap().metadata.uid.clone();
    for node in NODES {
        assert_eq!(token_uid(&snapshot, node), live);
        assert_eq!(ca(&snapshot, node), &snapshot.root_ca().known().unwrap().sha256);
        let host = snapshot.host(node);
        assert!(host.known().unwrap().conflist().known().unwrap().modified.is_some());
    }
}

#[test]
fn r02_tokens_are_of_a_service_account_that_is_gone() {
    let snapshot = recording("R02");
    let account = snapshot.cni_service_account();
    assert_eq!(account.known().unwrap().metadata.uid, "30ab0063-738b-4f84-9cf8-e7f5d467ec00");
    for node in NODES {
        assert_eq!(token_uid(&snapshot, node), "686bbed9-33eb-4cac-a0f3-e1522af26330", "{node}");
    }
}

#[test]
fn r05_two_nodes_trust_the_old_ca() {
    let snapshot = recording("R05");
    let Known::Known(root) = snapshot.root_ca().map(|it| it.sha256) else { panic!("no root CA") };
    assert_eq!(ca(&snapshot, "node1"), root);
    assert_ne!(ca(&snapshot, "node2"), root);
    assert_eq!(ca(&snapshot, "node2"), ca(&snapshot, "node3"));
}

#[test]
fn r06_node1_lacks_its_binaries() {
    let snapshot = recording("R06");
    for node in NODES {
        let host = snapshot.host(node);
        for name in ["calico", "calico-ipam"] {
            let binary = host.known().unwrap().binary(name);
            assert_eq!(binary == Known::Absent, node == "node1", "{node} {name}");
        }
    }
}

#[test]
fn r07_node2_lacks_its_conflist() {
    let snapshot = recording("R07");
    for node in NODES {
        let host = snapshot.host(node);
        assert_eq!(host.known().unwrap().conflist() == Known::Absent, node == "node2", "{node}");
    }
}

#[test]
fn r09_serves_no_crds() {
    let snapshot = recording("R09");
    assert_eq!(snapshot.flavour, Known::Absent);
    for gap in [&snapshot.ip_pools.gap, &snapshot.cluster_information.gap] {
        assert_eq!(gap.as_ref().unwrap().why, GapReason::NotServed);
    }
    assert!(snapshot.ip_pools.get().gap().is_some());
    // Without ClusterInformation, the image's tag is all there is.
    assert_eq!(snapshot.install.known().unwrap().version.as_deref(), Some("v3.28.5"));
}

#[test]
fn r18_node3_could_not_be_probed() {
    let snapshot = recording("R18");
    assert_eq!(snapshot.hosts["node3"].gap().unwrap().why, GapReason::Unreachable);
}
