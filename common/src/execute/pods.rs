//! Wishes many pods away: so many requests at a time, slower when the server asks for it, and no new one once the user
//! wants to stop.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::Instant;

use super::{PerformError, Performed, Stop, Underway};
use crate::cluster::{ApiError, Cluster, PodAnswer};
use crate::plan::PodRef;
use crate::plan::describe::{counted, number};

/// How the pods are to go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    /// They are deleted.
    Delete {
        /// Seconds each may take to stop; none for what its spec says.
        grace_seconds: Option<u32>,
    },
    /// They are evicted, as far as their disruption budgets allow it within this time.
    Evict {
        /// Seconds each may take to stop; none for what its spec says.
        grace_seconds: Option<u32>,
        /// Time that budgets may delay it.
        within: Duration,
    },
}

/// How long what does not work is tried again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Pause before a request is sent again that the server was too busy for; it doubles each time.
    pub(super) first_pause: Duration,
    /// Longest such pause, also when the server asks for a longer one.
    pub(super) longest_pause: Duration,
    /// A pod that could not be wished away for so long is given up.
    pub(super) limit: Duration,
    /// Time between two evictions of a pod that its budget does not let go: kubectl's.
    pub(super) budget_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(30),
            limit: Duration::from_secs(120),
            budget_pause: Duration::from_secs(5),
        }
    }
}

/// Time between two lines about how far it is.
const TELL: Duration = Duration::from_millis(100);
/// So many reasons are told when pods could not be wished away.
const REASONS: usize = 3;

/// How one pod fared.
enum End {
    Accepted,
    /// There was nothing to wish away.
    Gone,
    /// Its budget does not let it go yet.
    Blocked(String),
    /// It will not go.
    Failed(String),
    /// Whether it goes is not known.
    Unclear(String),
    /// Not begun: the user wanted to stop, or nobody is let.
    Left,
}

/// What became of all so far.
#[derive(Debug, Default)]
struct Tally {
    accepted: usize,
    gone: usize,
    failures: usize,
    unclear: usize,
    reasons: Vec<String>,
    told: Option<Instant>,
}

/// Wishes pods away.
pub(super) struct Farewell<'a> {
    cluster: &'a Cluster,
    wish: Wish,
    dry_run: bool,
    of: usize,
    patience: Patience,
    underway: &'a Underway<'a>,
    tally: Mutex<Tally>,
    /// No request before: the server asked for it.
    not_before: Mutex<Instant>,
    /// Nobody is let: no further request is worth a try.
    denied: AtomicBool,
}

impl<'a> Farewell<'a> {
    /// A farewell as `wish` says.
    pub(super) fn new(cluster: &'a Cluster, wish: Wish, underway: &'a Underway<'a>) -> Self {
        Self {
            cluster,
            wish,
            dry_run: false,
            of: 0,
            patience: Patience::default(),
            underway,
            tally: Mutex::default(),
            not_before: Mutex::new(Instant::now()),
            denied: AtomicBool::new(false),
        }
    }

    /// The same, but the server only says whether it would.
    pub(super) fn rehearsing(self) -> Self {
        Self { dry_run: true, ..self }
    }

    /// The same with another patience.
    #[cfg(test)]
    pub(super) fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Wishes all of `pods` away, `parallel` at a time.
    pub(super) async fn to(
        mut self,
        pods: &[PodRef],
        parallel: u32,
    ) -> Result<Performed, PerformError> {
        self.of = pods.len();
        let end = Instant::now()
            + match self.wish {
                Wish::Delete { .. } => Duration::ZERO,
                Wish::Evict { within, .. } => within,
            };
        let mut left: Vec<&PodRef> = pods.iter().collect();
        loop {
            let blocked = self.round(&left, parallel).await;
            let Some((pod, why)) = blocked.first() else { return self.ended() };
            if self.stop().is_requested() || self.denied.load(Ordering::SeqCst) {
                return self.ended();
            }
            if Instant::now() + self.patience.budget_pause > end {
                return Err(self.kept_by_budgets(&blocked));
            }
            let name = format!("{}/{}", pod.namespace, pod.name);
            self.underway.tell(format!("{}; {name} may not go yet: {why}", self.how_far()));
            tokio::select! {
                biased;
                () = self.stop().requested() => return self.ended(),
                () = tokio::time::sleep(self.patience.budget_pause) => {}
            }
            left = blocked.into_iter().map(|(pod, _)| pod).collect();
        }
    }

    /// One attempt for each; those that their budgets keep, in their order.
    async fn round<'p>(&self, pods: &[&'p PodRef], parallel: u32) -> Vec<(&'p PodRef, String)> {
        let parallel = usize::try_from(parallel).unwrap_or(1).max(1);
        let mut blocked = Vec::new();
        let attempts = pods.iter().map(|pod| async move { (*pod, self.one(pod).await) });
        let mut ended = stream::iter(attempts).buffer_unordered(parallel);
        while let Some((pod, end)) = ended.next().await {
            match self.count(end) {
                Some(why) => blocked.push((pod, why)),
                None => self.tell(),
            }
        }
        blocked.sort_by_key(|(pod, _)| *pod);
        blocked
    }

    /// Wishes one pod away, again and again while the server is busy.
    async fn one(&self, pod: &PodRef) -> End {
        let began = Instant::now();
        let mut pause = self.patience.first_pause;
        loop {
            if !self.may_ask().await {
                return End::Left;
            }
            let (why, after, unclear) = match self.ask(pod).await {
                Ok(PodAnswer::Accepted) => return End::Accepted,
                Ok(PodAnswer::Gone | PodAnswer::Replaced) => return End::Gone,
                Ok(PodAnswer::Budget(why)) => return End::Blocked(why),
                Ok(PodAnswer::Busy { why, after }) => (why, after, false),
                Err(error) if is_denial(&error) => {
                    self.denied.store(true, Ordering::SeqCst);
                    return End::Failed(error.to_string());
                }
                Err(error @ (ApiError::Unreachable { .. } | ApiError::TimedOut { .. })) => {
                    (error.to_string(), None, true)
                }
                Err(error) => return End::Failed(error.to_string()),
            };
            let wait = after.unwrap_or(pause).min(self.patience.longest_pause);
            if began.elapsed() + wait > self.patience.limit {
                return if unclear { End::Unclear(why) } else { End::Failed(why) };
            }
            self.underway.tell(format!("{}; waiting {} s: {why}", self.how_far(), wait.as_secs()));
            if after.is_some() {
                // It asked us, not only this request, to slow down.
                self.hold(Instant::now() + wait);
            } else {
                tokio::select! {
                    biased;
                    () = self.stop().requested() => return End::Left,
                    () = tokio::time::sleep(wait) => {}
                }
                pause = (pause * 2).min(self.patience.longest_pause);
            }
        }
    }

    async fn ask(&self, pod: &PodRef) -> Result<PodAnswer, ApiError> {
        match self.wish {
            Wish::Delete { grace_seconds } => {
                self.cluster.delete_pod(pod, grace_seconds, self.dry_run).await
            }
            Wish::Evict { grace_seconds, .. } => {
                self.cluster.evict_pod(pod, grace_seconds, self.dry_run).await
            }
        }
    }

    /// Waits until the server wants to be asked again; false when nothing more is to be asked.
    async fn may_ask(&self) -> bool {
        loop {
            if self.stop().is_requested() || self.denied.load(Ordering::SeqCst) {
                return false;
            }
            let until = *lock(&self.not_before);
            if until <= Instant::now() {
                return true;
            }
            tokio::select! {
                biased;
                () = self.stop().requested() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    fn hold(&self, until: Instant) {
        let mut not_before = lock(&self.not_before);
        *not_before = until.max(*not_before);
    }

    fn stop(&self) -> &Stop {
        self.underway.stop()
    }

    /// Counts an end; why, when a budget keeps the pod.
    fn count(&self, end: End) -> Option<String> {
        let mut tally = lock(&self.tally);
        match end {
            End::Blocked(why) => return Some(why),
            End::Left => {}
            End::Accepted => tally.accepted += 1,
            End::Gone => tally.gone += 1,
            End::Failed(why) => {
                tally.failures += 1;
                tally.reasons.push(why);
            }
            End::Unclear(why) => {
                tally.unclear += 1;
                tally.reasons.push(why);
            }
        }
        tally.reasons.truncate(REASONS);
        None
    }

    fn tell(&self) {
        let is_due = {
            let mut tally = lock(&self.tally);
            let is_due = tally.told.is_none_or(|told| told.elapsed() >= TELL);
            if is_due {
                tally.told = Some(Instant::now());
            }
            is_due
        };
        if is_due {
            self.underway.tell(self.how_far());
        }
    }

    /// `1,204 of 3,000 deleted`; what was gone already counts.
    fn how_far(&self) -> String {
        let done = {
            let tally = lock(&self.tally);
            tally.accepted + tally.gone
        };
        let done_so = match (&self.wish, self.dry_run) {
            (Wish::Delete { .. }, false) => "deleted",
            (Wish::Delete { .. }, true) => "may be deleted",
            (Wish::Evict { .. }, false) => "evicted",
            (Wish::Evict { .. }, true) => "may be evicted",
        };
        format!("{} of {} {done_so}", number(done), number(self.of))
    }

    fn ended(&self) -> Result<Performed, PerformError> {
        let how_far = self.how_far();
        let tally = lock(&self.tally);
        let failed = tally.failures + tally.unclear;
        if failed > 0 {
            let told = tally.reasons.join("; ");
            let more = match failed.saturating_sub(tally.reasons.len()) {
                0 => String::new(),
                more => format!("; and {} more", number(more)),
            };
            let why = format!("{how_far}; {told}{more}");
            return Err(match tally.failures {
                0 => PerformError::Unclear(why),
                _ => PerformError::Rejected(why),
            });
        }
        if tally.accepted + tally.gone < self.of {
            return Err(PerformError::Stopped(how_far));
        }
        if tally.accepted == 0 {
            let all = if self.of == 1 { "it is" } else { "all are" };
            return Ok(Performed::AlreadyRight(format!("{all} gone already")));
        }
        Ok(Performed::Acted)
    }

    fn kept_by_budgets(&self, blocked: &[(&PodRef, String)]) -> PerformError {
        let told: Vec<String> = blocked
            .iter()
            .take(REASONS)
            .map(|(pod, why)| format!("{}/{}: {why}", pod.namespace, pod.name))
            .collect();
        let more = match blocked.len().saturating_sub(REASONS) {
            0 => String::new(),
            more => format!("; and {} more", number(more)),
        };
        let kept = counted(blocked.len(), "pod");
        let how_far = self.how_far();
        PerformError::Rejected(format!(
            "{how_far}; disruption budgets keep {kept}: {}{more}",
            told.join("; ")
        ))
    }
}

/// What no other pod would fare better with.
fn is_denial(error: &ApiError) -> bool {
    matches!(
        error,
        ApiError::Forbidden { .. }
            | ApiError::Unauthorized { .. }
            | ApiError::CertificateNotTrusted { .. }
    )
}

/// Nobody panics while holding one of these.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
#[path = "pods_tests.rs"]
mod tests;
