//! Rules of the house that no compiler checks: layers, lengths, names.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders of crate `common` that must not act or look at the world.
const PURE: [&str; 11] = [
    "bpf", "bundle", "calico", "checks", "findings", "ipam", "plan", "report", "residue", "slim",
    "snapshot",
];
/// What pure code does not name, and the only pure folder that may.
const FORBIDDEN: [(&str, &str); 9] = [
    ("tokio", ""),
    ("kube::", ""),
    ("std::env", ""),
    ("std::net", ""),
    ("std::process", "bundle"),
    ("SystemTime", ""),
    ("Instant::now", ""),
    ("Timestamp::now", ""),
    ("std::fs", "bundle"),
];
/// Lines of a file, with its tests.
const LONGEST: usize = 500;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 7] = ["util", "utils", "helper", "helpers", "misc", "stuff", "manager"];
/// Documents with the sections that readers look for.
const DOCUMENTS: [(&str, &[&str]); 4] = [
    ("README.md", &["Two commands", "Tour", "Exit codes", "Safety"]),
    ("ARCHITECTURE.md", &["The road", "Layers"]),
    ("CONTRIBUTING.md", &["Tests", "Style"]),
    ("CHANGELOG.md", &["Unreleased"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file below `folder` with this extension, sorted.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() && name != "target" && !name.starts_with('.') {
                open.push(path);
            } else if path.extension().is_some_and(|it| it == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn rust_files() -> Vec<PathBuf> {
    let found: Vec<_> = ["common", "plugins", "tests"]
        .iter()
        .flat_map(|folder| files(&root().join(folder), "rs"))
        .collect();
    assert!(found.len() > 50, "the walk found only {} files", found.len());
    found
}

/// Fails with all complaints at once.
fn complain(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The lines that are code: without comments, and without what follows `#[cfg(test)]`.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line))
}

/// The names that `text` of the pure folder `folder` must not hold, with their lines.
fn forbidden_in(folder: &str, text: &str) -> Vec<(usize, &'static str)> {
    code(text)
        .flat_map(|(number, line)| {
            FORBIDDEN
                .iter()
                .filter(move |(name, allowed)| *allowed != folder && line.contains(name))
                .map(move |(name, _)| (number, *name))
        })
        .collect()
}

#[test]
fn the_pure_core_neither_acts_nor_looks() {
    let mut complaints = Vec::new();
    for folder in PURE {
        let below = files(&root().join("common/src").join(folder), "rs");
        assert!(!below.is_empty(), "common/src/{folder} is gone");
        for path in below {
            for (number, name) in forbidden_in(folder, &fs::read_to_string(&path).unwrap()) {
                complaints.push(format!("{}:{number}: names {name}", shown(&path)));
            }
        }
    }
    complain(&complaints);
}

#[test]
fn the_layer_rule_sees_what_it_should() {
    let text = "use tokio::time;\n// tokio in a comment\nlet now = Timestamp::now();\n#[cfg(test)]\nuse std::env;\n";
    assert_eq!(forbidden_in("checks", text), [(1, "tokio"), (3, "Timestamp::now")]);
    assert_eq!(forbidden_in("bundle", "use std::fs;"), []);
    assert_eq!(forbidden_in("report", "use std::fs;"), [(1, "std::fs")]);
}

#[test]
fn only_the_cluster_module_names_the_client() {
    let mut complaints = Vec::new();
    for path in rust_files() {
        let name = shown(&path);
        if name.starts_with("common/src/cluster/") || name == "tests/tests/tidy.rs" {
            continue;
        }
        for (number, line) in code(&fs::read_to_string(&path).unwrap()) {
            if line.contains("kube::") && !line.contains("testbed/kube") {
                complaints.push(format!("{name}:{number}: names kube::"));
            }
        }
    }
    complain(&complaints);
}

#[test]
fn plugins_do_not_know_each_other() {
    let plugins: BTreeSet<_> = fs::read_dir(root().join("plugins"))
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut complaints = Vec::new();
    for plugin in &plugins {
        let manifest = root().join("plugins").join(plugin).join("Cargo.toml");
        let text = fs::read_to_string(manifest).unwrap();
        for other in plugins.iter().filter(|it| *it != plugin) {
            if text.contains(other.as_str()) {
                complaints.push(format!("{plugin} depends on {other}"));
            }
        }
    }
    complain(&complaints);
}

#[test]
fn files_are_read_at_one_sitting() {
    let mut complaints = Vec::new();
    for path in rust_files() {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        if lines > LONGEST {
            complaints.push(format!("{}: {lines} lines, at most {LONGEST}", shown(&path)));
        }
        if path.ends_with("main.rs") && shown(&path).starts_with("plugins/") && lines > 10 {
            complaints.push(format!("{}: {lines} lines, a main has at most 10", shown(&path)));
        }
    }
    complain(&complaints);
}

#[test]
fn names_say_what_is_inside() {
    let mut complaints = Vec::new();
    for path in rust_files() {
        let empty = path
            .strip_prefix(root())
            .unwrap()
            .with_extension("")
            .components()
            .any(|part| EMPTY_NAMES.contains(&part.as_os_str().to_string_lossy().as_ref()));
        if empty {
            complaints.push(shown(&path));
        }
    }
    complain(&complaints);
}

#[test]
fn every_module_states_its_job_and_no_test_is_ignored() {
    let ignored = concat!("#[", "ignore");
    let mut complaints = Vec::new();
    for path in rust_files() {
        let text = fs::read_to_string(&path).unwrap();
        if !text.starts_with("//!") {
            complaints.push(format!("{}: does not begin with //!", shown(&path)));
        }
        if text.contains(ignored) {
            complaints.push(format!("{}: ignores a test", shown(&path)));
        }
    }
    complain(&complaints);
}

#[test]
fn documents_have_their_sections() {
    let mut complaints = Vec::new();
    for (name, sections) in DOCUMENTS {
        let text = fs::read_to_string(root().join(name)).unwrap_or_default();
        for section in sections {
            let found = text.lines().any(|line| line.starts_with('#') && line.contains(section));
            if !found {
                complaints.push(format!("{name}: no section {section:?}"));
            }
        }
    }
    complain(&complaints);
}

/// Links between our own documents lead somewhere.
#[test]
fn documents_link_to_files_that_exist() {
    let mut complaints = Vec::new();
    for path in files(&root(), "md") {
        let text = fs::read_to_string(&path).unwrap();
        for part in text.split("](").skip(1) {
            let target = part.split([')', '#', ' ']).next().unwrap_or_default();
            let is_ours = !target.is_empty() && !target.contains(':');
            if is_ours && !path.parent().unwrap().join(target).exists() {
                complaints.push(format!("{}: leads nowhere: {target}", shown(&path)));
            }
        }
    }
    complain(&complaints);
}
