//! A clock for tests that die and go on many times: what a run waits for takes a part of its time.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Clock;

/// A clock that runs so many times as fast.
pub(super) struct QuickClock {
    began: Instant,
    factor: u32,
}

impl QuickClock {
    /// It begins now.
    pub(super) fn new(factor: u32) -> Self {
        Self { began: Instant::now(), factor }
    }
}

impl Clock for QuickClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed() * self.factor
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time / self.factor).await;
    }
}
