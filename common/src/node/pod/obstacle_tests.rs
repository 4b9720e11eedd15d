//! Obstacles, from what servers and kubelets really say.

use serde_json::{Value, json};

use super::NodePodError;
use super::obstacle::{Choices, Obstacle, Way, of_creation, of_event, of_status};
use super::spec::{Attempt, directories};
use super::start::{Ended, has_ended};
use crate::cluster::ApiError;
use crate::slim::{Event, Pod};

fn attempt() -> Attempt {
    Attempt {
        namespace: "shop".into(),
        image: "a".into(),
        directories: directories("amd64"),
        service_account: "default".into(),
        with_requests: false,
        critical: false,
    }
}

fn refused(code: u16, message: &str) -> Obstacle {
    let (attempted, message) = ("create pods".to_owned(), message.to_owned());
    let error = match code {
        403 => ApiError::Forbidden { attempted, message },
        404 => ApiError::NotFound { attempted, message },
        422 => ApiError::Invalid { attempted, message },
        _ => ApiError::Other { attempted, message: format!("HTTP {code}: {message}") },
    };
    of_creation(&error, &attempt())
}

#[test]
fn admission_is_understood() {
    let obstacle = refused(
        403,
        r#"pods "kubectl-calico-x" is forbidden: violates PodSecurity "restricted:latest": host namespaces (hostNetwork=true, hostPID=true), privileged (container "node" must not set securityContext.privileged=true)"#,
    );
    assert!(matches!(obstacle.error, NodePodError::PodSecurity { .. }), "{obstacle:?}");
    assert_eq!(obstacle.way, Way::Namespace);
    assert!(obstacle.error.hint().is_some_and(|hint| hint.contains("--pod-namespace")));

    for text in [
        r#"Internal error occurred: failed calling webhook "validate.kyverno.svc-fail": failed to call webhook: Post "https://kyverno-svc.kyverno.svc:443/validate/fail?timeout=10s": context deadline exceeded"#,
        r#"Internal error occurred: failed calling webhook "check.example": no endpoints available for service "check""#,
    ] {
        let obstacle = refused(500, text);
        assert!(matches!(obstacle.error, NodePodError::WebhookFails { .. }), "{obstacle:?}");
        assert_eq!(obstacle.way, Way::Namespace);
    }
    for (code, text) in [
        (
            403,
            r#"admission webhook "validation.gatekeeper.sh" denied the request: [psp] privileged"#,
        ),
        (422, "ValidatingAdmissionPolicy 'no-host' with binding 'all' denied request: no hostPID"),
        (
            403,
            r#"error looking up service account shop/default: serviceaccount "default" not found"#,
        ),
        (404, r#"namespaces "shop" not found"#),
        (
            403,
            r#"pods "x" is forbidden: unable to create new content in namespace shop because it is being terminated"#,
        ),
    ] {
        let obstacle = refused(code, text);
        assert!(matches!(obstacle.error, NodePodError::Denied { .. }), "{obstacle:?}");
        assert_eq!(obstacle.way, Way::Namespace, "{text}");
    }
}

#[test]
fn quotas_and_rights_are_understood() {
    let full = refused(
        403,
        r#"pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"#,
    );
    assert!(matches!(full.error, NodePodError::Quota { .. }) && full.way == Way::Namespace);
    let unsaid = refused(
        403,
        r#"pods "x" is forbidden: failed quota: q: must specify limits.cpu for: node; limits.memory for: node"#,
    );
    assert!(matches!(unsaid.error, NodePodError::Quota { .. }) && unsaid.way == Way::Requests);
    let rights = refused(
        403,
        r#"pods is forbidden: User "jane" cannot create resource "pods" in API group "" in the namespace "shop""#,
    );
    assert!(matches!(rights.error, NodePodError::Forbidden { .. }) && rights.way == Way::Namespace);
    let openshift = refused(
        403,
        r#"pods "x" is forbidden: unable to validate against any security context constraint: [provider "anyuid": Forbidden: not usable by user or serviceaccount]"#,
    );
    assert_eq!(openshift.way, Way::AgentAccount);
    let gone = of_creation(
        &ApiError::TimedOut { attempted: "x".into(), server: "s".into(), seconds: 30 },
        &attempt(),
    );
    assert!(matches!(gone.error, NodePodError::Api(_)) && gone.way == Way::None);
}

fn status(status: &Value) -> Option<Result<(), Obstacle>> {
    let spec = json!({ "containers": [{ "name": "node", "image": "r.example/x:1" }] });
    let pod: Pod = serde_json::from_value(json!({ "spec": spec, "status": status })).unwrap();
    of_status(&pod, "n1")
}

fn container(state: &Value) -> Value {
    json!({ "phase": "Pending", "containerStatuses": [{ "name": "node", "state": state }] })
}

#[test]
fn a_pod_that_comes_up_is_waited_for() {
    assert_eq!(status(&json!({ "phase": "Pending" })), None);
    let creating = json!({ "waiting": { "reason": "ContainerCreating" } });
    assert_eq!(status(&container(&creating)), None);
    assert_eq!(status(&container(&json!({ "running": {} }))), Some(Ok(())));
}

#[test]
fn kubelets_refusals_are_understood() {
    let image = json!({ "waiting": { "reason": "ErrImageNeverPull",
        "message": "Container image \"r.example/x:1\" is not present with pull policy of Never" } });
    let obstacle = status(&container(&image)).unwrap().unwrap_err();
    assert_eq!(obstacle.way, Way::Image);
    assert_eq!(
        obstacle.error.to_string(),
        "image r.example/x:1 cannot be run on node n1: Container image \"r.example/x:1\" is not present with pull policy of Never"
    );
    for (reason, message, way) in [
        ("TaintToleration", "Predicate TaintToleration failed", Way::None),
        (
            "OutOfpods",
            "Node didn't have enough resource: pods, requested: 1, used: 110, capacity: 110",
            Way::None,
        ),
        ("Evicted", "Pod was rejected: The node had condition: [DiskPressure]. ", Way::Critical),
    ] {
        let refused = json!({ "phase": "Failed", "reason": reason, "message": message });
        let obstacle = status(&refused).unwrap().unwrap_err();
        assert_eq!(obstacle.way, way, "{obstacle:?}");
        let text = obstacle.error.to_string();
        assert!(text.contains(reason) && text.contains(message), "{text}");
    }
    let no_shell = json!({ "terminated": { "reason": "StartError", "exitCode": 128, "message":
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"/bin/sleep\": stat /bin/sleep: no such file or directory: unknown" } });
    let obstacle = status(&container(&no_shell)).unwrap().unwrap_err();
    assert!(matches!(obstacle.error, NodePodError::NoHostPrograms { .. }), "{obstacle:?}");
    let broken = json!({ "waiting": { "reason": "CreateContainerError", "message": "context deadline exceeded" } });
    let obstacle = status(&container(&broken)).unwrap().unwrap_err();
    assert!(matches!(obstacle.error, NodePodError::NotMade { .. }), "{obstacle:?}");
    let killed = json!({ "terminated": { "reason": "Error", "exitCode": 137 } });
    let obstacle = status(&container(&killed)).unwrap().unwrap_err();
    assert!(matches!(obstacle.error, NodePodError::Gone { .. }), "{obstacle:?}");
}

#[test]
fn a_script_that_ended_is_a_result_whatever_its_exit_code() {
    let ended = |state: &Value| {
        let pod = json!({ "status": container(state) });
        has_ended(&serde_json::from_value(pod).unwrap(), "n1")
    };
    let error = json!({ "terminated": { "reason": "Error", "exitCode": 7, "message": "gz:x" } });
    let seven = Ended { exit_code: 7, message: "gz:x".into() };
    assert_eq!(ended(&error), Some(Ok(seven)));
    assert_eq!(ended(&json!({ "running": {} })), None);
    let start = json!({ "terminated": { "reason": "StartError", "message": "no" } });
    assert!(matches!(ended(&start), Some(Err(_))));
}

#[test]
fn a_directory_that_the_host_lacks_is_left_out() {
    let event = |reason: &str, message: &str| Event {
        reason: reason.into(),
        message: message.into(),
        ..Event::default()
    };
    let missing = event(
        "FailedMount",
        "MountVolume.SetUp failed for volume \"host-lib64\" : hostPath type check failed: /lib64 is not a directory",
    );
    let obstacle = of_event(&missing, &attempt(), "n1").unwrap();
    assert_eq!(obstacle.way, Way::Without("/lib64"));
    let next = choices().next(&attempt(), obstacle.way).unwrap();
    assert_eq!(next.directories, ["/usr", "/bin", "/sbin", "/lib"]);
    assert_eq!(choices().next(&next, obstacle.way), None, "it is left out once");
    let sandbox = event("FailedCreatePodSandBox", "failed to get sandbox image");
    assert_eq!(of_event(&sandbox, &attempt(), "n1").unwrap().way, Way::None);
    assert_eq!(of_event(&event("Pulled", "x"), &attempt(), "n1"), None);
}

fn choices() -> Choices {
    Choices {
        namespaces: vec!["shop".into(), "kube-system".into()],
        images: vec!["a".into(), "b".into()],
        agent_account: Some(("calico-system".into(), "calico-node".into())),
    }
}

#[test]
fn there_is_an_end_to_what_can_be_tried() {
    let choices = choices();
    let second = choices.next(&attempt(), Way::Namespace).unwrap();
    assert_eq!(second.namespace, "kube-system");
    assert_eq!(choices.next(&second, Way::Namespace), None);
    let image = choices.next(&attempt(), Way::Image).unwrap();
    assert_eq!((image.image.as_str(), choices.next(&image, Way::Image)), ("b", None));
    let account = choices.next(&attempt(), Way::AgentAccount).unwrap();
    assert_eq!(
        (account.namespace.as_str(), account.service_account.as_str()),
        ("calico-system", "calico-node")
    );
    assert_eq!(choices.next(&account, Way::AgentAccount), None);
    let requests = choices.next(&attempt(), Way::Requests).unwrap();
    assert!(requests.with_requests && requests.namespace == "shop");
    assert_eq!(choices.next(&requests, Way::Requests).unwrap().namespace, "kube-system");
    let critical = choices.next(&attempt(), Way::Critical).unwrap();
    assert_eq!(choices.next(&critical, Way::Critical), None);
    assert_eq!(choices.next(&attempt(), Way::None), None);
}
