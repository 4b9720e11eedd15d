//! What a run wants of its node pods.

use std::time::Duration;

use crate::calico::names::MANIFEST_NAMESPACE;
use crate::plan::PlanId;

/// What node pods are for. It is their label `kubectl-calico/op`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Looking.
    Inspect,
    /// Changing what a plan says.
    Repair,
}

impl Op {
    /// The label's value.
    pub fn word(self) -> &'static str {
        match self {
            Self::Inspect => "inspect",
            Self::Repair => "repair",
        }
    }

    /// Time after which the kubelet ends a pod, whatever became of us.
    pub fn deadline(self) -> Duration {
        match self {
            Self::Inspect => Duration::from_secs(300),
            Self::Repair => Duration::from_secs(900),
        }
    }
}

/// Which image node pods run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageChoice {
    /// One that is on the node already; nothing is ever pulled. What it contains does not matter.
    OnNode,
    /// This one, which is pulled when it is absent.
    Named(String),
}

/// What a run wants of its node pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePodOptions {
    /// The run that they belong to.
    pub run: PlanId,
    /// What they are for.
    pub op: Op,
    /// Namespaces to try, best first (see [`candidate_namespaces`]).
    pub namespaces: Vec<String>,
    /// Who the API server says we are, for those who find a pod.
    pub user: String,
    /// What the user asked for, e.g. `kubectl calico-doctor check --probe`. It is kept in an annotation: no secrets.
    pub reason: String,
    /// Time after which the kubelet ends a pod.
    pub deadline: Duration,
    /// The image.
    pub image: ImageChoice,
    /// Pods that are started at once, at most.
    pub max_parallel: usize,
    /// Field manager of what is created, `kubectl-calico-<plugin>`.
    pub field_manager: String,
}

/// Node pods at a time, unless the user says otherwise.
pub const DEFAULT_MAX_PARALLEL: usize = 20;

impl NodePodOptions {
    /// The usual options for `op`.
    pub fn new(run: PlanId, op: Op, namespaces: Vec<String>) -> Self {
        Self {
            run,
            op,
            namespaces,
            user: String::new(),
            reason: String::new(),
            deadline: op.deadline(),
            image: ImageChoice::OnNode,
            max_parallel: DEFAULT_MAX_PARALLEL,
            field_manager: "kubectl-calico".to_owned(),
        }
    }
}

/// Namespaces that admit privileged pods in practically every cluster, best first: those of calico-node, then
/// kube-system, which admission plugins usually exempt. A namespace `given` by the user is the only one.
pub fn candidate_namespaces(of_calico_node: &[String], given: Option<&str>) -> Vec<String> {
    if let Some(given) = given {
        return vec![given.to_owned()];
    }
    let mut namespaces = of_calico_node.to_vec();
    namespaces.push(MANIFEST_NAMESPACE.to_owned());
    let mut seen = std::collections::BTreeSet::new();
    namespaces.retain(|namespace| seen.insert(namespace.clone()));
    namespaces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calicos_namespace_goes_first_and_a_given_one_alone() {
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            candidate_namespaces(&of(&["calico-system"]), None),
            ["calico-system", "kube-system"]
        );
        assert_eq!(candidate_namespaces(&of(&["kube-system"]), None), ["kube-system"]);
        assert_eq!(candidate_namespaces(&of(&["a"]), Some("b")), ["b"]);
    }
}
