//! What a Lease says, and who may take it.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{DURATION_SECONDS, NAME, NAMESPACE};
use crate::plan::PlanId;

/// Who holds the Lease: `<user>@<host>/<run>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Who the API server says it is.
    pub user: String,
    /// The machine that the run is on.
    pub host: String,
    /// The run.
    pub run: PlanId,
}

impl Holder {
    /// `user`, on this machine.
    pub fn here(user: &str, run: &PlanId) -> Self {
        Self { user: user.to_owned(), host: host_name(), run: run.clone() }
    }

    pub(super) fn identity(&self) -> String {
        format!("{}@{}/{}", self.user, self.host, self.run)
    }

    /// A user's name may hold `@` and `/`; a host's and a run's do not.
    pub(super) fn parse(identity: &str) -> Option<Self> {
        let (rest, run) = identity.rsplit_once('/')?;
        let (user, host) = rest.rsplit_once('@')?;
        Some(Self { user: user.to_owned(), host: host.to_owned(), run: PlanId(run.to_owned()) })
    }
}

#[cfg(unix)]
fn host_name() -> String {
    plain(&rustix::system::uname().nodename().to_string_lossy())
}

#[cfg(not(unix))]
fn host_name() -> String {
    plain(&std::env::var("COMPUTERNAME").unwrap_or_default())
}

/// Without what would be taken for a part of the holder's name.
fn plain(name: &str) -> String {
    let name: String =
        name.chars().filter(|it| it.is_ascii_alphanumeric() || ".-_".contains(*it)).collect();
    if name.is_empty() { "unknown".to_owned() } else { name }
}

/// A Lease as the API server stored it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) uid: String,
    pub(super) resource_version: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<i64>,
    acquire_time: Option<Timestamp>,
    renew_time: Option<Timestamp>,
    lease_transitions: Option<i64>,
}

/// What a Lease means for somebody who wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody's, or that of a run that is over: it may be taken.
    Free,
    /// Already ours.
    Ours,
    /// A living run's.
    Held {
        /// Whose, as the Lease spells it.
        identity: String,
        /// Since when.
        since: Option<Timestamp>,
    },
}

impl Record {
    pub(super) fn of(value: &Value) -> Result<Self, serde_json::Error> {
        Self::deserialize(value)
    }

    /// What it means for `me` at `now`. `is_dead` knows runs of this machine whose process is gone.
    pub(super) fn standing(
        &self,
        me: &Holder,
        now: Timestamp,
        is_dead: impl FnOnce(&PlanId) -> bool,
    ) -> Standing {
        let Some(identity) = self.spec.holder_identity.as_deref().filter(|it| !it.is_empty())
        else {
            return Standing::Free;
        };
        if identity == me.identity() {
            return Standing::Ours;
        }
        let holder = Holder::parse(identity);
        let is_over = |it: Holder| it.host == me.host && is_dead(&it.run);
        if self.is_expired(now) || holder.is_some_and(is_over) {
            return Standing::Free;
        }
        Standing::Held { identity: identity.to_owned(), since: self.spec.acquire_time }
    }

    /// A Lease that was never renewed, or says no duration, is nobody's.
    fn is_expired(&self, now: Timestamp) -> bool {
        let (Some(renewed), Some(seconds)) =
            (self.spec.renew_time, self.spec.lease_duration_seconds)
        else {
            return true;
        };
        now.as_second().saturating_sub(renewed.as_second()) > seconds
    }

    /// The object with which `me` takes this Lease over, or renews it. The resource version makes the server refuse it
    /// when somebody was faster.
    pub(super) fn taken_by(&self, me: &Holder, now: Timestamp) -> Value {
        let is_new = self.spec.holder_identity.as_deref() != Some(me.identity().as_str());
        let since = if is_new { now } else { self.spec.acquire_time.unwrap_or(now) };
        let transitions = self.spec.lease_transitions.unwrap_or(0) + i64::from(is_new);
        let mut body = body(me, since, now, transitions);
        body["metadata"]["uid"] = self.metadata.uid.clone().into();
        body["metadata"]["resourceVersion"] = self.metadata.resource_version.clone().into();
        body
    }
}

/// A new Lease of `me`.
pub(super) fn fresh(me: &Holder, now: Timestamp) -> Value {
    body(me, now, now, 0)
}

fn body(me: &Holder, since: Timestamp, renewed: Timestamp, transitions: i64) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "labels": {
                "app.kubernetes.io/managed-by": "kubectl-calico",
                "kubectl-calico/run": me.run.0,
            },
        },
        "spec": {
            "holderIdentity": me.identity(),
            "leaseDurationSeconds": DURATION_SECONDS,
            // The server takes exactly six digits.
            "acquireTime": format!("{since:.6}"),
            "renewTime": format!("{renewed:.6}"),
            "leaseTransitions": transitions,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(user: &str, run: &str) -> Holder {
        Holder { user: user.into(), host: "bastion".into(), run: PlanId(run.into()) }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn record(value: &Value) -> Record {
        Record::of(value).unwrap()
    }

    #[test]
    fn whatever_the_user_is_called_the_run_is_found() {
        for user in ["jane", "oidc:jane@example.org", "arn:aws:sts::1:assumed-role/a/b@c", ""] {
            let me = holder(user, "01RUN");
            assert_eq!(Holder::parse(&me.identity()), Some(me));
        }
        assert_eq!(Holder::parse("another-controller"), None);
    }

    #[test]
    fn a_living_run_keeps_its_lease_until_it_has_expired() {
        let (me, other) = (holder("jane", "01ME"), holder("john", "01OTHER"));
        let lease = record(&fresh(&other, at(1000)));
        let held = Standing::Held { identity: other.identity(), since: Some(at(1000)) };
        assert_eq!(lease.standing(&me, at(1000), |_| false), held);
        assert_eq!(lease.standing(&me, at(1030), |_| false), held);
        assert_eq!(lease.standing(&me, at(1031), |_| false), Standing::Free);
        assert_eq!(lease.standing(&other, at(1000), |_| false), Standing::Ours);
        // Renewed by its holder, it lasts on, and is held since it was taken.
        let renewed = record(&lease.taken_by(&other, at(1025)));
        assert_eq!(renewed.standing(&me, at(1055), |_| false), held);
    }

    #[test]
    fn the_lease_of_a_dead_run_of_this_machine_is_free_at_once() {
        let (me, other) = (holder("jane", "01ME"), holder("john", "01OTHER"));
        let lease = record(&fresh(&other, at(1000)));
        let is_dead = |run: &PlanId| run.0 == "01OTHER";
        assert_eq!(lease.standing(&me, at(1000), is_dead), Standing::Free);
        // What this machine knows of runs says nothing about those of another.
        let elsewhere = Holder { host: "laptop".into(), ..me };
        let standing = lease.standing(&elsewhere, at(1000), is_dead);
        assert!(matches!(standing, Standing::Held { .. }), "{standing:?}");
    }

    #[test]
    fn a_lease_that_says_nothing_is_free() {
        let me = holder("jane", "01ME");
        for spec in [json!({}), json!({"holderIdentity": ""}), json!({"holderIdentity": "x"})] {
            let lease = record(&json!({ "metadata": {}, "spec": spec }));
            assert_eq!(lease.standing(&me, at(0), |_| false), Standing::Free);
        }
    }

    #[test]
    fn taking_over_names_the_version_it_rests_on() {
        let lease = record(&json!({
            "metadata": { "uid": "u1", "resourceVersion": "7" },
            "spec": { "holderIdentity": "john@x/01OTHER", "leaseTransitions": 2 },
        }));
        let body = lease.taken_by(&holder("jane", "01ME"), at(1000));
        assert_eq!(body["metadata"]["resourceVersion"], "7");
        assert_eq!(body["metadata"]["uid"], "u1");
        assert_eq!(body["spec"]["leaseTransitions"], 3);
        assert_eq!(body["spec"]["acquireTime"], "1970-01-01T00:16:40.000000Z");
    }
}
