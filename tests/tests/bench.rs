//! Budgets of the built program, measured: `make bench`.
#![cfg(feature = "bench")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement that cannot go on panics, and prints what it measured"
)]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes of the program.
const SIZE: u64 = 15 * 1024 * 1024;
/// Time of `--version`, warm.
const VERSION: Duration = Duration::from_millis(10);
const RUNS: usize = 51;

/// The program to measure, from the environment: a measurement of a debug build means nothing.
fn program() -> PathBuf {
    std::env::var_os("PROGRAM").expect("PROGRAM names the program to measure").into()
}

#[test]
fn the_program_is_small() {
    let size = program().metadata().unwrap().len();
    println!("size: {:.1} MiB of {} MiB", size as f64 / 1_048_576.0, SIZE / 1_048_576);
    assert!(size < SIZE);
}

#[test]
fn the_version_is_quick() {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            let status =
                Command::new(program()).arg("--version").stdout(Stdio::null()).status().unwrap();
            assert!(status.success());
            started.elapsed()
        })
        .collect();
    times.sort();
    let median = times[RUNS / 2];
    println!("--version: median {median:.1?} of {RUNS} runs, fastest {:.1?}", times[0]);
    assert!(median < VERSION);
}
