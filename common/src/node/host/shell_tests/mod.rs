//! Operations under every shell of this machine, on a made-up host: a directory for a root, and programs that are ours.

mod cut_off;
mod files;
mod kernel;
mod sandboxes;
mod system;
mod trees;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{HostContext, HostResult, parse, render};
use crate::plan::{HostOperation, PlanId};

/// The run that the tests are in.
const RUN: &str = "01JTESTRUN";

/// Shells to try: those that are installed, and busybox's when there is a busybox.
pub(super) fn shells() -> Vec<Vec<&'static str>> {
    let all = [vec!["dash"], vec!["bash"], vec!["busybox", "sh"], vec!["sh"]];
    let runs = |shell: &Vec<&str>| {
        Command::new(shell[0])
            .args(&shell[1..])
            .args(["-c", "exit 0"])
            .status()
            .is_ok_and(|it| it.success())
    };
    let shells: Vec<_> = all.into_iter().filter(runs).collect();
    assert!(!shells.is_empty(), "no shell to test with");
    shells
}

/// A made-up host.
struct Host {
    root: tempfile::TempDir,
    loopback_seconds: u64,
}

impl Host {
    fn new() -> Self {
        let root = tempfile::Builder::new().prefix("a host ").tempdir().unwrap();
        fs::create_dir(root.path().join("programs")).unwrap();
        Self { root, loopback_seconds: 60 }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.path(path)).unwrap().permissions().mode() & 0o7777
    }

    /// Names in a directory, sorted.
    fn names(&self, directory: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(directory))
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Puts a program in front of the machine's. `$root` is this host.
    fn program(&self, name: &str, script: &str) {
        let path = format!("programs/{name}");
        let root = super::quote::quote(self.root.path().to_str().unwrap());
        self.write(&path, format!("#!/bin/sh\nroot={root}\n{script}"));
        fs::set_permissions(self.path(&path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn script(&self, operation: &HostOperation, payload: Option<&[u8]>) -> Vec<u8> {
        let run = PlanId(RUN.into());
        let context = HostContext { run: &run, loopback_seconds: self.loopback_seconds };
        render(operation, &context, payload).unwrap().as_bytes().to_vec()
    }

    /// Runs a script as an exec does: by standard input, which is never ended. In a process group of its own.
    fn run(&self, shell: &[&str], script: &[u8]) -> Ended {
        self.run_with(shell, script, false)
    }

    fn run_with(&self, shell: &[&str], script: &[u8], input_ends: bool) -> Ended {
        let programs = self.path("programs");
        let mut child = Command::new(shell[0])
            .args(&shell[1..])
            .arg("-s")
            .env("CALICO_HOST_ROOT", self.root.path())
            .env(
                "CALICO_HOST_PATH",
                format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display()),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let script = script.to_vec();
        let writer = std::thread::spawn(move || {
            // A shell that was killed reads no more.
            drop(stdin.write_all(&script));
            (!input_ends).then_some(stdin)
        });
        let output = child.wait_with_output().unwrap();
        drop(writer.join().unwrap());
        Ended {
            killed: output.status.signal() == Some(9),
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Carries out an operation under one shell.
    fn perform(
        &self,
        shell: &[&str],
        operation: &HostOperation,
        payload: Option<&[u8]>,
    ) -> HostResult {
        let ended = self.run(shell, &self.script(operation, payload));
        let result = parse(&ended.stdout, ended.code);
        // Whatever a script has to say is in its protocol.
        assert_eq!(ended.stderr, "", "{shell:?} {result:?}");
        result
    }

    /// Processes whose command line names this host: what a script left running.
    fn processes(&self) -> Vec<String> {
        let needle = self.root.path().to_str().unwrap();
        let lines = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).replace('\0', " "))
        });
        lines.filter(|line| line.contains(needle)).collect()
    }
}

/// How a script ended.
struct Ended {
    killed: bool,
    code: i32,
    stdout: Vec<u8>,
    stderr: String,
}

fn facts(result: &HostResult) -> &std::collections::BTreeMap<String, String> {
    match result {
        HostResult::Changed { facts } => facts,
        other => panic!("{other:?}"),
    }
}

fn assert_changed(result: &HostResult, context: &str) {
    assert!(matches!(result, HostResult::Changed { .. }), "{context}: {result:?}");
}

fn assert_already(result: &HostResult, context: &str) {
    assert!(matches!(result, HostResult::AlreadyRight(_)), "{context}: {result:?}");
}

fn assert_refused(result: &HostResult, words: &str) {
    match result {
        HostResult::Refused(why) => assert!(why.contains(words), "{why}"),
        other => panic!("{other:?}"),
    }
}

fn assert_failed(result: &HostResult, words: &str) {
    match result {
        HostResult::Failed(why) => assert!(why.contains(words), "{why}"),
        other => panic!("{other:?}"),
    }
}

fn sha256(content: impl AsRef<[u8]>) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Kills the script with everything it started before one command after another, then lets it run again: `prepare` makes
/// a host, `check` looks at it after the kill (`true`) and after the second run (`false`). Every `step`th command is such
/// a point; with PROPTEST_CASES set, by which longer runs of the tests are asked for, every single one is.
fn kill_at_commands(
    step: usize,
    operation: &HostOperation,
    payload: Option<&[u8]>,
    prepare: impl Fn() -> Host,
    check: impl Fn(&Host, bool),
) {
    let bash = ["bash"];
    if !shells().contains(&bash.to_vec()) {
        return;
    }
    let step = if std::env::var_os("PROPTEST_CASES").is_some() { 1 } else { step };
    let mut point = 0;
    loop {
        point += step;
        assert!(point < 2000, "the script has no end");
        let host = prepare();
        // Subshells end with the main shell: the kill is for the whole process group.
        let trap = format!(
            "set -o functrace\nkct=0\ntrap 'if [ \"$BASHPID\" = $$ ]; then kct=$((kct + 1)); [ $kct != {point} ] || kill -9 0; fi' DEBUG\n"
        );
        let script = String::from_utf8(host.script(operation, payload)).unwrap();
        let (definitions, call) = script.rsplit_once("\noperation ").unwrap();
        let script = format!("{definitions}\n{trap}operation {call}");
        let ended = host.run(&bash, script.as_bytes());
        if !ended.killed {
            assert!(
                point > 20,
                "only {point} points: {} {}",
                String::from_utf8_lossy(&ended.stdout),
                ended.stderr
            );
            assert_eq!(ended.code, 0, "{}", String::from_utf8_lossy(&ended.stdout));
            return;
        }
        check(&host, true);
        let again = host.perform(&shells()[0], operation, payload);
        assert!(
            matches!(again, HostResult::Changed { .. } | HostResult::AlreadyRight(_)),
            "killed before command {point}: {again:?}"
        );
        check(&host, false);
    }
}

/// Waits for a condition.
fn wait_until(what: &str, limit: Duration, condition: impl Fn() -> bool) -> Duration {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    started.elapsed()
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
