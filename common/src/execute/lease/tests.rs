//! The Lease against a store of one object that behaves as an API server does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use jiff::Timestamp;
use serde_json::json;

use super::*;

/// One object with a resource version, and what goes wrong with it.
#[derive(Debug, Default)]
struct Inner {
    object: Mutex<Option<Value>>,
    versions: AtomicUsize,
    /// Nothing answers.
    silent: AtomicBool,
    /// The next write is carried out, but its answer gets lost.
    lose_answer: AtomicBool,
    forbidden: AtomicBool,
    /// Takes the Lease just before the next write.
    rival: Mutex<Option<Holder>>,
}

#[derive(Clone, Debug, Default)]
struct Store(Arc<Inner>);

fn error(code: &str) -> ApiError {
    let (attempted, message) = ("write".to_owned(), code.to_owned());
    match code {
        "conflict" => ApiError::Conflict { attempted, message },
        "forbidden" => ApiError::Forbidden { attempted, message },
        "gone" => ApiError::NotFound { attempted, message },
        _ => ApiError::TimedOut { attempted, server: "s".into(), seconds: 1 },
    }
}

impl Store {
    fn check(&self) -> Result<(), ApiError> {
        match () {
            () if self.0.silent.load(Ordering::SeqCst) => Err(error("silent")),
            () if self.0.forbidden.load(Ordering::SeqCst) => Err(error("forbidden")),
            () => Ok(()),
        }
    }

    fn put(&self, lease: &Value, uid: &str) -> Value {
        let mut stored = lease.clone();
        let version = self.0.versions.fetch_add(1, Ordering::SeqCst) + 1;
        stored["metadata"]["uid"] = uid.into();
        stored["metadata"]["resourceVersion"] = version.to_string().into();
        *self.0.object.lock().unwrap() = Some(stored.clone());
        stored
    }

    fn write(&self, lease: &Value, is_new: bool) -> Result<Value, ApiError> {
        self.check()?;
        if let Some(rival) = self.0.rival.lock().unwrap().take() {
            self.put(&fresh(&rival, self.now()), "u1");
        }
        let before = self.0.object.lock().unwrap().clone();
        match &before {
            Some(_) if is_new => return Err(error("conflict")),
            None if !is_new => return Err(error("gone")),
            Some(it)
                if it["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"] =>
            {
                return Err(error("conflict"));
            }
            _ => {}
        }
        let stored = self.put(lease, "u1");
        if self.0.lose_answer.swap(false, Ordering::SeqCst) {
            Err(error("lost"))
        } else {
            Ok(stored)
        }
    }

    fn holder(&self) -> Option<String> {
        let object = self.0.object.lock().unwrap();
        Some(object.as_ref()?["spec"]["holderIdentity"].as_str()?.to_owned())
    }
}

impl LeaseStore for Store {
    async fn get(&self) -> Result<Option<Value>, ApiError> {
        self.check()?;
        Ok(self.0.object.lock().unwrap().clone())
    }

    async fn create(&self, lease: &Value) -> Result<Value, ApiError> {
        self.write(lease, true)
    }

    async fn update(&self, lease: &Value) -> Result<Value, ApiError> {
        self.write(lease, false)
    }

    async fn delete(&self, uid: &str, version: &str) -> Result<(), ApiError> {
        self.check()?;
        let mut object = self.0.object.lock().unwrap();
        let Some(now) = object.as_ref() else { return Err(error("gone")) };
        if now["metadata"]["uid"] != uid || now["metadata"]["resourceVersion"] != version {
            return Err(error("conflict"));
        }
        *object = None;
        Ok(())
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

fn holder(run: &str) -> Holder {
    Holder { user: "jane".into(), host: "bastion".into(), run: PlanId(run.into()) }
}

fn nobody_is_dead(_: &PlanId) -> bool {
    false
}

/// Milliseconds instead of seconds.
fn pace(expiry: u64) -> Pace {
    let ms = Duration::from_millis;
    Pace { every: ms(10), retry: ms(5), expiry: ms(expiry) }
}

/// Waits for a condition, at most 20 s.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn of_two_runs_one_gets_it_and_the_other_is_told_whose_it_is() {
    let store = Store::default();
    let first = Lease::take(store.clone(), holder("01A"), nobody_is_dead).await.unwrap();
    let refused = Lease::take(store.clone(), holder("01B"), nobody_is_dead).await.unwrap_err();
    let LeaseError::Held { identity, since } = &refused else { panic!("{refused:?}") };
    assert_eq!(identity, "jane@bastion/01A");
    assert!(since.is_some() && refused.to_string().contains("since 20"), "{refused}");
    assert_eq!(first.tenure().over(), None);
    first.release().await.unwrap();
    assert_eq!(store.holder(), None, "nothing of ours is left");
    // Control: with the first gone, the second gets it.
    let second = Lease::take(store.clone(), holder("01B"), nobody_is_dead).await.unwrap();
    second.release().await.unwrap();
}

#[tokio::test]
async fn in_the_same_instant_only_one_gets_it() {
    let store = Store::default();
    *store.0.rival.lock().unwrap() = Some(holder("01RIVAL"));
    let refused = Lease::take(store.clone(), holder("01A"), nobody_is_dead).await.unwrap_err();
    assert!(matches!(refused, LeaseError::Held { .. }), "{refused:?}");
    // The same while both take over what a dead run left.
    store.put(&fresh(&holder("01DEAD"), store.now()), "u1");
    *store.0.rival.lock().unwrap() = Some(holder("01RIVAL"));
    let is_dead = |run: &PlanId| run.0 == "01DEAD";
    let refused = Lease::take(store.clone(), holder("01A"), is_dead).await.unwrap_err();
    assert!(matches!(refused, LeaseError::Held { .. }), "{refused:?}");
    assert_eq!(store.holder().unwrap(), "jane@bastion/01RIVAL");
}

#[tokio::test]
async fn what_a_dead_run_left_is_taken_over_at_once() {
    let store = Store::default();
    store.put(&fresh(&holder("01DEAD"), store.now()), "u1");
    let is_dead = |run: &PlanId| run.0 == "01DEAD";
    let lease = Lease::take(store.clone(), holder("01A"), is_dead).await.unwrap();
    assert_eq!(store.holder().unwrap(), "jane@bastion/01A");
    lease.release().await.unwrap();
}

#[tokio::test]
async fn an_answer_that_got_lost_does_not_lock_us_out() {
    let store = Store::default();
    store.0.lose_answer.store(true, Ordering::SeqCst);
    let lease = Lease::take(store.clone(), holder("01A"), nobody_is_dead).await.unwrap();
    lease.release().await.unwrap();
    assert_eq!(store.holder(), None);
}

#[tokio::test]
async fn it_is_renewed_and_given_back_in_its_newest_version() {
    let store = Store::default();
    let me = holder("01A");
    let lease = Lease::take_at(store.clone(), me, nobody_is_dead, pace(60_000)).await.unwrap();
    until("it is renewed", || store.0.versions.load(Ordering::SeqCst) > 3).await;
    // A renewal whose answer gets lost makes the version that we know too old.
    store.0.lose_answer.store(true, Ordering::SeqCst);
    until("an answer got lost", || !store.0.lose_answer.load(Ordering::SeqCst)).await;
    assert_eq!(lease.tenure().over(), None);
    lease.release().await.unwrap();
    assert_eq!(store.holder(), None);
}

#[tokio::test]
async fn a_run_whose_lease_was_taken_knows_it_and_leaves_it_alone() {
    let store = Store::default();
    let taken = Lease::take_at(store.clone(), holder("01A"), nobody_is_dead, pace(60_000)).await;
    let lease = taken.unwrap();
    store.put(&fresh(&holder("01B"), store.now()), "u1");
    let tenure = lease.tenure();
    until("it knows", || tenure.over().is_some()).await;
    assert!(tenure.over().unwrap().contains("jane@bastion/01B"), "{:?}", tenure.over());
    lease.release().await.unwrap();
    assert_eq!(store.holder().unwrap(), "jane@bastion/01B");
}

#[tokio::test]
async fn without_renewal_the_run_stops_and_goes_on_once_it_is_renewed() {
    let store = Store::default();
    let taken = Lease::take_at(store.clone(), holder("01A"), nobody_is_dead, pace(300)).await;
    let lease = taken.unwrap();
    let tenure = lease.tenure();
    store.0.silent.store(true, Ordering::SeqCst);
    until("it is late", || tenure.over().is_some()).await;
    assert!(tenure.over().unwrap().contains("could not be renewed"), "{:?}", tenure.over());
    store.0.silent.store(false, Ordering::SeqCst);
    until("it is renewed again", || tenure.over().is_none()).await;
    lease.release().await.unwrap();
}

#[tokio::test]
async fn who_may_not_take_it_is_told_so() {
    let store = Store::default();
    store.0.forbidden.store(true, Ordering::SeqCst);
    let refused = Lease::take(store.clone(), holder("01A"), nobody_is_dead).await.unwrap_err();
    assert!(matches!(refused, LeaseError::Forbidden(_)), "{refused:?}");
    assert_eq!(json!(store.holder()), Value::Null);
}
