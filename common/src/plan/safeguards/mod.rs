//! Reasons not to take Calico off a node: one file per guard. A guard that blocks is overridden only by its own code;
//! what a guard cannot tell blocks as well.

mod alive;
mod circumstances;
mod control_plane;
mod disruption;
mod ebpf;
mod enterprise;
#[cfg(test)]
pub(in crate::plan) mod fixtures;
mod lost_pods;
mod migration;
mod multus;
mod operator;
mod other_network;
mod own_way;
mod owned;
mod policy_only;
mod schedulable;
mod workloads;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::findings::{Code, Evidence};
use crate::snapshot::{Gap, Known, Snapshot};

pub use crate::calico::FelixConfiguration;
pub use circumstances::{
    Budget, Circumstances, HelmChart, Installation, LabelSelector, NodeAgent, Service,
    excluded_affinity,
};
pub use control_plane::is_control_plane;
pub use workloads::{daemon_pods, movable_pods};

/// What is about to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    /// The nodes that Calico is to be taken off.
    pub nodes: BTreeSet<String>,
    /// Whether what pods keep in `emptyDir` volumes may be lost.
    pub delete_empty_dirs: bool,
    /// URL of the API server, as the kubeconfig says it.
    pub server: String,
}

/// Everything that a guard judges by.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// What is about to be done.
    pub intent: &'a Intent,
    /// The cluster.
    pub snapshot: &'a Snapshot,
    /// What else had to be asked for the guards.
    pub circumstances: &'a Circumstances,
}

/// What a guard says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing speaks against it.
    Pass,
    /// It would do harm, for these reasons.
    Block(Vec<Evidence>),
    /// It cannot be told, which is no reason to go on.
    Unknown(Gap),
}

/// A reason not to do it.
#[derive(Clone, Copy, Debug)]
pub struct Safeguard {
    /// `CAL-GRD-001`: stable, unique, never reused.
    pub code: Code,
    /// What is wrong when it blocks, in a few words.
    pub title: &'static str,
    /// What it protects, and what to do instead.
    pub explain: &'static str,
    /// Judges.
    pub run: fn(&Situation<'_>) -> Verdict,
}

/// What `node --all-state` asks, by code. Each can be overridden by its code.
pub const OF_ALL_STATE: [&Safeguard; 13] = [
    &schedulable::GUARD,
    &control_plane::GUARD,
    &other_network::GUARD,
    &multus::GUARD,
    &owned::GUARD,
    &ebpf::GUARD,
    &policy_only::GUARD,
    &migration::GUARD,
    &lost_pods::GUARD,
    &disruption::GUARD,
    &operator::GUARD,
    &enterprise::GUARD,
    &own_way::GUARD,
];

/// What `leftovers --remove` asks. Nothing overrides it.
pub const OF_LEFTOVERS: [&Safeguard; 1] = [&alive::GUARD];

/// A guard that does not let it be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Objection {
    /// Code of the guard.
    pub code: String,
    /// What is wrong, in a few words.
    pub title: String,
    /// Where that was seen.
    pub evidence: Vec<Evidence>,
    /// What could not be read, when that is all that is wrong.
    pub unknown: Option<Gap>,
}

/// All guards, by code.
pub fn all() -> impl Iterator<Item = &'static Safeguard> {
    OF_ALL_STATE.into_iter().chain(OF_LEFTOVERS)
}

/// The guard with this code.
pub fn find(code: &str) -> Option<&'static Safeguard> {
    all().find(|guard| guard.code.0.eq_ignore_ascii_case(code))
}

impl Safeguard {
    /// Whether its code overrides it.
    pub fn is_overridable(&self) -> bool {
        OF_ALL_STATE.iter().any(|it| it.code == self.code)
    }

    fn objection(&self, situation: &Situation<'_>) -> Option<Objection> {
        let (evidence, unknown) = match (self.run)(situation) {
            Verdict::Pass => return None,
            Verdict::Block(evidence) => (evidence, None),
            Verdict::Unknown(gap) => (Vec::new(), Some(gap)),
        };
        let (code, title) = (self.code.0.to_owned(), self.title.to_owned());
        Some(Objection { code, title, evidence, unknown })
    }
}

/// What the guards of `node --all-state` object to, except those that are overridden by their codes; by code.
pub fn objections(situation: &Situation<'_>, forced: &BTreeSet<Code>) -> Vec<Objection> {
    let asked = OF_ALL_STATE.into_iter().filter(|guard| !forced.contains(&guard.code));
    asked.filter_map(|guard| guard.objection(situation)).collect()
}

/// What the guards of `leftovers --remove` object to.
pub fn objections_to_removal(situation: &Situation<'_>) -> Vec<Objection> {
    OF_LEFTOVERS.into_iter().filter_map(|guard| guard.objection(situation)).collect()
}

/// Blocks when there is any evidence.
fn blocked_by(evidence: Vec<Evidence>) -> Verdict {
    if evidence.is_empty() { Verdict::Pass } else { Verdict::Block(evidence) }
}

/// The value to judge by. What was looked for and is not there is like none at all.
fn told<T: Clone + Default>(fact: &Known<T>) -> Result<std::borrow::Cow<'_, T>, Gap> {
    match fact {
        Known::Known(value) => Ok(std::borrow::Cow::Borrowed(value)),
        Known::Absent => Ok(std::borrow::Cow::Owned(T::default())),
        Known::Unknown(gap) => Err(gap.clone()),
    }
}

/// A guard whose facts may be missing.
fn judged(evidence: Result<Vec<Evidence>, Gap>) -> Verdict {
    match evidence {
        Ok(evidence) => blocked_by(evidence),
        Err(gap) => Verdict::Unknown(gap),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fixtures::Scene;

    #[test]
    fn codes_are_in_order_and_unique() {
        let codes: Vec<String> = all().map(|guard| guard.code.0.to_owned()).collect();
        let expected: Vec<String> = (1..=codes.len()).map(|n| format!("CAL-GRD-{n:03}")).collect();
        assert_eq!(codes, expected);
        for guard in all() {
            assert!(guard.explain.trim_end().ends_with('.'), "{}", guard.code);
            assert!(!guard.title.ends_with('.') && guard.title.len() < 90, "{}", guard.title);
        }
        assert_eq!(find("cal-grd-004").map(|it| it.code.0), Some("CAL-GRD-004"));
        assert!(find("CAL-GRD-000").is_none());
        assert!(find("CAL-GRD-013").unwrap().is_overridable());
        assert!(!find("CAL-GRD-014").unwrap().is_overridable());
    }

    #[test]
    fn an_ordinary_worker_may_be_left() {
        assert_eq!(Scene::seen().objections(), Vec::<String>::new());
    }

    #[test]
    fn one_code_overrides_one_guard() {
        let mut scene = Scene::seen();
        scene.snapshot.nodes.items[0].spec.unschedulable = true;
        scene.intent.server = "https://kubernetes.default.svc".into();
        assert_eq!(scene.objections(), ["CAL-GRD-001", "CAL-GRD-013"]);
        let forced = BTreeSet::from([Code("CAL-GRD-001")]);
        let left = objections(&scene.situation(), &forced);
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left[0].code, "CAL-GRD-013");
    }

    #[test]
    fn what_nobody_could_read_blocks() {
        let mut scene = Scene::new();
        scene.circumstances = Circumstances::default();
        let found = objections(&scene.situation(), &BTreeSet::new());
        let codes: Vec<&str> = found.iter().map(|it| it.code.as_str()).collect();
        assert_eq!(
            codes,
            [
                "CAL-GRD-003",
                "CAL-GRD-004",
                "CAL-GRD-005",
                "CAL-GRD-006",
                "CAL-GRD-007",
                "CAL-GRD-010",
                "CAL-GRD-012",
                "CAL-GRD-013"
            ]
        );
        assert!(found.iter().all(|it| it.evidence.is_empty() && it.unknown.is_some()));
    }
}
