//! Waiting for conditions, always with a stated limit.

use super::error::Error;
use std::thread;
use std::time::{Duration, Instant};

/// A point in time after which nobody waits any more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    pub(crate) fn passed(self) -> bool {
        Instant::now() >= self.0
    }
}

/// Looks every 200 ms until `look` is `Ok`, and returns what it gave.
///
/// `Err` says what is there instead; the last one is part of the error when the limit is over.
pub fn wait_until<T>(
    what: &str,
    limit: Duration,
    look: impl FnMut() -> Result<T, String>,
) -> Result<T, Error> {
    wait_every(what, limit, Duration::from_millis(200), look)
}

/// As [`wait_until`], looking as often as told.
pub fn wait_every<T>(
    what: &str,
    limit: Duration,
    pause: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> Result<T, Error> {
    let deadline = Deadline::after(limit);
    loop {
        let over = deadline.passed();
        match look() {
            Ok(value) => return Ok(value),
            Err(seen) if over => return Err(Error::Timeout { what: what.to_owned(), limit, seen }),
            Err(_) => thread::sleep(pause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_last_is_told() {
        let mut looks = 0;
        let error =
            wait_until("the cow jumps", Duration::from_millis(1), || -> Result<(), String> {
                looks += 1;
                Err(format!("look {looks}"))
            })
            .unwrap_err();
        assert!(
            error.to_string().starts_with("the cow jumps: not within 1ms; last seen: look "),
            "{error}"
        );
        assert!(looks >= 2, "the condition is looked at once more when the limit is over");
    }

    #[test]
    fn the_value_found_is_returned() {
        assert_eq!(wait_until("there", Duration::ZERO, || Ok::<_, String>(7)).unwrap(), 7);
    }
}
