//! The diagnostic log behind `-vv`: what is asked of the cluster, on stderr. Only our own lines: other libraries' could hold
//! headers, and so credentials.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt, registry};

/// Starts the log: warnings always, requests from level 2, everything from level 3.
pub fn start_log(level: u32, colour: bool) {
    let level = match level {
        0 | 1 => LevelFilter::WARN,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let ours = Targets::new().with_target("common", level);
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(colour).with_target(false);
    // A second start (tests in one process) keeps the first log.
    registry().with(lines.with_filter(ours)).try_init().ok();
}
