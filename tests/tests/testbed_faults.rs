//! Every fault that the testbed can make: it breaks what it says, in the words of the real thing, and can be undone.
#![cfg(all(unix, feature = "e2e"))]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on is to end with the place where it could not"
)]

use std::time::Duration;
use tests::testbed::{
    CNI_BINARY, CNI_KUBECONFIG, CONFLIST, Fault, Node, Renewal, Service, Testbed, wait_until,
};

/// How long a broken or repaired pod may take to show it: kubelet tries again after at most 15 s or so.
const LIMIT: Duration = Duration::from_secs(90);

/// A pod on one node that goes when the test ends.
struct TestPod<'a> {
    testbed: &'a Testbed,
    name: String,
}

impl<'a> TestPod<'a> {
    fn new(testbed: &'a Testbed, name: &str, node: &Node) -> Self {
        let pod = Self { testbed, name: format!("{name}-{}", node.name()) };
        pod.delete();
        let manifest = format!(
            r#"{{apiVersion: v1, kind: Pod, metadata: {{name: {}, namespace: default}}, spec: {{nodeName: {}, terminationGracePeriodSeconds: 0,
                tolerations: [{{operator: Exists}}],
                containers: [{{name: pod, image: "docker.io/library/busybox:1.36", imagePullPolicy: Never, command: [sleep, "3600"]}}]}}}}"#,
            pod.name,
            node.name()
        );
        wait_until("the pod is made", LIMIT, || {
            testbed.apply(&manifest).map_err(|error| error.to_string())
        })
        .unwrap();
        pod
    }

    fn delete(&self) {
        let delete = [
            "delete",
            "pod",
            &self.name,
            "--ignore-not-found",
            "--force",
            "--grace-period=0",
            "--wait=true",
            "--timeout=30s",
        ];
        drop(self.testbed.kubectl_output(&delete));
    }

    fn field(&self, jsonpath: &str) -> String {
        self.testbed.field(&["pod", &self.name], jsonpath).unwrap_or_else(|error| error.to_string())
    }

    fn wait_running(&self) {
        wait_until(&format!("{} runs", self.name), LIMIT, || {
            let phase = self.field("{.status.phase}");
            if phase == "Running" { Ok(()) } else { Err(phase) }
        })
        .unwrap();
    }

    /// Waits for an event of this pod with these words.
    fn wait_event(&self, reason: &str, words: &str) {
        let select = format!("--field-selector=involvedObject.name={},reason={reason}", self.name);
        wait_until(&format!("{reason} of {} says {words:?}", self.name), LIMIT, || {
            let messages = self
                .testbed
                .field(&["events", &select], "{.items[*].message}")
                .map_err(|error| error.to_string())?;
            if messages.contains(words) { Ok(()) } else { Err(messages) }
        })
        .unwrap();
    }
}

impl Drop for TestPod<'_> {
    fn drop(&mut self) {
        self.delete();
    }
}

fn node_condition(testbed: &Testbed, node: &Node, field: &str) -> String {
    testbed
        .field(
            &["node", node.name()],
            &format!("{{.status.conditions[?(@.type==\"Ready\")].{field}}}"),
        )
        .unwrap()
}

/// Breaks a leased node, sees a new pod fail in these words, undoes it, and sees the same pod run.
fn breaks_new_pods(name: &str, words: &str, fault: impl Fn(&Testbed, &Node) -> Fault) {
    let Some(testbed) = Testbed::for_test(name).unwrap() else { return };
    let node = testbed.lease_node().unwrap();
    let fault = fault(&testbed, &node);
    let pod = TestPod::new(&testbed, &name.replace('_', "-"), &node);
    pod.wait_event("FailedCreatePodSandBox", words);
    assert_eq!(node_condition(&testbed, &node, "status"), "True", "the Node stays Ready");
    let uid = pod.field("{.metadata.uid}");
    fault.undo().unwrap();
    pod.wait_running();
    assert_eq!(pod.field("{.metadata.uid}"), uid);
}

#[test]
fn missing_binary() {
    let words = r#"plugin type="calico" failed (add): failed to find plugin "calico" in path [/opt/cni/bin]"#;
    breaks_new_pods("missing_binary", words, |testbed, node| {
        testbed.hide_cni_binary(node).unwrap()
    });
}

#[test]
fn expired_token() {
    let words = r#"plugin type="calico" failed (add): error getting ClusterInformation: connection is unauthorized: Unauthorized"#;
    breaks_new_pods("expired_token", words, |testbed, node| testbed.expire_token(node).unwrap());
}

#[test]
fn missing_kubeconfig() {
    let words = r#"plugin type="calico" failed (add)"#;
    breaks_new_pods("missing_kubeconfig", words, |testbed, node| {
        testbed.hide_cni_kubeconfig(node).unwrap()
    });
}

#[test]
fn missing_conflist_makes_the_node_not_ready() {
    let Some(testbed) = Testbed::for_test("missing_conflist_makes_the_node_not_ready").unwrap()
    else {
        return;
    };
    let node = testbed.lease_node().unwrap();
    let fault = testbed.hide_conflist(&node).unwrap();
    wait_until("the node is not Ready", LIMIT, || {
        let message = node_condition(&testbed, &node, "message");
        if message.contains("cni plugin not initialized") { Ok(()) } else { Err(message) }
    })
    .unwrap();
    fault.undo().unwrap();
    testbed.wait_node_ready(&node).unwrap();
}

#[test]
fn a_fault_is_undone_when_the_test_panics() {
    let Some(testbed) = Testbed::for_test("a_fault_is_undone_when_the_test_panics").unwrap() else {
        return;
    };
    let node = testbed.lease_node().unwrap();
    for path in [CNI_BINARY, CNI_KUBECONFIG, CONFLIST] {
        let panicked = std::panic::catch_unwind(|| {
            let _fault = match path {
                CNI_BINARY => testbed.hide_cni_binary(&node).unwrap(),
                CNI_KUBECONFIG => testbed.hide_cni_kubeconfig(&node).unwrap(),
                _ => testbed.hide_conflist(&node).unwrap(),
            };
            assert!(!node.has(path).unwrap());
            // Not by the macro: nobody needs to read about this one.
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(panicked.is_err());
        assert!(node.has(path).unwrap(), "{path}");
    }
}

#[test]
fn a_stopped_kubelet_starts_again() {
    let Some(testbed) = Testbed::for_test("a_stopped_kubelet_starts_again").unwrap() else {
        return;
    };
    let node = testbed.lease_node().unwrap();
    let fault = testbed.stop_service(&node, Service::Kubelet).unwrap();
    let pod = TestPod::new(&testbed, "a-stopped-kubelet", &node);
    assert!(!node.service_runs(Service::Kubelet).unwrap());
    assert_eq!(pod.field("{.status.phase}"), "Pending");
    fault.undo().unwrap();
    pod.wait_running();
}

#[test]
fn calico_node_can_be_told_to_be_unready() {
    let Some(testbed) = Testbed::for_test("calico_node_can_be_told_to_be_unready").unwrap() else {
        return;
    };
    let node = testbed.lease_node().unwrap();
    let select = format!("--field-selector=spec.nodeName={}", node.name());
    let pod = ["pod", "--namespace=kube-system", "--selector=k8s-app=calico-node", &select];
    let wait_ready = |wanted: &str| {
        wait_until(&format!("calico-node is Ready: {wanted}"), LIMIT, || {
            let ready =
                testbed.field(&pod, "{.items[*].status.conditions[?(@.type==\"Ready\")].status}");
            let ready = ready.map_err(|error| error.to_string())?;
            if ready == wanted { Ok(()) } else { Err(ready) }
        })
        .unwrap();
    };
    wait_ready("True");
    let fault = testbed.make_unready(&node).unwrap();
    wait_ready("False");
    fault.undo().unwrap();
    wait_ready("True");
}

/// Breaks the cluster, sees new pods of all nodes fail in these words, heals it, and sees the same pods run.
fn breaks_all_nodes(
    name: &str,
    words: &str,
    fault: impl Fn(&Testbed, &tests::testbed::ClusterLock),
) {
    let Some(testbed) = Testbed::for_test(name).unwrap() else { return };
    let lock = testbed.lock_cluster().unwrap();
    let healing = Healing(&testbed);
    fault(&testbed, &lock);
    let pods: Vec<TestPod<'_>> = testbed
        .nodes()
        .iter()
        .map(|node| TestPod::new(&testbed, &name.replace('_', "-"), node))
        .collect();
    for pod in &pods {
        pod.wait_event("FailedCreatePodSandBox", words);
    }
    for node in testbed.nodes() {
        assert_eq!(node_condition(&testbed, node, "status"), "True", "{} stays Ready", node.name());
    }
    drop(healing);
    for pod in &pods {
        pod.wait_running();
    }
}

/// Heals the cluster when dropped.
struct Healing<'a>(&'a Testbed);

impl Drop for Healing<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.heal_credentials() {
            assert!(std::thread::panicking(), "{error}");
        }
    }
}

const UNAUTHORIZED: &str =
    "error getting ClusterInformation: connection is unauthorized: Unauthorized";
const UNKNOWN_AUTHORITY: &str =
    "tls: failed to verify certificate: x509: certificate signed by unknown authority";

#[test]
fn recreated_service_account() {
    breaks_all_nodes("recreated_service_account", UNAUTHORIZED, |testbed, lock| {
        testbed.recreate_service_account(lock).unwrap();
    });
}

#[test]
fn new_signing_key() {
    breaks_all_nodes("new_signing_key", UNAUTHORIZED, |testbed, lock| {
        let before = testbed.signing_key_id().unwrap();
        testbed.renew(Renewal::SigningKey, lock).unwrap();
        let served = testbed.kubectl(&["get", "--raw", "/openid/v1/jwks"]).unwrap();
        assert!(served.contains(&testbed.signing_key_id().unwrap()), "{served}");
        assert!(!served.contains(&before), "the old key is not accepted any more");
    });
}

#[test]
fn new_authority() {
    breaks_all_nodes("new_authority", UNKNOWN_AUTHORITY, |testbed, lock| {
        testbed.renew(Renewal::Both, lock).unwrap();
    });
}
