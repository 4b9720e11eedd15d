//! Leases.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Metadata;

/// A Lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lease {
    /// Metadata.
    pub metadata: Metadata,
    /// Who holds it.
    pub spec: LeaseSpec,
}

/// Who holds a Lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaseSpec {
    /// The holder; empty when it was given up.
    pub holder_identity: Option<String>,
    /// Seconds that it holds without being renewed.
    pub lease_duration_seconds: Option<i64>,
    /// When the holder took it.
    pub acquire_time: Option<Timestamp>,
    /// When the holder renewed it last.
    pub renew_time: Option<Timestamp>,
}

impl Lease {
    /// When it stops to hold, unless it is renewed; none when it does not say.
    pub fn expires_at(&self) -> Option<Timestamp> {
        let renewed = self.spec.renew_time.or(self.spec.acquire_time)?;
        let seconds = SignedDuration::from_secs(self.spec.lease_duration_seconds.unwrap_or(0));
        renewed.checked_add(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_expires_when_it_is_not_renewed() {
        let text = r#"{"spec":{"holderIdentity":"a@b/01","leaseDurationSeconds":30,
            "acquireTime":"2026-11-21T12:00:00.000000Z","renewTime":"2026-11-21T12:00:10.000000Z"}}"#;
        let lease: Lease = serde_json::from_str(text).unwrap();
        assert_eq!(lease.expires_at(), "2026-11-21T12:00:40Z".parse().ok());
        assert_eq!(Lease::default().expires_at(), None);
    }
}
