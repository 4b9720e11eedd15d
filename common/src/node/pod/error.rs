//! Why there is no node pod, in words for a person.

use crate::cluster::ApiError;
use crate::snapshot::GapReason;

/// Why a node cannot be reached by a pod, or why a script did not run there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodePodError {
    /// There is no such node.
    #[error("there is no node {node}")]
    NoSuchNode {
        /// The node.
        node: String,
    },
    /// The node runs no Linux programs, or is no machine at all.
    #[error("node {node} {what}: it cannot be looked at")]
    Unsuitable {
        /// The node.
        node: String,
        /// What it is.
        what: &'static str,
    },
    /// The kubelet has stopped reporting: it would not start a pod.
    #[error("the kubelet of node {node} is silent: {said}")]
    KubeletSilent {
        /// The node.
        node: String,
        /// What tells so.
        said: String,
    },
    /// `PodSecurity` admission allows no privileged pod.
    #[error("namespace {namespace} admits no privileged pod: {message}")]
    PodSecurity {
        /// The namespace, or all that were tried.
        namespace: String,
        /// What the server said.
        message: String,
    },
    /// A webhook or an admission policy refused the pod.
    #[error("a node pod was refused in namespace {namespace}: {message}")]
    Denied {
        /// The namespace, or all that were tried.
        namespace: String,
        /// What the webhook said.
        message: String,
    },
    /// A webhook that must be asked does not answer.
    #[error("no pod can be made in namespace {namespace}, because a webhook fails: {message}")]
    WebhookFails {
        /// The namespace, or all that were tried.
        namespace: String,
        /// What the server said.
        message: String,
    },
    /// A quota or a limit leaves no room.
    #[error("a quota leaves no room for a node pod in namespace {namespace}: {message}")]
    Quota {
        /// The namespace, or all that were tried.
        namespace: String,
        /// What the server said.
        message: String,
    },
    /// The user may not make pods there, or not do with them what must be done.
    #[error("you may not {verb} pods in namespace {namespace}: {message}")]
    Forbidden {
        /// What is not allowed: `create`, `delete`, …
        verb: &'static str,
        /// The namespace, or all that were tried.
        namespace: String,
        /// What the server said.
        message: String,
    },
    /// The node's status lists no image.
    #[error("node {node} lists no image that a pod could run without pulling one")]
    NoImage {
        /// The node.
        node: String,
    },
    /// The image is not there, or cannot be pulled.
    #[error("image {image} cannot be run on node {node}: {message}")]
    Image {
        /// The node.
        node: String,
        /// The image.
        image: String,
        /// What the kubelet said.
        message: String,
    },
    /// The kubelet does not admit the pod.
    #[error("the kubelet of node {node} refuses the pod: {reason}: {message}")]
    KubeletRefused {
        /// The node.
        node: String,
        /// Machine-readable.
        reason: String,
        /// What it said.
        message: String,
    },
    /// The container runtime cannot make the container.
    #[error("the container cannot be made on node {node}: {message}")]
    NotMade {
        /// The node.
        node: String,
        /// What the kubelet said.
        message: String,
    },
    /// The host has no programs to run.
    #[error("node {node} has no shell, or not the programs that are needed: {message}")]
    NoHostPrograms {
        /// The node.
        node: String,
        /// What the runtime said.
        message: String,
    },
    /// It did not start in time.
    #[error("the pod on node {node} did not start within {seconds} s: {last}")]
    NotStarted {
        /// The node.
        node: String,
        /// How long it was waited for.
        seconds: u64,
        /// The last thing that was heard of it.
        last: String,
    },
    /// It ended, or was deleted, before the script could be run in it.
    #[error("the pod on node {node} has gone: {why}")]
    Gone {
        /// The node.
        node: String,
        /// Why.
        why: String,
    },
    /// Commands cannot be run in it: the API server refuses to, or cannot reach the kubelet.
    #[error("commands cannot be run in the pod on node {node}: {message}")]
    ExecRefused {
        /// The node.
        node: String,
        /// What was said.
        message: String,
    },
    /// The connection broke, or time ran out, after the script had been sent: it may have run, or be running.
    #[error("a script on node {node} gave no result: {cause}; it may have run all the same")]
    Unclear {
        /// The node.
        node: String,
        /// What happened.
        cause: ApiError,
    },
    /// The API server did not do what it was asked.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The run is over.
    #[error("no node pod is made any more: the run is over")]
    Closed,
}

impl NodePodError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::KubeletSilent { .. } => {
                "look at the machine: is it up, does `systemctl status kubelet` say why? check --print-script prints what to run there by ssh"
            }
            Self::PodSecurity { .. } => {
                "name a namespace that admits privileged pods: --pod-namespace=NAMESPACE (kube-system usually does)"
            }
            Self::Denied { .. } => {
                "ask who runs that policy for an exception for pods with label app.kubernetes.io/managed-by=kubectl-calico, or name another namespace: --pod-namespace=NAMESPACE"
            }
            Self::WebhookFails { .. } => {
                "if the webhook's own pods need the pod network, repair that first: check --print-script prints what to run on the node by ssh"
            }
            Self::Quota { .. } => "name another namespace: --pod-namespace=NAMESPACE",
            Self::Forbidden { .. } => "check --probe --print-rbac prints the role that is needed",
            Self::NoImage { .. } | Self::Image { .. } => {
                "name an image that the node has or can pull: --pod-image=IMAGE (what it contains does not matter)"
            }
            Self::KubeletRefused { reason, .. } if reason.starts_with("OutOf") => {
                "the node is full: move a pod away from it"
            }
            Self::NoHostPrograms { .. } => {
                "the node's system has no shell (Talos, Bottlerocket …): only what the API and calico-node tell can be known"
            }
            Self::ExecRefused { .. } => {
                "is the kubelet's port 10250 open for the API server, and may you create pods/exec?"
            }
            Self::Api(error) => return error.hint(),
            _ => return None,
        })
    }

    /// The class of gap that this leaves in a snapshot.
    pub fn gap_reason(&self) -> GapReason {
        match self {
            Self::Forbidden { .. } => GapReason::Forbidden,
            Self::NotStarted { .. } => GapReason::TimedOut,
            Self::Api(error) => error.gap_reason(),
            _ => GapReason::Unreachable,
        }
    }

    /// False when it is certain that the script did not run.
    pub fn may_have_run(&self) -> bool {
        matches!(self, Self::Unclear { .. })
    }
}
