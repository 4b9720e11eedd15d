//! Watches that something stays true.

use std::time::{Duration, Instant};

use super::hosts::Hosts;
use super::observe::Observer;
use super::{PerformError, Performed, Underway};
use crate::bpf::BpfFacts;
use crate::cluster::Cluster;
use crate::plan::{Condition, Observed, Verdict, describe, judge};
use crate::snapshot::{Gap, GapReason, Known};

/// Time between two looks.
const POLL: Duration = Duration::from_secs(2);
/// So long may what is watched be out of sight.
const UNSEEN: Duration = Duration::from_secs(60);

/// Looks again and again, and fails at the first look that shows it untrue. What cannot be seen is no proof of either.
pub(super) async fn hold<H: Hosts>(
    cluster: &Cluster,
    hosts: &H,
    (condition, time): (&Condition, Duration),
    underway: &Underway<'_>,
) -> Result<Performed, PerformError> {
    let began = Instant::now();
    loop {
        let seen = Observer::new(cluster, hosts).observe(condition, cluster.now()).await;
        let left = time.saturating_sub(began.elapsed());
        match judge(condition, &seen) {
            Verdict::NotYet(why) if !is_unseen(&seen) => {
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

/// A node whose calico-node starts anew at the moment cannot be looked at. One whose look came back without what tells its data
/// plane was not seen either.
fn is_node_unseen(seen: &Observed) -> bool {
    let is_unseen = |facts: &Known<BpfFacts>| match facts.known() {
        Some(facts) => facts.state().gap().is_some(),
        None => true,
    };
    match seen.data_planes.known() {
        Some(nodes) => nodes.values().any(is_unseen),
        None => seen.data_planes.gap().is_some_and(|gap| gap.why != GapReason::NotAsked),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn seen(facts: Known<BpfFacts>) -> Observed {
        let nodes = BTreeMap::from([("n".to_owned(), facts)]);
        let nothing = Observed::nothing(jiff::Timestamp::UNIX_EPOCH);
        Observed { data_planes: Known::Known(nodes), ..nothing }
    }

    #[test]
    fn a_look_that_does_not_tell_shows_nothing_untrue() {
        let gap = || Gap::new("nodes/n/bpf.txt", GapReason::Unreachable, "exit code 1");
        let scan = BpfFacts::from_scan("n", b"");
        let shown = BpfFacts { programs: Known::Known(BTreeMap::new()), ..scan };
        assert!(shown.state().gap().is_none() && !is_unseen(&seen(Known::Known(shown))));
        let half = BpfFacts::from_scan("n", b"@@programs rc=1 ms=1\n# eth0 ingress\n@@end\n");
        assert!(is_unseen(&seen(Known::Known(half))));
        assert!(is_unseen(&seen(Known::Unknown(gap()))) && is_unseen(&seen(Known::Absent)));
    }
}
