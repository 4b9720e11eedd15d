//! The API server's clock. Ages and expiries are judged by it: a laptop whose clock is wrong must not call a good token expired.

use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use http::header::DATE;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};

use super::Cluster;

/// Smaller differences are the header's resolution of one second, and the time an answer takes.
const NOISE: SignedDuration = SignedDuration::from_secs(3);

/// How far the server's clock is ahead of ours, once an answer has said so.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerClock(Arc<OnceLock<SignedDuration>>);

impl ServerClock {
    /// Learns from the first answer that carries a date.
    pub(super) fn learn(&self, headers: &HeaderMap, now: Timestamp) {
        let server = headers
            .get(DATE)
            .and_then(|date| DateTimeParser::new().parse_timestamp(date.as_bytes()).ok());
        if let Some(server) = server {
            self.0.get_or_init(|| {
                let ahead = server.duration_since(now);
                if ahead.abs() < NOISE { SignedDuration::ZERO } else { ahead }
            });
        }
    }

    fn ahead(&self) -> SignedDuration {
        self.0.get().copied().unwrap_or_default()
    }
}

impl Cluster {
    /// The time by the API server's clock; by ours until it has answered.
    pub fn now(&self) -> Timestamp {
        Timestamp::now().saturating_add(self.clock.ahead()).unwrap_or_else(|_| Timestamp::now())
    }

    /// How far the API server's clock is ahead of this machine's; zero when they agree within 3 s.
    pub fn clock_difference(&self) -> SignedDuration {
        self.clock.ahead()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(date: &str) -> SignedDuration {
        let clock = ServerClock::default();
        let mut headers = HeaderMap::new();
        headers.insert(DATE, date.parse().unwrap());
        clock.learn(&headers, "2026-11-21T12:00:00Z".parse().unwrap());
        clock.ahead()
    }

    #[test]
    fn the_server_is_believed() {
        assert_eq!(learnt("Sat, 21 Nov 2026 13:00:00 GMT"), SignedDuration::from_secs(3600));
        assert_eq!(learnt("Sat, 21 Nov 2026 11:59:00 GMT"), SignedDuration::from_secs(-60));
        assert_eq!(learnt("Sat, 21 Nov 2026 12:00:02 GMT"), SignedDuration::ZERO);
        assert_eq!(learnt("yesterday"), SignedDuration::ZERO);
    }

    #[test]
    fn the_first_answer_counts() {
        let clock = ServerClock::default();
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        clock.learn(&HeaderMap::new(), now);
        for date in ["Sat, 21 Nov 2026 12:01:00 GMT", "Sat, 21 Nov 2026 19:00:00 GMT"] {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, date.parse().unwrap());
            clock.learn(&headers, now);
        }
        assert_eq!(clock.ahead(), SignedDuration::from_secs(60));
    }
}
