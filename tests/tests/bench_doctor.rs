//! What a user waits for before anything happens: the doctor's start, and its size on disk.

#![cfg(all(unix, feature = "bench"))]
#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run is to fail at once")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs of each command; the median counts.
const RUNS: usize = 51;
/// A user must not notice the start.
const START: Duration = Duration::from_millis(10);
/// Bytes of the release binary.
const SIZE: u64 = 15 * 1024 * 1024;

/// The release build of this source tree.
fn release() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["build", "--quiet", "--locked", "--release", "-p", "kubectl-calico-doctor"];
    let folder = env!("CARGO_MANIFEST_DIR");
    let done = Command::new(cargo).args(arguments).current_dir(folder).status().unwrap();
    assert!(done.success(), "cargo build: {done}");
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    target.join("release/kubectl-calico_doctor")
}

fn median(program: &Path, arguments: &[&str]) -> Duration {
    let mut all: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let began = Instant::now();
            let mut command = Command::new(program);
            let done = command.args(arguments).stdout(Stdio::null()).status().unwrap();
            assert!(done.success());
            began.elapsed()
        })
        .collect();
    all.sort();
    all[RUNS / 2]
}

#[test]
fn bench_start_and_size() {
    let doctor = release();
    let version = median(&doctor, &["--version"]);
    let help = median(&doctor, &["--help"]);
    let nothing = median(Path::new("/bin/true"), &[]);
    let times = |it: Duration| it.as_secs_f64() / nothing.as_secs_f64();
    let size = fs::metadata(&doctor).unwrap().len();
    println!("--version: {version:?}, {:.1} × /bin/true", times(version));
    println!("--help:    {help:?}, {:.1} × /bin/true", times(help));
    println!("size:      {} KiB", size / 1024);
    assert!(version < START, "--version takes {version:?}, {START:?} at most");
    assert!(size < SIZE, "{size} bytes, {SIZE} at most");
}
