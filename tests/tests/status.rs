//! `doctor status` on bundles, as a user runs it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;

use serde_json::Value;
use tests::program::{Ran, root, run_doctor};

fn status(bundle: &str, more: &[&str]) -> Ran {
    let home = tempfile::tempdir().unwrap();
    let bundle = root().join(bundle);
    let bundle = bundle.to_str().unwrap();
    run_doctor(home.path(), &[&["status", "--bundle", bundle], more].concat()).unwrap()
}

fn document(bundle: &str) -> Value {
    let ran = status(bundle, &["-o", "json"]);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    assert_eq!(document["kind"], "StatusReport");
    document
}

fn recording(start: &str) -> String {
    let folder = Path::new("tests/recordings");
    let names = std::fs::read_dir(root().join(folder)).unwrap();
    let mut names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
    let name = names.find(|name| name.starts_with(start) && name.ends_with(".tar.gz")).unwrap();
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn a_healthy_cluster_is_0_in_every_format() {
    for format in [&[][..], &["-o", "wide"], &["-o", "json"], &["-o", "yaml"]] {
        let ran = status("tests/scenarios/healthy", format);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let table = status("tests/scenarios/healthy", &["--node", "n2"]).stdout;
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with('n')).collect();
    assert_eq!(rows.len(), 1, "{table}");
    for cell in ["3.28.4", "ready", "live ready", "off", "good, ", "vxlan up", "1450"] {
        assert!(rows[0].contains(cell), "{cell:?} is not in {table}");
    }
    let wide = status("tests/scenarios/healthy", &["-o", "wide"]).stdout;
    assert!(wide.contains("4096/4789"), "{wide}");
}

/// Recordings were made without a question to Felix: what they show is told, what not is not called healthy.
#[test]
fn a_recording_shows_what_is_in_it() {
    let healthy = status(&recording("R01"), &[]);
    assert_eq!(healthy.code, Some(5), "{healthy:?}");
    assert!(
        healthy.stdout.contains("vxlan up") && healthy.stdout.contains("has no such section"),
        "{healthy:?}"
    );
    assert!(!healthy.stdout.contains('✗'), "{healthy:?}");
    let refused = status(&recording("R02"), &[]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.stdout.contains("REJECTED"), "{refused:?}");
    let document = document(&recording("R02"));
    assert_eq!(document["verdict"], "findings");
    let nodes = document["nodes"].as_array().unwrap();
    assert!(nodes.iter().all(|it| it["token"]["accepted"] == Value::Bool(false)), "{nodes:?}");
    assert_eq!(nodes[0]["routes"]["remote"], 2, "{nodes:?}");
}

#[test]
fn what_is_asked_for_must_exist() {
    let ran = status("tests/scenarios/healthy", &["--node", "n9"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("there is no node \"n9\""), "{ran:?}");
    let format = status("tests/scenarios/healthy", &["-o", "wider"]);
    assert_eq!(format.code, Some(2), "{format:?}");
    let home = tempfile::tempdir().unwrap();
    let role = run_doctor(home.path(), &["status", "--print-rbac", "--bind-to", "jane"]).unwrap();
    assert_eq!(role.code, Some(0), "{role:?}");
    assert!(role.stdout.contains("pods/exec") && !role.stdout.contains("events"), "{role:?}");
}
