//! What people read.

use insta::assert_snapshot;
use serde_json::json;

use super::super::TextOptions;
use super::*;
use crate::bpf::Situation;
use crate::bpf::kube_proxy::how_to_disable;
use crate::bpf::status::EbpfStatus;
use crate::bpf::status::fixtures::{kube_proxy, off, on, set, snapshot};

fn report(situation: &Situation<'_>) -> EbpfStatusReport {
    EbpfStatusReport::new(situation, &EbpfStatus::of(situation, &[]))
}

fn options() -> TextOptions {
    TextOptions { program: "kubectl calico-ebpf".to_owned(), ..TextOptions::default() }
}

#[test]
fn a_cluster_that_is_off() {
    let snapshot = snapshot();
    assert_snapshot!(ebpf_status_text(&report(&off(&snapshot)), &options(), false));
}

#[test]
fn a_cluster_that_is_on_node_by_node() {
    let snapshot = snapshot();
    assert_snapshot!(ebpf_status_text(&report(&on(&snapshot)), &options(), true));
}

#[test]
fn a_node_that_fell_back_without_kube_proxy_in_ascii() {
    let snapshot = snapshot();
    let mut situation = on(&snapshot);
    for (section, text) in [
        ("programs", ""),
        ("nat.v4", "absent"),
        ("pins", ""),
        ("kernel", "Linux version 4.15.0-213-generic (x) #1 SMP"),
    ] {
        situation.with("node2", section, text);
    }
    let options = TextOptions { unicode: false, width: 80, ..options() };
    assert_snapshot!(ebpf_status_text(&report(&situation), &options, false));
}

#[test]
fn what_could_not_be_read_gets_no_tick() {
    let snapshot = snapshot();
    let situation = crate::bpf::requirements::fixtures::nothing_known(&snapshot);
    assert_snapshot!(ebpf_status_text(&report(&situation), &options(), false));
}

#[test]
fn a_cluster_of_thousands_is_a_screen() {
    let mut snapshot = snapshot();
    let node = snapshot.nodes.items[0].clone();
    let mut situation_nodes = Vec::new();
    for n in 0..5000 {
        let name = format!("worker{n:04}");
        let mut node = node.clone();
        node.metadata.name.clone_from(&name);
        snapshot.nodes.items.push(node);
        situation_nodes.push(name);
    }
    let mut situation = on(&snapshot);
    for name in situation_nodes {
        let gap = crate::bpf::requirements::fixtures::unknown();
        situation.nodes.insert(name, gap);
    }
    let text = ebpf_status_text(&report(&situation), &options(), false);
    assert!(text.lines().count() < 60, "{text}");
    assert!(text.contains("--per-node shows all"));
}

#[test]
fn only_changes_are_told() {
    let snapshot = snapshot();
    let (before, mut later) = (report(&off(&snapshot)), report(&off(&snapshot)));
    later.taken = "2026-11-30T12:00:00Z".parse().unwrap();
    assert_eq!(before.fingerprint(), later.fingerprint());
    let after = report(&on(&snapshot));
    assert_ne!(before.fingerprint(), after.fingerprint());
    assert_snapshot!(after.line());
    assert_eq!(after.json_line().lines().count(), 1);
}

#[test]
fn kube_proxy_beside_ebpf() {
    let snapshot = snapshot();
    let mut situation = on(&snapshot);
    situation.kube_proxy = kube_proxy(2);
    set(&mut situation, json!({ "bpfEnabled": true }));
    let status = EbpfStatus::of(&situation, &[]);
    let report = KubeProxyReport::new(&situation, &status, &how_to_disable(&situation));
    assert_snapshot!(kube_proxy_text(&report, &options()));
}
