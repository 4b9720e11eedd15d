//! Finished pods by owner and cause. Of those that are kept only the number is remembered.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Choice, Kept, Pick};
use crate::plan::PodRef;
use crate::slim::Pod;

/// Who made a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// Namespace.
    pub namespace: String,
    /// Kind of its controller; empty for nobody.
    pub kind: String,
    /// The controller's name; empty for nobody.
    pub name: String,
}

impl Owner {
    /// The controller of `pod`.
    pub fn of(pod: &Pod) -> Self {
        let namespace = pod.metadata.namespace.clone();
        match pod.metadata.controller() {
            Some(owner) => Self { namespace, kind: owner.kind.clone(), name: owner.name.clone() },
            None => Self { namespace, ..Self::default() },
        }
    }

    /// True when no controller owns the pod.
    pub fn is_nobody(&self) -> bool {
        self.kind.is_empty()
    }

    /// True for its `NAME` and its `KIND/NAME`.
    pub fn is_called(&self, wanted: &str) -> bool {
        match wanted.split_once('/') {
            Some((kind, name)) => self.kind.eq_ignore_ascii_case(kind) && self.name == name,
            None => !self.is_nobody() && self.name == wanted,
        }
    }

    /// `ReplicaSet shop/web`, `nobody in shop`
    pub fn text(&self) -> String {
        if self.is_nobody() {
            format!("nobody in {}", self.namespace)
        } else {
            format!("{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// Pods of one owner that ended for one cause and are treated alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// How many there are.
    pub count: usize,
    /// When the oldest was created.
    pub oldest: Option<Timestamp>,
    /// Those that are removed; none of those that are kept.
    pub pods: Vec<PodRef>,
}

/// Everything that was found so far.
#[derive(Clone, Debug, Default)]
pub struct Flood {
    groups: BTreeMap<(Owner, String, Option<Kept>), Group>,
}

impl Flood {
    /// Adds a pod, if `choice` is about it.
    pub fn add(&mut self, pod: &Pod, choice: &Choice, now: Timestamp) {
        let Pick::Grouped { owner, cause, kept } = choice.pick(pod, now) else { return };
        let is_removed = kept.is_none();
        let group = self.groups.entry((owner, cause, kept)).or_default();
        group.count += 1;
        group.oldest = [group.oldest, pod.metadata.creation_timestamp].into_iter().flatten().min();
        if is_removed {
            group.pods.push(PodRef {
                namespace: pod.metadata.namespace.clone(),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            });
        }
    }

    /// The groups by owner and cause: what is removed, and what is kept for which reason.
    pub fn groups(&self) -> impl Iterator<Item = (&Owner, &str, Option<Kept>, &Group)> {
        self.groups
            .iter()
            .map(|((owner, cause, kept), group)| (owner, cause.as_str(), *kept, group))
    }

    /// The pods that are removed, by owner.
    pub fn removed(&self) -> BTreeMap<&Owner, Vec<&PodRef>> {
        let mut removed: BTreeMap<&Owner, Vec<&PodRef>> = BTreeMap::new();
        for (owner, _, kept, group) in self.groups() {
            if kept.is_none() {
                removed.entry(owner).or_default().extend(&group.pods);
            }
        }
        removed
    }

    /// Numbers of pods that are removed, and kept.
    pub fn counts(&self) -> (usize, usize) {
        self.groups().fold((0, 0), |(removed, left), (_, _, kept, group)| match kept {
            None => (removed + group.count, left),
            Some(_) => (removed, left + group.count),
        })
    }

    /// Forgets everything: the list was begun anew.
    pub fn clear(&mut self) {
        self.groups.clear();
    }
}
