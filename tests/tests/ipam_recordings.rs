//! `kubectl calico-ipam` on recorded clusters: its numbers are those that the real calicoctl printed of the same ones, and what
//! calicoctl gets wrong it does not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tests::program;

/// Recordings that calicoctl was run in.
const WITH_CALICOCTL: [&str; 4] = ["R01", "R03", "R14", "R18"];

fn recording(id: &str) -> PathBuf {
    let folder = program::root().join("tests/recordings");
    let all = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with(&format!("{id}-")) && name.ends_with(".tar.gz")
    };
    all.into_iter().find(named).unwrap()
}

/// What calicoctl printed, without the line that tells how it was called.
fn calicoctl(id: &str, file: &str) -> String {
    let packed = std::fs::File::open(recording(id)).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap() == Path::new("calicoctl").join(file) {
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            return text.split_once('\n').unwrap().1.to_owned();
        }
    }
    panic!("{id} has no {file}");
}

fn ipam(words: &[&str], bundle: &Path) -> Output {
    let mut command = Command::new(program::ipam().unwrap());
    command.args(words).arg("--bundle").arg(bundle).env("NO_COLOR", "1").output().unwrap()
}

/// What it printed, having ended well.
fn printed(words: &[&str], bundle: &Path) -> String {
    let output = ipam(words, bundle);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{words:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(words: &[&str], bundle: &Path) -> Value {
    serde_json::from_str(&printed(&[words, &["-o", "json"]].concat(), bundle)).unwrap()
}

#[test]
fn tables_are_calicoctls_byte_for_byte() {
    for id in WITH_CALICOCTL {
        let bundle = recording(id);
        for (words, file) in [
            (vec!["show", "--show-blocks"], "ipam-show-blocks.txt"),
            (vec!["show", "--show-configuration"], "ipam-show-configuration.txt"),
            (vec!["pools"], "get-ippools.txt"),
        ] {
            let words = [words, vec!["--compat", "calicoctl"]].concat();
            assert_eq!(printed(&words, &bundle), calicoctl(id, file), "{id} {words:?}");
        }
    }
}

/// `IPAM blocks record 14 allocations.` and `node2 has 5 allocations`, as `ipam check` counted them.
#[test]
fn allocations_are_those_that_calicoctl_counted() {
    for id in WITH_CALICOCTL {
        let bundle = recording(id);
        let said = calicoctl(id, "ipam-check.txt");
        let number = |line: &str| -> u64 {
            line.split(' ').find_map(|word| word.parse().ok()).unwrap_or_else(|| panic!("{line}"))
        };
        let all = said.lines().find(|it| it.starts_with("IPAM blocks record")).map(number).unwrap();
        let shown = json(&["show", "--blocks"], &bundle);
        assert_eq!(shown["pools"][0]["used"], all, "{id}");
        let blocks = shown["blocks"].as_array().unwrap();
        assert_eq!(blocks.iter().map(|it| it["used"].as_u64().unwrap()).sum::<u64>(), all);
        let by_node: Vec<(String, u64)> = said
            .lines()
            .filter(|it| it.starts_with("  ") && it.ends_with(" allocations"))
            .map(|it| (it.trim().split(' ').next().unwrap().to_owned(), number(it.trim())))
            .collect();
        assert!(!by_node.is_empty(), "{id}");
        let top = json(&["top", "nodes"], &bundle);
        for (node, count) in by_node {
            let row = top["rows"].as_array().unwrap().iter().find(|it| it["name"] == *node);
            assert_eq!(row.unwrap()["used"], count, "{id} {node}");
        }
    }
}

#[test]
fn an_address_tells_whose_it_is_and_why_it_leaked() {
    let found =
        json(&["ip", "192.168.135.10", "192.168.104.0", "192.168.104.1"], &recording("R18"));
    let [leaked, tunnel, free] = found["addresses"].as_array().unwrap().as_slice() else {
        panic!("{found}");
    };
    assert_eq!(leaked["owner"], "pod shop/agent-l65qh");
    assert_eq!((&leaked["judgement"], &leaked["node"]), (&"leaked".into(), &"node3".into()));
    assert_eq!(tunnel["judgement"], "used");
    assert_eq!((&free["state"], &free["queuePosition"]), (&"free".into(), &53.into()));
    // calicoctl's own spelling of the same question.
    let same = json(&["show", "--ip=192.168.135.10"], &recording("R18"));
    assert_eq!(same["addresses"][0], *leaked);
}

/// Codes of the findings of `check`, sorted.
fn found(bundle: &Path) -> Vec<String> {
    let report = json(&["check"], bundle);
    let roots = report["roots"].as_array().unwrap();
    roots.iter().map(|it| it["finding"]["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn check_finds_what_was_made_and_nothing_in_a_healthy_cluster() {
    for id in ["R01", "R03", "R14"] {
        assert!(found(&recording(id)).is_empty(), "{id}");
    }
    assert_eq!(found(&recording("R18")), ["CAL-IPM-005", "CAL-IPM-006", "CAL-IPM-014"]);
    let text = printed(&["check"], &recording("R18"));
    for number in [0, 10, 11, 12] {
        assert!(text.contains(&format!("address 192.168.135.{number}:")), "{text}");
    }
}

/// calicoctl ends with 0 whatever it finds.
#[test]
fn d7_the_exit_code_says_that_there_are_problems() {
    let code = |id: &str, words: &[&str]| ipam(words, &recording(id)).status.code();
    assert_eq!(code("R18", &["check", "--fail-on=warning"]), Some(4));
    assert_eq!(code("R18", &["check"]), Some(0));
    assert_eq!(code("R01", &["check", "--fail-on=warning"]), Some(0));
}

/// A bundle of nothing but these lists, by name of the file below `cluster`.
fn bundle(lists: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let cluster = folder.path().join("cluster");
    std::fs::create_dir(&cluster).unwrap();
    let manifest = "apiVersion: kubectl-calico/v1\nkind: Bundle\ncreatedAt: 2026-07-12T12:00:00Z\n";
    std::fs::write(folder.path().join("bundle.yaml"), manifest).unwrap();
    for (kind, items) in lists {
        let list = format!(r#"{{"kind":"List","items":[{items}]}}"#);
        std::fs::write(cluster.join(format!("{kind}.crd.projectcalico.org.json")), list).unwrap();
    }
    folder
}

const POOL: &str =
    r#"{"metadata":{"name":"old"},"spec":{"cidr":"10.64.0.0/16","blockSize":30,"disabled":true}}"#;

/// One address of four, whose owner is a pod on n1.
fn block(cidr: &str) -> String {
    let name = cidr.replace(['.', ':', '/'], "-");
    format!(
        r#"{{"metadata":{{"name":"{name}"}},"spec":{{"cidr":"{cidr}","affinity":"host:n1","allocations":[null,0,null,null],
        "unallocated":[3,0,2],"attributes":[{{"handle_id":"k8s-pod-network.x","secondary":{{"namespace":"a","pod":"p","node":"n1"}}}}],
        "sequenceNumber":1723456789012345690,"sequenceNumberForAllocation":{{"1":1723456789012345689}}}}}}"#
    )
}

#[test]
fn d4_an_address_of_a_disabled_pool_is_found() {
    let bundle = bundle(&[("ippools", POOL), ("ipamblocks", &block("10.64.0.0/30"))]);
    let output = ipam(&["ip", "10.64.0.1", "-o", "json"], bundle.path());
    // Without pods nobody knows whether it leaked.
    assert_eq!(output.status.code(), Some(5));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let it = &found["addresses"][0];
    assert_eq!((&it["state"], &it["owner"]), (&"allocated".into(), &"pod a/p".into()));
    assert_eq!((&it["poolDisabled"], &it["judgement"]), (&true.into(), &Value::Null));
    assert_eq!(it["sequence"], 1_723_456_789_012_345_689_u64);
}

#[test]
fn d5_blocks_in_no_pool_are_shown_without_being_asked_for_in_both_families() {
    let blocks = [block("10.99.0.0/30"), block("fd00:99::/126")].join(",");
    let bundle = bundle(&[("ippools", POOL), ("ipamblocks", &blocks)]);
    let shown = json(&["show"], bundle.path());
    let last = shown["pools"].as_array().unwrap().last().unwrap();
    let is = (&last["name"], &last["blocks"], &last["used"]);
    assert_eq!(is, (&Value::Null, &2.into(), &2.into()));
    assert!(printed(&["show"], bundle.path()).contains("(in no pool)"));
}

/// calicoctl refuses another patch version than its own and stumbles over a missing `datastoreReady`.
#[test]
fn d10_d13_no_version_and_no_lock_is_asked_for() {
    let information =
        r#"{"metadata":{"name":"default"},"spec":{"clusterGUID":"x","calicoVersion":"v3.25.9"}}"#;
    let lists = [
        ("ippools", POOL),
        ("ipamblocks", &block("10.64.0.0/30")),
        ("clusterinformations", information),
    ];
    assert_eq!(json(&["show"], bundle(&lists).path())["pools"][0]["used"], 1);
}

#[test]
fn d14_every_number_is_there_for_programs() {
    let bundle = recording("R18");
    let metrics = printed(&["show", "-o", "prometheus"], &bundle);
    let sample = r#"ipam_allocations_in_use{ippool="default-ipv4-ippool",node="node3"} 4"#;
    assert!(metrics.lines().any(|it| it == sample), "{metrics}");
    let csv = printed(&["top", "nodes", "-o", "csv"], &bundle);
    assert_eq!(csv.lines().next(), Some("name,used,borrowed,blocks,size,full"));
    assert!(csv.lines().any(|it| it.starts_with("node3,4,0,1,64,")), "{csv}");
}

#[test]
fn d15_the_order_does_not_depend_on_the_run() {
    let bundle = recording("R18");
    for words in [vec!["show", "--blocks", "--borrowed"], vec!["top", "nodes"], vec!["pools"]] {
        let first = printed(&words, &bundle);
        assert!((0..3).all(|_| printed(&words, &bundle) == first), "{words:?}");
    }
}

#[test]
fn what_cannot_be_read_is_never_counted_as_nothing() {
    let output = ipam(&["show"], bundle(&[("ippools", POOL)]).path());
    assert_eq!(output.status.code(), Some(5));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("blocks of addresses could not be read")
    );
    // One block of two makes no sense: the other one is counted, and the run says that something is missing.
    let blocks = [block("10.64.0.0/30"), r#"{"metadata":{"name":"bad"},"spec":{"cidr":7}}"#.into()];
    let output = ipam(
        &["show", "-o", "json"],
        bundle(&[("ippools", POOL), ("ipamblocks", &blocks.join(","))]).path(),
    );
    assert_eq!(output.status.code(), Some(5));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["pools"][0]["used"], 1);
    assert!(shown["gaps"].to_string().contains("ipamblocks.crd.projectcalico.org.json#bad"));
}
