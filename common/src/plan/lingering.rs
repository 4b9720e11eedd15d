//! Pods that are to go and still exist: what they wait for.

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
}

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
        LingeringPod { pod, is_terminating, finalizers }
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
