//! Small bundles and what must, and must not, be found in them.
//!
//! `tests/scenarios/<name>/` is a bundle with an `expected.yaml` beside it: a bundle from a real cluster becomes a test by being put
//! there. Most are written by hand and name another one as their base, so that they hold only what makes them different.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use common::checks::{ALL, diagnose};
use tests::expectation::Expected;

/// Name of the file with what is expected.
const EXPECTED: &str = "expected.yaml";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// Names of all scenarios, sorted.
fn names() -> Vec<String> {
    let entries = fs::read_dir(root()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn expected(name: &str) -> Expected {
    let text = fs::read_to_string(root().join(name).join(EXPECTED))
        .unwrap_or_else(|error| panic!("{name}/{EXPECTED}: {error}"));
    Expected::parse(&text).unwrap_or_else(|why| panic!("{name}/{EXPECTED}: {why}"))
}

/// How a scenario's diagnosis differs from what is expected.
fn differences(name: &str, expected: &Expected) -> Vec<String> {
    let bundle = tempfile::tempdir().unwrap();
    if let Some(base) = &expected.base {
        lay(&root().join(base), bundle.path());
        for path in &expected.without {
            fs::remove_file(bundle.path().join(path))
                .unwrap_or_else(|error| panic!("{name}: the base has no {path}: {error}"));
        }
    }
    lay(&root().join(name), bundle.path());
    match common::bundle::load(bundle.path()) {
        Ok(snapshot) => expected.differences(&diagnose(&snapshot)),
        Err(error) => vec![error.to_string()],
    }
}

/// Copies all files below `from` to the same places below `to`.
fn lay(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&place).unwrap();
            lay(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), &place).unwrap();
        }
    }
}

#[test]
fn every_scenario_is_as_expected() {
    let mut wrong = Vec::new();
    for name in names() {
        let found = differences(&name, &expected(&name));
        wrong.extend(found.into_iter().map(|it| format!("{name}: {it}")));
    }
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
}

/// A check without a scenario that triggers it, or without another one in which it runs and stays silent, is not tested.
#[test]
fn every_check_has_a_trigger_and_a_look_alike() {
    let mut triggers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut silent: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for name in names().into_iter().filter(|name| name != "healthy") {
        let expected = expected(&name);
        let found = expected.roots.iter().flat_map(|root| {
            std::iter::once(root.code.clone()).chain(root.symptoms.keys().cloned())
        });
        for code in found {
            triggers.entry(code).or_default().insert(name.clone());
        }
        for code in expected.silent {
            silent.entry(code).or_default().insert(name.clone());
        }
    }
    for check in ALL {
        let code = check.code.0;
        assert!(triggers.contains_key(code), "no scenario triggers {code}");
        assert!(silent.contains_key(code), "no scenario in which {code} stays silent");
    }
}

/// The comparison itself must be able to fail: a healthy cluster is not what a broken one is expected to be, and the reverse.
#[test]
fn a_wrong_expectation_is_noticed() {
    let (healthy, broken) = (expected("healthy"), expected("token-expired"));
    assert_eq!(differences("healthy", &healthy), Vec::<String>::new());
    let found = differences("healthy", &Expected { base: None, ..broken });
    assert!(found.iter().any(|it| it.starts_with("missing: ")), "{found:?}");
    let mut silence = expected("token-expired");
    silence.roots.clear();
    silence.silent = healthy.silent;
    silence.exit = Some(0);
    let found = differences("token-expired", &silence);
    for part in ["not expected", "CAL-CNI-006 should have run and be silent", "exit 3"] {
        assert!(found.iter().any(|it| it.contains(part)), "{part}: {found:?}");
    }
}
