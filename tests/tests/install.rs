//! `make install` puts the plugin where the real kubectl finds it, also beside calicoctl installed as a plugin.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on panics, and says why it is skipped"
)]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::program::{self, DOCTOR, PURGE, Ran};
use tests::testbed::{Layout, Progress, Testbed, available};

/// kubectl of this machine, else the one that the testbed builds.
fn kubectl(place: &Path) -> Option<PathBuf> {
    let in_path = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join("kubectl"))
        .find(|file| file.is_file());
    let built = || {
        available().ok()?;
        let layout = Layout::from_environment().unwrap();
        let kubebox = Testbed::build(&layout, Progress::on_stderr()).unwrap().kubebox;
        // The program knows by its name what it is to be.
        let link = place.join("kubectl");
        symlink(kubebox, &link).unwrap();
        Some(link)
    };
    in_path.or_else(built)
}

/// An installed plugin, a kubectl, and a PATH with nothing else.
struct Installed {
    folder: tempfile::TempDir,
    kubectl: PathBuf,
}

impl Installed {
    /// `None`, said aloud, without a kubectl. With CI=true that fails: continuous integration has one.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let Some(kubectl) = kubectl(folder.path()) else {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "there is no kubectl");
            println!("skipped: there is no kubectl");
            return None;
        };
        // What `make install` copies is built by now, so that only its last step is left to do.
        program::purge().unwrap();
        program::ebpf().unwrap();
        let built = program::doctor().unwrap();
        let target = built.parent().unwrap().parent().unwrap();
        let mut make = Command::new("make");
        program::forget_this_package(&mut make);
        let made = make
            .args(["--no-print-directory", "install", "PROFILE=dev"])
            .arg(format!("PREFIX={}", folder.path().display()))
            .current_dir(program::root())
            .env("CARGO_TARGET_DIR", target)
            .env_remove("MAKEFLAGS")
            .output()
            .unwrap();
        let said = Ran::from(made);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.stdout.contains("is not on PATH"), "{said:?}");
        Some(Self { folder, kubectl })
    }

    fn bin(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    /// A program that says which file it is and what it was given.
    fn fake(&self, name: &str) {
        let path = self.bin().join(name);
        fs::write(&path, format!("#!/bin/sh\necho {name}: \"$@\"\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn kubectl(&self, arguments: &[&str]) -> Ran {
        let path: OsString =
            std::env::join_paths([self.bin(), "/usr/bin".into(), "/bin".into()]).unwrap();
        let output = Command::new(&self.kubectl)
            .args(arguments)
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.folder.path())
            .output();
        output.unwrap().into()
    }
}

#[test]
fn kubectl_finds_the_plugin() {
    let Some(installed) = Installed::new() else { return };
    for (file, verb) in [(DOCTOR, "calico-doctor"), (PURGE, "calico-purge")] {
        assert!(installed.bin().join(file).is_file());
        let version = installed.kubectl(&[verb, "--version"]);
        assert_eq!(version.code, Some(0), "{version:?}");
        assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")), "{version:?}");
    }
    let help = installed.kubectl(&["calico-purge", "--help"]);
    assert!(help.stdout.contains("kubectl calico-purge"), "{help:?}");
    let help = installed.kubectl(&["calico-doctor", "--help"]);
    assert!(help.stdout.contains("kubectl calico-doctor"), "{help:?}");
    let page = installed.kubectl(&["calico-doctor", "explain", "CAL-CNI-006"]);
    assert!(page.stdout.contains("## What it detects"), "{page:?}");
}

#[test]
fn calicoctl_as_a_plugin_keeps_its_place_and_we_keep_ours() {
    let Some(installed) = Installed::new() else { return };
    installed.fake("kubectl-calico");
    let ours = installed.kubectl(&["calico-doctor", "--version"]);
    assert!(ours.stdout.contains(env!("CARGO_PKG_VERSION")), "{ours:?}");
    let theirs = installed.kubectl(&["calico", "doctor", "now"]);
    assert_eq!(theirs.stdout, "kubectl-calico: doctor now\n", "{theirs:?}");
}

#[test]
fn kubectl_gets_completions_from_the_plugin() {
    let Some(installed) = Installed::new() else { return };
    let verbs = installed.kubectl(&["__complete", "calico-doctor", ""]);
    assert!(verbs.stdout.lines().any(|line| line.starts_with("explain\t")), "{verbs:?}");
    let codes = installed.kubectl(&["__complete", "calico-doctor", "explain", "cal-cni"]);
    assert!(codes.stdout.lines().any(|line| line.starts_with("CAL-CNI-006\t")), "{codes:?}");
    assert!(!codes.stdout.contains("CAL-ACC"), "{codes:?}");
    let verbs = installed.kubectl(&["__complete", "calico-purge", ""]);
    assert!(verbs.stdout.lines().any(|line| line.starts_with("sandboxes\t")), "{verbs:?}");
}
