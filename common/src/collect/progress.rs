//! What a person sees while it takes time: one line on stderr that moves, and disappears when it is done.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between two pictures of the line.
const TICK: Duration = Duration::from_millis(120);

/// Learns how a long work goes on.
pub trait Progress: Send + Sync {
    /// A new stage begins; `total` steps when that is known.
    fn stage(&self, what: &str, total: Option<usize>);
    /// A step of it is done.
    fn step(&self, what: &str);
    /// The work is over: nothing of the line stays.
    fn done(&self);
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn stage(&self, _what: &str, _total: Option<usize>) {}
    fn step(&self, _what: &str) {}
    fn done(&self) {}
}

/// A line on stderr.
#[derive(Debug)]
pub struct Spinner {
    bar: ProgressBar,
}

impl Spinner {
    /// A line on stderr when `visible`: the caller knows whether that is a terminal and what the user asked for.
    pub fn new(visible: bool, unicode: bool) -> Self {
        let target =
            if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        let ticks = if unicode { "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ " } else { "-\\|/ " };
        let style = ProgressStyle::with_template("{spinner} {prefix}{msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        bar.set_style(style.tick_chars(ticks));
        Self { bar }
    }
}

impl Progress for Spinner {
    fn stage(&self, what: &str, total: Option<usize>) {
        self.bar.set_position(0);
        match total {
            Some(total) => self.bar.set_length(total as u64),
            None => self.bar.unset_length(),
        }
        self.bar.set_prefix(what.to_owned());
        self.bar.set_message("");
        self.bar.enable_steady_tick(TICK);
    }

    fn step(&self, what: &str) {
        self.bar.inc(1);
        self.bar.set_message(match self.bar.length() {
            Some(total) => format!(": {} of {total} ({what})", self.bar.position()),
            None => format!(": {what}"),
        });
    }

    fn done(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
