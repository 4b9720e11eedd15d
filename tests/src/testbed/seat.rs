//! Which testbed a test gets when several may run: tests wait most of their time, so two of them at once, each with a testbed of
//! its own, end nearly twice as soon as one after the other.

use super::error::Error;
use super::layout::{LAST_INSTANCE, Layout};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many testbeds tests may use beside each other (1 unless set).
const COUNT: &str = "KUBECTL_CALICO_TESTBEDS";
/// The most of them.
const MOST: usize = 2;
/// The number of the second testbed is that of the first and this, so that neighbours do not meet.
const DISTANCE: u8 = 25;

/// How many tests of this process use each testbed. Tests of one process run beside each other; processes do not.
static TAKEN: Mutex<[usize; MOST]> = Mutex::new([0; MOST]);

fn taken() -> MutexGuard<'static, [usize; MOST]> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A test's place at a testbed, given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat(usize);

impl Seat {
    /// At the testbed that fewest tests use.
    pub(crate) fn take() -> Result<(Self, Layout), Error> {
        let mut layouts = layouts()?;
        let mut taken = taken();
        let place = freest(&taken[..layouts.len()]);
        taken[place] += 1;
        Ok((Self(place), layouts.swap_remove(place)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = taken();
        taken[self.0] = taken[self.0].saturating_sub(1);
    }
}

fn freest(taken: &[usize]) -> usize {
    (0..taken.len()).min_by_key(|place| taken[*place]).unwrap_or_default()
}

/// The layouts of all testbeds that tests may use, as the environment says.
pub fn layouts() -> Result<Vec<Layout>, Error> {
    let first = Layout::from_environment()?;
    let count = match std::env::var(COUNT).ok().filter(|it| !it.is_empty()) {
        None => 1,
        Some(text) => text.parse().ok().filter(|it| (1..=MOST).contains(it)).ok_or_else(|| {
            let why = format!("{text:?} is not a number from 1 to {MOST}");
            Error::Odd { what: COUNT.to_owned(), why }
        })?,
    };
    let mut layouts = vec![first];
    if count > 1 {
        let beside = (layouts[0].instance() + DISTANCE) % (LAST_INSTANCE + 1);
        layouts.push(layouts[0].with_instance(beside)?);
    }
    Ok(layouts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_test_gets_the_testbed_that_fewest_use() {
        assert_eq!(freest(&[0, 0]), 0);
        assert_eq!(freest(&[1, 0]), 1);
        assert_eq!(freest(&[1, 1]), 0);
        assert_eq!(freest(&[3]), 0);
    }
}
