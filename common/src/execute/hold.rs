//! Watches that something stays true.

use std::time::{Duration, Instant};

use super::hosts::Hosts;
use super::observe::Observer;
use super::{PerformError, Performed, Underway};
use crate::cluster::Cluster;
use crate::plan::{Condition, Observed, Verdict, describe, judge};
use crate::snapshot::{Gap, GapReason};

/// Time between two looks.
const POLL: Duration = Duration::from_secs(2);
/// So long may what is watched be out of sight.
const UNSEEN: Duration = Duration::from_secs(60);

/// So many looks in a row must show it untrue: an interface that goes while it is looked at must not end a run.
const LOOKS: u32 = 3;

/// Looks again and again, and fails when it is seen to be untrue. What cannot be seen is no proof of either.
pub(super) async fn hold<H: Hosts>(
    cluster: &Cluster,
    hosts: &H,
    (condition, time): (&Condition, Duration),
    underway: &Underway<'_>,
) -> Result<Performed, PerformError> {
    let began = Instant::now();
    let mut untrue = 0;
    loop {
        let seen = Observer::new(cluster, hosts).observe(condition, cluster.now()).await;
        let left = time.saturating_sub(began.elapsed());
        let verdict = judge(condition, &seen);
        let is_untrue = matches!(verdict, Verdict::NotYet(_)) && !is_unseen(&seen);
        untrue = if is_untrue { untrue + 1 } else { 0 };
        match verdict {
            Verdict::NotYet(why) if untrue >= LOOKS => {
                let what = describe::condition(condition);
                return Err(PerformError::Rejected(format!("not true any more: {what}: {why}")));
            }
            Verdict::Failed(why) => return Err(PerformError::Rejected(why)),
            Verdict::Met if left.is_zero() => return Ok(Performed::Acted),
            Verdict::Met | Verdict::NotYet(_) | Verdict::Forbidden(_) => {}
        }
        // Nobody saw it untrue, and nobody saw it true in the end.
        if began.elapsed() > time + UNSEEN {
            let what = describe::condition(condition);
            return Err(PerformError::Rejected(format!("cannot be watched: {what}")));
        }
        underway.tell(format!("{} s left", left.as_secs()));
        tokio::select! {
            biased;
            () = underway.stop().requested() => {
                return Err(PerformError::Stopped("the watch was given up".to_owned()));
            }
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// True when something that was to be looked at could not be.
fn is_unseen(seen: &Observed) -> bool {
    let asked = |gap: Option<&Gap>| gap.is_some_and(|gap| gap.why != GapReason::NotAsked);
    asked(seen.object.gap()) || asked(seen.pods.gap()) || is_node_unseen(seen)
}

/// A node whose calico-node starts anew at the moment cannot be looked at.
fn is_node_unseen(seen: &Observed) -> bool {
    match seen.data_planes.known() {
        Some(nodes) => nodes.values().any(|facts| facts.known().is_none()),
        None => seen.data_planes.gap().is_some_and(|gap| gap.why != GapReason::NotAsked),
    }
}
