//! Two sinks at once: a snapshot and a bundle of the same run.

use crate::snapshot::{Gap, Record, Sink};

/// Gives everything to both sinks, to the first one first.
pub struct Tee<'a> {
    first: &'a mut dyn Sink,
    second: &'a mut dyn Sink,
}

impl<'a> Tee<'a> {
    /// Both sinks.
    pub fn new(first: &'a mut dyn Sink, second: &'a mut dyn Sink) -> Self {
        Self { first, second }
    }
}

impl Sink for Tee<'_> {
    fn record(&mut self, record: &Record) {
        self.first.record(record);
        self.second.record(record);
    }

    fn gap(&mut self, gap: Gap) {
        self.first.gap(gap.clone());
        self.second.gap(gap);
    }
}
