//! What a person sees while bytes arrive.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Learns how a long transfer or calculation goes on.
pub trait Transfer: Send + Sync {
    /// One begins: `done` bytes are there already, of `total` when that is known.
    fn begin(&self, what: &str, done: u64, total: Option<u64>);
    /// More bytes are done.
    fn advance(&self, bytes: u64);
    /// It is over: nothing of the line stays.
    fn end(&self);
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Transfer for Silent {
    fn begin(&self, _what: &str, _done: u64, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn end(&self) {}
}

/// A line on stderr that moves.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A line on stderr when `visible`: the caller knows whether that is a terminal.
    pub fn new(visible: bool, unicode: bool) -> Self {
        let target =
            if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        let template = "{prefix}: {bytes} of {total_bytes} [{bar:24}] {bytes_per_sec}, {eta} to go";
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars(if unicode { "━╸ " } else { "=> " }));
        Self { bar }
    }
}

impl Transfer for Bar {
    fn begin(&self, what: &str, done: u64, total: Option<u64>) {
        self.bar.reset();
        self.bar.set_prefix(what.to_owned());
        match total {
            Some(total) => self.bar.set_length(total),
            None => self.bar.unset_length(),
        }
        self.bar.set_position(done);
        // Speed and time left count from here: what was there before did not arrive now.
        self.bar.reset_eta();
    }

    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
