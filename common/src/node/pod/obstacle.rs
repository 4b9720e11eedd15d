//! What stands in the way of a node pod, read from the server's refusal, the pod's status and its events, and what to
//! try instead.

use super::NodePodError;
use super::spec::Attempt;
use crate::cluster::ApiError;
use crate::slim::{Event, Pod};

/// Something in the way, and the way around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub(super) error: NodePodError,
    pub(super) way: Way,
}

/// What to try instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Another namespace.
    Namespace,
    /// calico-node's own ServiceAccount, which may be allowed more.
    AgentAccount,
    /// Say how much it needs.
    Requests,
    /// Another image.
    Image,
    /// Without this directory, which the host does not have.
    Without(&'static str),
    /// As something the node must not evict.
    Critical,
    /// Nothing.
    None,
}

/// What the server's answer to the creation means.
pub(super) fn of_creation(error: &ApiError, attempt: &Attempt) -> Obstacle {
    let namespace = attempt.namespace.clone();
    let (ApiError::Forbidden { message, .. }
    | ApiError::Invalid { message, .. }
    | ApiError::NotFound { message, .. }
    | ApiError::Busy { message, .. }
    | ApiError::Conflict { message, .. }
    | ApiError::Other { message, .. }) = error
    else {
        return Obstacle { error: NodePodError::Api(error.clone()), way: Way::None };
    };
    let says = |text: &str| message.contains(text);
    let message = message.clone();
    if says("violates PodSecurity") {
        return other_namespace(NodePodError::PodSecurity { namespace, message });
    }
    if says("unable to validate against any security context constraint") {
        let error = NodePodError::PodSecurity { namespace, message };
        return Obstacle { error, way: Way::AgentAccount };
    }
    if says("failed calling webhook") || says("failed to call webhook") {
        return other_namespace(NodePodError::WebhookFails { namespace, message });
    }
    if says("denied the request") || says("denied request") || says("disallowed by cluster policy")
    {
        return other_namespace(NodePodError::Denied { namespace, message });
    }
    if says("must specify") {
        let error = NodePodError::Quota { namespace, message };
        return Obstacle { error, way: Way::Requests };
    }
    if says("exceeded quota") || says("insufficient quota") || says("usage per") {
        return other_namespace(NodePodError::Quota { namespace, message });
    }
    if says("cannot create resource") {
        return other_namespace(NodePodError::Forbidden { verb: "create", namespace, message });
    }
    match error {
        // The namespace, or its ServiceAccount, is missing or going.
        ApiError::NotFound { .. } | ApiError::Forbidden { .. } => {
            other_namespace(NodePodError::Denied { namespace, message })
        }
        _ => Obstacle { error: NodePodError::Api(error.clone()), way: Way::None },
    }
}

/// The same may be possible elsewhere.
pub(super) fn other_namespace(error: NodePodError) -> Obstacle {
    Obstacle { error, way: Way::Namespace }
}

/// How far the pod has come: none means that nothing can be said yet.
pub(super) fn of_status(pod: &Pod, node: &str) -> Option<Result<(), Obstacle>> {
    let node = node.to_owned();
    let state = pod.status.container_statuses.first().map(|status| &status.state);
    if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
        return Some(Err(ended_at_once(node, &ended.reason, &ended.message)));
    }
    if pod.status.phase == "Failed" {
        return Some(Err(refused(node, &pod.status.reason, &pod.status.message)));
    }
    let state = state?;
    if state.running.is_some() {
        return Some(Ok(()));
    }
    let waiting = state.waiting.as_ref()?;
    let message = if waiting.message.is_empty() { &waiting.reason } else { &waiting.message };
    match waiting.reason.as_str() {
        "ErrImageNeverPull"
        | "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ImageInspectError"
        | "RegistryUnavailable" => {
            let image = pod.spec.containers.first().map(|it| it.image.clone()).unwrap_or_default();
            let error = NodePodError::Image { node, image, message: message.clone() };
            Some(Err(Obstacle { error, way: Way::Image }))
        }
        "CreateContainerError"
        | "CreateContainerConfigError"
        | "RunContainerError"
        | "PreCreateHookError"
        | "CrashLoopBackOff" => Some(Err(not_made(node, message))),
        _ => None,
    }
}

fn refused(node: String, reason: &str, message: &str) -> Obstacle {
    let error = NodePodError::KubeletRefused {
        node,
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    let is_short = reason == "Evicted" || message.contains("had condition: [");
    Obstacle { error, way: if is_short { Way::Critical } else { Way::None } }
}

/// The container ended before it could be used.
fn ended_at_once(node: String, reason: &str, message: &str) -> Obstacle {
    match reason {
        "StartError" | "ContainerCannotRun" => not_made(node, message),
        _ => {
            let why = format!("its container ended: {reason} {message}").trim_end().to_owned();
            Obstacle { error: NodePodError::Gone { node, why }, way: Way::None }
        }
    }
}

fn not_made(node: String, message: &str) -> Obstacle {
    // runc's texts: exec: "/bin/sleep": stat /bin/sleep: no such file or directory; exec /bin/sleep: exec format error
    let has_no_program = message.contains("exec")
        && ["no such file", "executable file not found", "exec format error"]
            .iter()
            .any(|text| message.contains(text));
    let message = message.to_owned();
    let error = if has_no_program {
        NodePodError::NoHostPrograms { node, message }
    } else {
        NodePodError::NotMade { node, message }
    };
    Obstacle { error, way: Way::None }
}

/// What an event of the pod means; none for those that are no obstacle.
pub(super) fn of_event(event: &Event, attempt: &Attempt, node: &str) -> Option<Obstacle> {
    let message = &event.message;
    let is_obstacle = matches!(
        event.reason.as_str(),
        "FailedMount" | "FailedCreatePodSandBox" | "FailedAttachVolume"
    );
    if !is_obstacle {
        return None;
    }
    // hostPath type check failed: /lib64 is not a directory
    let missing = message
        .split_once("hostPath type check failed: ")
        .and_then(|(_, rest)| rest.split_once(" is not a directory"))
        .and_then(|(path, _)| attempt.directories.iter().find(|it| **it == path));
    let error = NodePodError::NotMade { node: node.to_owned(), message: message.clone() };
    let way = match missing {
        Some(path) if *path != "/usr" => Way::Without(path),
        _ => Way::None,
    };
    Some(Obstacle { error, way })
}

/// What there is to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choices {
    pub(super) namespaces: Vec<String>,
    pub(super) images: Vec<String>,
    /// Namespace and ServiceAccount of calico-node.
    pub(super) agent_account: Option<(String, String)>,
}

impl Choices {
    /// The next try after `failed`; none when there is no other way.
    pub(super) fn next(&self, failed: &Attempt, way: Way) -> Option<Attempt> {
        let next = failed.clone();
        match way {
            Way::Namespace => {
                let namespace = after(&self.namespaces, &failed.namespace)?;
                Some(Attempt { namespace, service_account: "default".to_owned(), ..next })
            }
            Way::AgentAccount => match &self.agent_account {
                Some((namespace, account)) if failed.service_account != *account => Some(Attempt {
                    namespace: namespace.clone(),
                    service_account: account.clone(),
                    ..next
                }),
                _ => self.next(failed, Way::Namespace),
            },
            Way::Requests if !failed.with_requests => Some(Attempt { with_requests: true, ..next }),
            Way::Requests => self.next(failed, Way::Namespace),
            Way::Image => Some(Attempt { image: after(&self.images, &failed.image)?, ..next }),
            Way::Without(path) => {
                let mut directories = next.directories.clone();
                directories.retain(|it| *it != path);
                (directories.len() < failed.directories.len())
                    .then_some(Attempt { directories, ..next })
            }
            Way::Critical if !failed.critical => Some(Attempt { critical: true, ..next }),
            Way::Critical | Way::None => None,
        }
    }
}

fn after(all: &[String], one: &str) -> Option<String> {
    let place = all.iter().position(|it| it == one)?;
    all.get(place + 1).cloned()
}
