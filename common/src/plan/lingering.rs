//! Pods that are to go and still exist: what they wait for.

use jiff::{SignedDuration, Timestamp};

use super::{PodRef, Verdict, describe};

/// A pod that is to go and still exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LingeringPod {
    /// The pod.
    pub pod: PodRef,
    /// True while its deletion is under way.
    pub is_terminating: bool,
    /// Who must act before it can go.
    pub finalizers: Vec<String>,
    /// When its deletion was asked for.
    pub since: Option<Timestamp>,
    /// When it is to have stopped: its kubelet kills then what still runs.
    pub due: Option<Timestamp>,
    /// How many of its containers run, as its kubelet last said; none when only its metadata was read.
    pub running: Option<usize>,
}

/// The kubelet needs this long to kill what is overdue.
const KILLED_AFTER: SignedDuration = SignedDuration::from_secs(3);

/// Whether all of the awaited pods are gone, `left` being those that are not.
pub(super) fn pods_gone(of: usize, left: &[LingeringPod]) -> Verdict {
    if left.is_empty() {
        return Verdict::Met;
    }
    let told = |it: &LingeringPod| {
        let name = format!("{}/{}", it.pod.namespace, it.pod.name);
        match (it.finalizers.as_slice(), it.is_terminating) {
            (_, false) => format!("{name} is not being deleted"),
            ([], true) => format!("{name} still stops"),
            (finalizers, true) => format!("{name} waits for finalizer {}", finalizers.join(", ")),
        }
    };
    let mut text = left.iter().take(3).map(told).collect::<Vec<_>>().join("; ");
    if left.len() > 3 {
        text = format!("{text}; and {} more", describe::number(left.len() - 3));
    }
    let (left, of) = (describe::number(left.len()), describe::number(of));
    Verdict::NotYet(format!("{left} of {of} are still there: {text}"))
}

/// Whether each pod that is left has stopped, or had the time that it was given for that: until it is due, and no longer than
/// `at_most_seconds`.
pub(super) fn pods_stopped(left: &[LingeringPod], at_most_seconds: u32, now: Timestamp) -> Verdict {
    let at_most = SignedDuration::from_secs(i64::from(at_most_seconds));
    let passed = |from: Option<Timestamp>, by: SignedDuration| {
        from.is_some_and(|from| now.duration_since(from) >= by)
    };
    let why = |it: &LingeringPod| {
        let name = format!("{}/{}", it.pod.namespace, it.pod.name);
        if !it.is_terminating {
            return Some(format!("{name} is not being deleted"));
        }
        if it.running == Some(0) || passed(it.due, KILLED_AFTER) || passed(it.since, at_most) {
            return None;
        }
        Some(format!("{name} still stops"))
    };
    let mut waiting: Vec<String> = left.iter().filter_map(why).collect();
    if waiting.is_empty() {
        return Verdict::Met;
    }
    let more = waiting.len().saturating_sub(3);
    waiting.truncate(3);
    let more =
        if more > 0 { format!("; and {} more", describe::number(more)) } else { String::new() };
    Verdict::NotYet(format!("{}{more}", waiting.join("; ")))
}

/// Whether the deletion of all pods that are left is under way.
pub(super) fn pods_ending(left: &[LingeringPod]) -> Verdict {
    match left.iter().find(|it| !it.is_terminating) {
        None => Verdict::Met,
        Some(it) => {
            let name = format!("{}/{}", it.pod.namespace, it.pod.name);
            Verdict::NotYet(format!("{name} is not being deleted"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, is_terminating: bool, finalizers: &[&str]) -> LingeringPod {
        let pod = PodRef { namespace: "shop".into(), name: name.into(), uid: name.into() };
        let finalizers = finalizers.iter().map(|it| (*it).to_owned()).collect();
        LingeringPod { pod, is_terminating, finalizers, since: None, due: None, running: None }
    }

    /// A pod whose deletion was asked for at second 100, with so much time to stop.
    fn stopping(grace: i64, running: Option<usize>) -> LingeringPod {
        let at = |second| Timestamp::from_second(second).ok();
        LingeringPod { since: at(100), due: at(100 + grace), running, ..pod("a", true, &[]) }
    }

    #[test]
    fn pods_get_the_time_that_they_were_given() {
        let at = |second: i64, pod: LingeringPod| {
            pods_stopped(&[pod], 120, Timestamp::from_second(second).unwrap())
        };
        let waits = Verdict::NotYet("shop/a still stops".to_owned());
        assert_eq!(at(101, stopping(30, Some(0))), Verdict::Met, "it has stopped");
        assert_eq!(at(101, stopping(30, Some(2))), waits);
        assert_eq!(at(132, stopping(30, Some(2))), waits, "its kubelet is about to kill it");
        assert_eq!(at(133, stopping(30, Some(2))), Verdict::Met, "its kubelet says no more");
        assert_eq!(at(132, stopping(30, None)), waits, "nobody looked");
        assert_eq!(at(219, stopping(3600, Some(1))), waits);
        assert_eq!(at(220, stopping(3600, Some(1))), Verdict::Met, "no longer than we want");
        let alive = LingeringPod { is_terminating: false, ..stopping(0, Some(0)) };
        assert!(
            matches!(at(500, alive), Verdict::NotYet(why) if why.contains("not being deleted"))
        );
        assert_eq!(pods_stopped(&[], 120, Timestamp::UNIX_EPOCH), Verdict::Met);
    }

    #[test]
    fn what_each_pod_waits_for_is_told_of_the_first_three() {
        assert_eq!(pods_gone(3000, &[]), Verdict::Met);
        let mut left = vec![
            pod("a", false, &[]),
            pod("b", true, &[]),
            pod("c", true, &["batch.kubernetes.io/job-tracking"]),
        ];
        let text = "3 of 3,000 are still there: shop/a is not being deleted; shop/b still stops; \
                    shop/c waits for finalizer batch.kubernetes.io/job-tracking";
        assert_eq!(pods_gone(3000, &left), Verdict::NotYet(text.into()));
        left.push(pod("d", true, &[]));
        let Verdict::NotYet(text) = pods_gone(3000, &left) else { panic!() };
        assert!(text.starts_with("4 of 3,000") && text.ends_with("; and 1 more"), "{text}");
    }

    #[test]
    fn pods_end_once_they_are_deleted() {
        assert_eq!(pods_ending(&[pod("a", true, &[])]), Verdict::Met);
        let left = [pod("a", true, &[]), pod("b", false, &[])];
        let why = "shop/b is not being deleted".to_owned();
        assert_eq!(pods_ending(&left), Verdict::NotYet(why));
    }
}
