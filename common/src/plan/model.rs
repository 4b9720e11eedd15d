//! The types of a plan. All of them serialise, so that a plan can be printed, saved, diffed and reviewed.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use serde_json::Value;

use super::ebpf::ServiceProof;
use super::ipam::IpamChange;
use super::{Condition, HostOperation, JsonPatch, PodRef};

/// How freely a step may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Applicability {
    /// Harmless: no traffic is lost, nothing is lost.
    Safe,
    /// A person should know what it costs.
    Ask,
    /// Only a person can do it; we say how.
    Manual,
}

/// Identifies a plan and the run that carries it out. Sorts by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PlanId(pub String);

/// Identifies a step within its plan, e.g. `restart-calico-node/node2`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepId(pub String);

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The cluster that a plan was made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// `uid` of namespace kube-system.
    pub cluster_uid: String,
    /// kubeconfig context.
    pub context: String,
    /// kubeconfig cluster name.
    pub cluster_name: String,
    /// URL of the API server.
    pub server: String,
    /// Who the API server says we are.
    pub user: String,
}

/// Steps that repair findings, in an order that works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Identity of the plan and of the run.
    pub id: PlanId,
    /// Program, version and verb: `kubectl-calico-doctor/0.1.0 fix`.
    pub made_by: String,
    /// The cluster.
    pub target: Target,
    /// Time of the snapshot it rests on.
    pub taken: Timestamp,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Findings that no step repairs, and why.
    pub left_out: Vec<LeftOut>,
    /// So many nodes may fail before nothing more is begun. A step that fails ends the steps of its node and those that
    /// come after it; 1 means that it ends the run.
    #[serde(default = "one")]
    pub max_failures: u32,
}

/// The first failure ends the run, unless the plan says something else.
const fn one() -> u32 {
    1
}

/// A finding that no step repairs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// The finding.
    pub finding: String,
    /// Why, and what a person can do instead.
    pub why: String,
}

/// One action with everything around it. A step that cannot say how to verify and undo itself is no step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Identity within the plan.
    pub id: StepId,
    /// What it does, imperative: `restart calico-node on node2`.
    pub title: String,
    /// The node it acts on, if it acts on one.
    pub node: Option<String>,
    /// The action.
    pub action: Action,
    /// What must hold immediately before.
    pub guards: Vec<Guard>,
    /// How to take it back.
    pub undo: Undo,
    /// What must come true after, each within its time.
    pub verify: Vec<Verification>,
    /// Steps that must be done before.
    pub after: Vec<StepId>,
    /// Ids of the findings it repairs.
    pub resolves: Vec<String>,
    /// How freely it may be taken.
    pub applicability: Applicability,
}

/// Names an object of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// API group; empty for the core group.
    pub group: String,
    /// API version within the group.
    pub version: String,
    /// Plural, lower case.
    pub plural: String,
    /// Namespace; empty for cluster-wide objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// What a step does. A closed set: an executor that meets an unknown one refuses the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
#[non_exhaustive]
pub enum Action {
    /// Deletes an object, with its uid as precondition.
    #[serde(rename_all = "camelCase")]
    Delete {
        /// The object.
        object: ObjectRef,
        /// Its uid: another object of the same name is left alone.
        uid: String,
    },
    /// Works on a node's host, through an ephemeral privileged pod.
    #[serde(rename_all = "camelCase")]
    OnHost {
        /// The node.
        node: String,
        /// What is done there.
        operation: HostOperation,
    },
    /// Changes an object. Never one that holds a secret: the patch stands in the journal.
    #[serde(rename_all = "camelCase")]
    Patch {
        /// The object.
        object: ObjectRef,
        /// Its uid: another object of the same name is left alone.
        uid: String,
        /// What is changed, with the tests that guard it.
        patch: JsonPatch,
        /// `status`, when the change goes there; none for the object itself.
        subresource: Option<String>,
    },
    /// Asks for pods to be evicted, which their disruption budgets may delay.
    #[serde(rename_all = "camelCase")]
    Evict {
        /// The pods.
        pods: Vec<PodRef>,
        /// Seconds that each may take to stop; none for what its own spec says.
        grace_seconds: Option<u32>,
        /// Seconds that budgets may delay it.
        within_seconds: u64,
    },
    /// Deletes pods, each with its uid as precondition.
    #[serde(rename_all = "camelCase")]
    DeletePods {
        /// The pods.
        pods: Vec<PodRef>,
        /// Seconds that each may take to stop; none for what its own spec says. 0 forgets a pod without asking its node.
        grace_seconds: Option<u32>,
        /// So many requests at a time at most.
        max_parallel: u32,
    },
    /// Saves what a node has of Calico as a tar archive on this machine, before it is removed there.
    #[serde(rename_all = "camelCase")]
    BackUp {
        /// The node.
        node: String,
        /// Directory on this machine; the file is called after the node.
        directory: String,
    },
    /// Creates an object. One of its name that says the same is right already, any other is left alone.
    #[serde(rename_all = "camelCase")]
    Create {
        /// The object.
        object: ObjectRef,
        /// What it is to be, whole. Never one that holds a secret: it stands in the journal.
        manifest: Value,
    },
    /// Deletes an object that [`Action::Create`] made, while it still says what was written.
    #[serde(rename_all = "camelCase")]
    DeleteCreated {
        /// The object.
        object: ObjectRef,
        /// What was written.
        manifest: Value,
    },
    /// Deletes the pods of a Deployment, so that new ones read their environment anew.
    #[serde(rename_all = "camelCase")]
    RestartPods {
        /// The Deployment.
        workload: ObjectRef,
    },
    /// Makes a Service that no node knows yet, and proves that it and others answer from every node; then it goes again.
    #[serde(rename_all = "camelCase")]
    ProveServices {
        /// What is to answer, and from where.
        proof: ServiceProof,
    },
    /// Watches that something stays true, and changes nothing.
    #[serde(rename_all = "camelCase")]
    Hold {
        /// What must stay true.
        condition: Condition,
        /// For so many seconds.
        seconds: u64,
    },
    /// Changes what Calico IPAM stores.
    #[serde(rename_all = "camelCase")]
    Ipam {
        /// What.
        change: IpamChange,
    },
    /// Several actions, each only when the one before it is done.
    #[serde(rename_all = "camelCase")]
    Sequence {
        /// They, in order.
        actions: Vec<Action>,
    },
}

/// Requests at a time, when nobody asks for another number: quick, and far from what a small API server allows one user.
pub const DEFAULT_PARALLEL: u32 = 16;

/// What must hold immediately before a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
#[non_exhaustive]
pub enum Guard {
    /// The API server is the one of the plan: uid of namespace kube-system.
    #[serde(rename_all = "camelCase")]
    SameCluster {
        /// That uid.
        uid: String,
    },
    /// The object still is the one that was diagnosed.
    #[serde(rename_all = "camelCase")]
    SameUid {
        /// The object.
        object: ObjectRef,
        /// Its uid then.
        uid: String,
    },
    /// The workload that would put a deleted pod back still exists and is not being deleted.
    #[serde(rename_all = "camelCase")]
    OwnerExists {
        /// The DaemonSet.
        object: ObjectRef,
        /// Its uid then.
        uid: String,
    },
    /// Calico's datastore is not locked.
    #[serde(rename_all = "camelCase")]
    DatastoreReady {
        /// `ClusterInformation`, which says so.
        information: ObjectRef,
    },
    /// Nothing has this name.
    #[serde(rename_all = "camelCase")]
    ObjectAbsent {
        /// The object that must not exist.
        object: ObjectRef,
    },
}

/// How a step is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
#[non_exhaustive]
pub enum Undo {
    /// There is nothing to take back, for this reason.
    #[serde(rename_all = "camelCase")]
    NotNeeded {
        /// Why.
        why: String,
    },
    /// It cannot be taken back, for this reason.
    #[serde(rename_all = "camelCase")]
    Impossible {
        /// Why.
        why: String,
    },
    /// By work on the node's host.
    #[serde(rename_all = "camelCase")]
    OnHost {
        /// The node.
        node: String,
        /// What is done there.
        operation: HostOperation,
    },
    /// By changing an object back.
    #[serde(rename_all = "camelCase")]
    Patch {
        /// The object.
        object: ObjectRef,
        /// Its uid: another object of the same name is left alone.
        uid: String,
        /// What is changed, with the tests that guard it.
        patch: JsonPatch,
        /// `status`, when the change goes there; none for the object itself.
        subresource: Option<String>,
    },
    /// By another action, whose end is waited for: what is taken back after it may rest on it.
    #[serde(rename_all = "camelCase")]
    By {
        /// The action.
        action: Box<Action>,
        /// What must come true after, each within its time.
        verify: Vec<Verification>,
    },
}

impl Undo {
    /// What must come true once the step is taken back.
    pub fn verifications(&self) -> &[Verification] {
        match self {
            Self::By { verify, .. } => verify,
            _ => &[],
        }
    }

    /// What takes the step back; none when there is nothing to take back, or no way.
    pub fn action(&self) -> Option<Action> {
        match self.clone() {
            Self::NotNeeded { .. } | Self::Impossible { .. } => None,
            Self::By { action, .. } => Some(*action),
            Self::OnHost { node, operation } => Some(Action::OnHost { node, operation }),
            Self::Patch { object, uid, patch, subresource } => {
                Some(Action::Patch { object, uid, patch, subresource })
            }
        }
    }

    /// True when there is a way to take the step back.
    pub fn is_possible(&self) -> bool {
        matches!(self, Self::OnHost { .. } | Self::Patch { .. } | Self::By { .. })
    }
}

/// A condition with the time it may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// What must come true.
    pub condition: Condition,
    /// Seconds it may take.
    pub within_seconds: u64,
}
