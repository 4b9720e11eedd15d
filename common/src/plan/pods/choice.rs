//! Which finished pods are removed, which are kept, and for what reason.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::Owner;
use crate::slim::{ContainerStatus, Pod};

/// A pod younger than this is kept: whoever looks for what just failed finds it.
const YOUNG: SignedDuration = SignedDuration::from_secs(60);
/// The kubelet's mark on pods that stand for files on its node: deleting them there does not remove them.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// What the user wants to be removed.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Also pods of Jobs, which a Job's own history limits otherwise.
    pub jobs: bool,
    /// Also pods that no controller owns.
    pub bare: bool,
    /// Also pods that ended well.
    pub completed: bool,
    /// Only pods of this owner: `NAME` or `KIND/NAME`.
    pub owner: Option<String>,
    /// Only pods with this reason: `Evicted`, `ContainerStatusUnknown`, `OOMKilled` …
    pub reason: Option<String>,
}

/// Why a finished pod is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kept {
    /// It belongs to a Job, and `--jobs` was not given.
    Job,
    /// No controller owns it, and `--bare` was not given.
    Bare,
    /// It is too young.
    Young,
    /// It is being deleted already.
    Terminating,
    /// It stands for a file on its node.
    Mirror,
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// It is removed, or kept, and belongs to the group of this owner and cause.
    Grouped {
        /// Who made it.
        owner: Owner,
        /// Why it ended, as `kubectl get pods` shows it.
        cause: String,
        /// Why it is kept; none when it is removed.
        kept: Option<Kept>,
    },
    /// It is none of those that were asked for.
    Other,
}

impl Kept {
    /// For a person, with the flag that changes it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Job => "kept: a Job's history (--jobs removes it)",
            Self::Bare => "kept: no controller owns it (--bare removes it)",
            Self::Young => "kept: younger than a minute",
            Self::Terminating => "being deleted already (see --stuck)",
            Self::Mirror => "kept: stands for a file on its node",
        }
    }
}

impl Choice {
    /// What becomes of `pod`. Only a pod that has ended for good is ever removed.
    pub fn pick(&self, pod: &Pod, now: Timestamp) -> Pick {
        let is_wanted = match pod.status.phase.as_str() {
            "Failed" => true,
            "Succeeded" => self.completed,
            _ => false,
        };
        let owner = Owner::of(pod);
        if !is_wanted || !self.is_about(pod, &owner) {
            return Pick::Other;
        }
        let kept = self.kept(pod, &owner, now);
        Pick::Grouped { owner, cause: cause(pod), kept }
    }

    fn is_about(&self, pod: &Pod, owner: &Owner) -> bool {
        let reason = self
            .reason
            .as_deref()
            .is_none_or(|wanted| reasons(pod).any(|it| it.eq_ignore_ascii_case(wanted)));
        reason && self.owner.as_deref().is_none_or(|wanted| owner.is_called(wanted))
    }

    fn kept(&self, pod: &Pod, owner: &Owner, now: Timestamp) -> Option<Kept> {
        if pod.metadata.annotations.contains_key(MIRROR_ANNOTATION) || owner.kind == "Node" {
            return Some(Kept::Mirror);
        }
        if pod.is_terminating() {
            return Some(Kept::Terminating);
        }
        if owner.is_nobody() && !self.bare {
            return Some(Kept::Bare);
        }
        if owner.kind == "Job" && !self.jobs {
            return Some(Kept::Job);
        }
        // A pod of unknown age may be young.
        let is_old = pod
            .metadata
            .creation_timestamp
            .is_some_and(|created| now.duration_since(created) >= YOUNG);
        (!is_old).then_some(Kept::Young)
    }
}

/// Every word that tells why it ended.
fn reasons(pod: &Pod) -> impl Iterator<Item = &str> {
    let ended = containers(pod).filter_map(|it| it.state.terminated.as_ref());
    let of_containers = ended.map(|it| it.reason.as_str());
    let disrupted = pod.condition("DisruptionTarget").map(|it| it.reason.as_str());
    [pod.status.reason.as_str(), pod.status.phase.as_str()]
        .into_iter()
        .chain(of_containers)
        .chain(disrupted)
        .filter(|it| !it.is_empty())
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.container_statuses.iter().chain(&pod.status.init_container_statuses)
}

/// As `kubectl get pods` shows it, a container's reason before the pod's, with the pod's own behind it.
fn cause(pod: &Pod) -> String {
    let ended = || containers(pod).filter_map(|it| it.state.terminated.as_ref());
    let badly = ended().find(|it| it.exit_code != Some(0) && !it.reason.is_empty());
    let container = badly.or_else(|| ended().find(|it| !it.reason.is_empty()));
    let own = pod.status.reason.as_str();
    match container.map(|it| it.reason.as_str()) {
        Some(reason) if own.is_empty() || own == reason => reason.to_owned(),
        Some(reason) => format!("{reason} ({own})"),
        None if !own.is_empty() => own.to_owned(),
        None if pod.status.phase == "Succeeded" => "Completed".to_owned(),
        None => pod.status.phase.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slim::{ContainerState, OwnerReference, StateDetail};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn pod(kind: &str, phase: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.namespace = "shop".into();
        pod.metadata.creation_timestamp = Some(at(-600));
        pod.status.phase = phase.into();
        if !kind.is_empty() {
            pod.metadata.owner_references.push(OwnerReference {
                kind: kind.into(),
                name: "web".into(),
                controller: true,
                ..OwnerReference::default()
            });
        }
        pod
    }

    fn ended(reason: &str, exit_code: i64) -> ContainerStatus {
        let terminated = Some(StateDetail {
            reason: reason.into(),
            exit_code: Some(exit_code),
            ..StateDetail::default()
        });
        let state = ContainerState { terminated, ..ContainerState::default() };
        ContainerStatus { state, ..ContainerStatus::default() }
    }

    fn kept(choice: &Choice, pod: &Pod) -> Option<Result<(), Kept>> {
        match choice.pick(pod, at(0)) {
            Pick::Grouped { kept, .. } => Some(kept.map_or(Ok(()), Err)),
            Pick::Other => None,
        }
    }

    #[test]
    fn only_what_has_ended_is_removed() {
        let usual = Choice::default();
        assert_eq!(kept(&usual, &pod("ReplicaSet", "Failed")), Some(Ok(())));
        for phase in ["Running", "Pending", "Unknown", "", "Succeeded"] {
            assert_eq!(kept(&usual, &pod("ReplicaSet", phase)), None, "{phase}");
        }
        let all = Choice { completed: true, jobs: true, bare: true, ..Choice::default() };
        assert_eq!(kept(&all, &pod("ReplicaSet", "Succeeded")), Some(Ok(())));
        // A container that is lost while its pod runs on is none of our business.
        let mut running = pod("ReplicaSet", "Running");
        running.status.container_statuses.push(ended("ContainerStatusUnknown", 137));
        assert_eq!(kept(&all, &running), None);
    }

    #[test]
    fn jobs_bare_pods_and_young_ones_are_kept_without_a_flag() {
        let usual = Choice::default();
        let all = Choice { jobs: true, bare: true, ..Choice::default() };
        for (pod, why) in [(pod("Job", "Failed"), Kept::Job), (pod("", "Failed"), Kept::Bare)] {
            assert_eq!(kept(&usual, &pod), Some(Err(why)));
            assert_eq!(kept(&all, &pod), Some(Ok(())));
        }
        for created in [Some(at(-59)), None] {
            let mut young = pod("ReplicaSet", "Failed");
            young.metadata.creation_timestamp = created;
            assert_eq!(kept(&all, &young), Some(Err(Kept::Young)));
        }
        let mut going = pod("ReplicaSet", "Failed");
        going.metadata.deletion_timestamp = Some(at(-5));
        assert_eq!(kept(&all, &going), Some(Err(Kept::Terminating)));
        assert_eq!(kept(&all, &pod("Node", "Failed")), Some(Err(Kept::Mirror)));
    }

    #[test]
    fn the_cause_is_the_word_that_kubectl_shows() {
        let mut it = pod("ReplicaSet", "Failed");
        assert_eq!(cause(&it), "Failed");
        it.status.reason = "Evicted".into();
        assert_eq!(cause(&it), "Evicted");
        it.status.container_statuses.push(ended("Completed", 0));
        it.status.container_statuses.push(ended("ContainerStatusUnknown", 137));
        assert_eq!(cause(&it), "ContainerStatusUnknown (Evicted)");
        assert_eq!(cause(&pod("", "Succeeded")), "Completed");
        for reason in ["evicted", "ContainerStatusUnknown", "Failed"] {
            let choice = Choice { reason: Some(reason.into()), ..Choice::default() };
            assert_eq!(kept(&choice, &it), Some(Ok(())), "{reason}");
        }
        let choice = Choice { reason: Some("OOMKilled".into()), ..Choice::default() };
        assert_eq!(kept(&choice, &it), None);
    }

    #[test]
    fn an_owner_is_named_with_or_without_its_kind() {
        for (wanted, is) in
            [("web", true), ("replicaset/web", true), ("Job/web", false), ("replicaset/we", false)]
        {
            let choice = Choice { owner: Some(wanted.into()), ..Choice::default() };
            assert_eq!(kept(&choice, &pod("ReplicaSet", "Failed")).is_some(), is, "{wanted}");
        }
    }
}
