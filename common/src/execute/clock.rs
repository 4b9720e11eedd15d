//! Time and chance at the edge. Tests bring their own.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::plan::PlanId;

/// What the executor knows of time.
pub trait Clock {
    /// The time of day, for the journal.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment; never goes back.
    fn elapsed(&self) -> Duration;
    /// Returns after `time`.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()>;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// A new plan's id, of the machine's time and chance.
pub fn new_plan_id() -> PlanId {
    // The standard library seeds every RandomState from the system's entropy; ids need uniqueness, not secrecy.
    let [first, second] = [(); 2].map(|()| RandomState::new().hash_one(0_u8).to_be_bytes());
    let mut randomness = [0; 10];
    for (place, byte) in randomness.iter_mut().zip(first.into_iter().chain(second)) {
        *place = byte;
    }
    PlanId::new(u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default(), randomness)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ() {
        let ids: std::collections::BTreeSet<PlanId> = (0..100).map(|_| new_plan_id()).collect();
        assert_eq!(ids.len(), 100);
    }
}
