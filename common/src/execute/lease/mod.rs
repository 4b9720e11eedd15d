//! One Lease per cluster: whoever changes anything holds it, so that two runs never repair the same cluster at once,
//! from wherever they are started.
//!
//! It is taken before the first step, renewed in the background, and deleted at the end. What a killed run leaves is
//! taken over: at once when its journal on this machine shows that it is dead, else when it has expired.

mod record;
mod store;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::ApiError;
use crate::plan::PlanId;

pub use record::Holder;
pub use store::{ClusterLease, LeaseStore};

use record::{Record, Standing, fresh};

/// Namespace of the Lease.
pub const NAMESPACE: &str = "kube-system";
/// Name of the Lease.
pub const NAME: &str = "kubectl-calico";
/// Seconds after which a Lease that was not renewed is nobody's any more.
pub const DURATION_SECONDS: u32 = 30;
/// How often the Lease is tried for when others take it and give it back meanwhile.
const TRIES: u32 = 5;

/// Times of renewal. Tests have shorter ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Between two renewals.
    pub(super) every: Duration,
    /// Between two tries of one renewal.
    pub(super) retry: Duration,
    /// After so long without a renewal nobody needs to respect the Lease any more.
    pub(super) expiry: Duration,
}

const PACE: Pace = Pace {
    every: Duration::from_secs(10),
    retry: Duration::from_secs(2),
    expiry: Duration::from_secs(DURATION_SECONDS as u64),
};

/// Why there is no Lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else is changing the cluster.
    #[error("another run is changing this cluster: {identity}{}", from(.since.as_ref()))]
    Held {
        /// Whose Lease it is: `<user>@<host>/<run>`.
        identity: String,
        /// Since when.
        since: Option<jiff::Timestamp>,
    },
    /// We may not.
    #[error("the Lease that keeps two runs apart cannot be taken: {0}")]
    Forbidden(ApiError),
    /// The server did not let us, or did not answer.
    #[error("the Lease that keeps two runs apart cannot be taken: {0}")]
    Api(ApiError),
    /// Others took it again and again.
    #[error("Lease {NAMESPACE}/{NAME} changes hands all the time")]
    Contended,
}

fn from(time: Option<&jiff::Timestamp>) -> String {
    time.map(|it| format!(", since {it:.0}")).unwrap_or_default()
}

impl From<ApiError> for LeaseError {
    fn from(error: ApiError) -> Self {
        if matches!(error, ApiError::Forbidden { .. }) {
            Self::Forbidden(error)
        } else {
            Self::Api(error)
        }
    }
}

/// What a run knows of its Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    /// Renewed. While this lasts it is ours.
    Held(Term),
    /// Not renewed when it should have been, for this reason. It may be renewed yet.
    Late(Term, String),
    /// Somebody else's now.
    Lost(String),
}

/// Until when nobody else may take the Lease, by two clocks: one stands still while a laptop sleeps, one may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Term {
    steady: Instant,
    wall: SystemTime,
}

impl Term {
    fn starting_now(lasts: Duration) -> Self {
        Self { steady: Instant::now() + lasts, wall: SystemTime::now() + lasts }
    }

    fn is_over(&self) -> bool {
        Instant::now() > self.steady || SystemTime::now() > self.wall
    }
}

/// Tells a run whether it still holds its Lease.
#[derive(Clone, Debug)]
pub struct Tenure(Option<watch::Receiver<Known>>);

impl Tenure {
    /// That of a run which nobody can come between: in tests.
    pub fn unlimited() -> Self {
        Self(None)
    }

    /// That of a run whose Lease somebody else has.
    #[cfg(test)]
    pub(crate) fn lost_to(who: &str) -> Self {
        Self(Some(watch::channel(Known::Lost(who.to_owned())).1))
    }

    /// Why the run must not act any more; none while the Lease is its own.
    pub fn over(&self) -> Option<String> {
        let late = |why: &str| {
            format!(
                "Lease {NAMESPACE}/{NAME} could not be renewed in time, so another run may be acting: {why}"
            )
        };
        match &*self.0.as_ref()?.borrow() {
            Known::Held(term) => term.is_over().then(|| late("no answer")),
            Known::Late(term, why) => term.is_over().then(|| late(why)),
            Known::Lost(who) => Some(format!("Lease {NAMESPACE}/{NAME} was taken over by {who}")),
        }
    }
}

/// The Lease while it is ours. It must be given back with [`Lease::release`]; dropped, it only stops being renewed.
#[derive(Debug)]
pub struct Lease<S: LeaseStore> {
    store: S,
    me: Holder,
    record: Arc<Mutex<Record>>,
    known: watch::Receiver<Known>,
    renewal: JoinHandle<()>,
}

impl<S: LeaseStore> Lease<S> {
    /// Takes the Lease. `is_dead` tells of runs of this machine whether their process is gone.
    pub async fn take(
        store: S,
        me: Holder,
        is_dead: impl Fn(&PlanId) -> bool,
    ) -> Result<Self, LeaseError> {
        Self::take_at(store, me, is_dead, PACE).await
    }

    async fn take_at(
        store: S,
        me: Holder,
        is_dead: impl Fn(&PlanId) -> bool,
        pace: Pace,
    ) -> Result<Self, LeaseError> {
        let term = Term::starting_now(pace.expiry);
        let record = acquire(&store, &me, is_dead).await?;
        let record = Arc::new(Mutex::new(record));
        let (tell, known) = watch::channel(Known::Held(term));
        let keeper = Keeper { store: store.clone(), me: me.clone(), record: record.clone(), pace };
        let renewal = tokio::spawn(keeper.keep(term, tell));
        Ok(Self { store, me, record, known, renewal })
    }

    /// For the executor.
    pub fn tenure(&self) -> Tenure {
        Tenure(Some(self.known.clone()))
    }

    /// Gives the Lease back by deleting it. One that somebody else has by now is left alone.
    pub async fn release(self) -> Result<(), ApiError> {
        self.renewal.abort();
        let mut record = lock(&self.record).clone();
        let mut last = Ok(());
        for _ in 0..TRIES {
            last = self.store.delete(&record.metadata.uid, &record.metadata.resource_version).await;
            match &last {
                Ok(()) | Err(ApiError::NotFound { .. }) => return Ok(()),
                // A renewal whose answer we did not wait for made it newer.
                Err(ApiError::Conflict { .. }) => match self.store.get().await? {
                    Some(value) if is_mine(&value, &self.me) => record = read(&value)?,
                    _ => return Ok(()),
                },
                Err(_) => return last,
            }
        }
        last
    }
}

impl<S: LeaseStore> Drop for Lease<S> {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// Whether nobody else holds the Lease now, without taking it. `is_dead` as for [`Lease::take`].
///
/// # Errors
/// [`LeaseError::Held`] when somebody does, others when it cannot be read.
pub async fn held<S: LeaseStore>(
    store: &S,
    is_dead: impl Fn(&PlanId) -> bool,
) -> Result<(), LeaseError> {
    let Some(value) = store.get().await? else { return Ok(()) };
    let me = Holder::here("", &PlanId(String::new()));
    match read(&value)?.standing(&me, store.now(), &is_dead) {
        Standing::Held { identity, since } => Err(LeaseError::Held { identity, since }),
        Standing::Ours | Standing::Free => Ok(()),
    }
}

async fn acquire<S: LeaseStore>(
    store: &S,
    me: &Holder,
    is_dead: impl Fn(&PlanId) -> bool,
) -> Result<Record, LeaseError> {
    let mut failed = None;
    for _ in 0..TRIES {
        let written = match store.get().await? {
            None => store.create(&fresh(me, store.now())).await,
            Some(value) => {
                let record = read(&value)?;
                match record.standing(me, store.now(), &is_dead) {
                    // A first try of ours whose answer got lost.
                    Standing::Ours => return Ok(record),
                    Standing::Held { identity, since } => {
                        return Err(LeaseError::Held { identity, since });
                    }
                    Standing::Free => store.update(&record.taken_by(me, store.now())).await,
                }
            }
        };
        match written {
            Ok(value) => return Ok(read(&value)?),
            // Somebody was faster, or the answer got lost: a second look tells.
            Err(error) if is_worth_a_look(&error) => failed = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(match failed {
        Some(ApiError::Conflict { .. } | ApiError::NotFound { .. }) | None => LeaseError::Contended,
        Some(error) => error.into(),
    })
}

fn is_worth_a_look(error: &ApiError) -> bool {
    matches!(
        error,
        ApiError::Conflict { .. }
            | ApiError::NotFound { .. }
            | ApiError::TimedOut { .. }
            | ApiError::Unreachable { .. }
    )
}

fn read(value: &Value) -> Result<Record, ApiError> {
    Record::of(value).map_err(|error| ApiError::Other {
        attempted: format!("read Lease {NAMESPACE}/{NAME}"),
        message: format!("the answer makes no sense: {error}"),
    })
}

fn is_mine(value: &Value, me: &Holder) -> bool {
    value.pointer("/spec/holderIdentity").and_then(Value::as_str) == Some(&me.identity())
}

fn lock(record: &Mutex<Record>) -> std::sync::MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Renews a Lease in the background.
struct Keeper<S> {
    store: S,
    me: Holder,
    record: Arc<Mutex<Record>>,
    pace: Pace,
}

/// What one renewal came to.
enum Renewed {
    Yes,
    /// Not this time.
    Failed(String),
    /// It is somebody else's.
    Lost(String),
}

impl<S: LeaseStore> Keeper<S> {
    async fn keep(self, mut held: Term, tell: watch::Sender<Known>) {
        let mut pause = self.pace.every;
        loop {
            tokio::time::sleep(pause).await;
            let next = Term::starting_now(self.pace.expiry);
            match self.renew().await {
                Renewed::Yes => {
                    (held, pause) = (next, self.pace.every);
                    tell.send_replace(Known::Held(held));
                }
                Renewed::Failed(why) => {
                    pause = self.pace.retry;
                    tracing::debug!("the Lease could not be renewed: {why}");
                    tell.send_replace(Known::Late(held, why));
                }
                Renewed::Lost(who) => {
                    tell.send_replace(Known::Lost(who));
                    return;
                }
            }
        }
    }

    async fn renew(&self) -> Renewed {
        let body = lock(&self.record).taken_by(&self.me, self.store.now());
        // An answer that takes longer than the next try is no use.
        let limit = self.pace.expiry / 3;
        let Ok(answer) = tokio::time::timeout(limit, self.store.update(&body)).await else {
            return Renewed::Failed("no answer".to_owned());
        };
        match answer {
            Ok(value) => self.remember(&value),
            Err(ApiError::Conflict { .. } | ApiError::NotFound { .. }) => self.look_again().await,
            Err(error) => Renewed::Failed(error.to_string()),
        }
    }

    /// Somebody changed it. As long as it names us, it is ours in its newer version.
    async fn look_again(&self) -> Renewed {
        match self.store.get().await {
            Ok(Some(value)) if is_mine(&value, &self.me) => self.remember(&value),
            Ok(Some(value)) => {
                let holder = value.pointer("/spec/holderIdentity").and_then(Value::as_str);
                Renewed::Lost(holder.unwrap_or("somebody").to_owned())
            }
            Ok(None) => Renewed::Lost("somebody who deleted it".to_owned()),
            Err(error) => Renewed::Failed(error.to_string()),
        }
    }

    fn remember(&self, value: &Value) -> Renewed {
        match read(value) {
            Ok(record) => {
                *lock(&self.record) = record;
                Renewed::Yes
            }
            Err(error) => Renewed::Failed(error.to_string()),
        }
    }
}
