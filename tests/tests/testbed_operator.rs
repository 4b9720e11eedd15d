//! The operator's model against a real API server: what it renders, remembers, waits for and refuses.
#![cfg(all(unix, feature = "e2e"))]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on is to end with the place where it could not"
)]

use std::time::Duration;
use tests::testbed::{Install, OperatorVersion, Testbed, wait_until};

/// How long a rollout of calico-node over two nodes may take, with what the operator does after it.
const LIMIT: Duration = Duration::from_secs(120);

const ENDPOINT: &str = "kubernetes-services-endpoint";
const CLUSTER_IP: &str = "10.96.0.1";
const HOST: &str =
    "{.spec.template.spec.containers[0].env[?(@.name==\"KUBERNETES_SERVICE_HOST\")].value}";
const VOLUMES: &str = "{.spec.template.spec.volumes[*].name}";
const REFUSED: &str = "FelixConfiguration \"default\" has been modified by someone else";

/// The testbed as `up --operator` made it, before and after a test, however that ends.
struct Stage(Testbed);

impl Stage {
    fn reset(&self) {
        self.0.reset_operator().unwrap();
        assert_eq!(self.schema("bpfNetworkBootstrap"), "");
        assert_eq!(self.daemon_set(HOST) + &self.bpf(), format!("{CLUSTER_IP}false false"));
        self.wait_settled();
    }

    fn felix(&self, jsonpath: &str) -> String {
        self.0.field(&["felixconfigurations.crd.projectcalico.org", "default"], jsonpath).unwrap()
    }

    fn patch_felix(&self, patch: &str) {
        let felix = ["patch", "felixconfigurations.crd.projectcalico.org", "default"];
        self.0.kubectl(&[&felix[..], &["--type=merge", "--patch", patch]].concat()).unwrap();
    }

    /// The type of a field of Installation's calicoNetwork, as its definition has it.
    fn schema(&self, field: &str) -> String {
        let network = "properties.spec.properties.calicoNetwork.properties";
        let path = format!("{{.spec.versions[0].schema.openAPIV3Schema.{network}.{field}.type}}");
        self.0.field(&["crd", "installations.operator.tigera.io"], &path).unwrap()
    }

    /// Field and annotation.
    fn bpf(&self) -> String {
        self.felix(r"{.spec.bpfEnabled} {.metadata.annotations.operator\.tigera\.io/bpfEnabled}")
    }

    fn want(&self, network: &str) {
        let patch = format!(r#"{{"spec":{{"calicoNetwork":{network}}}}}"#);
        let installation = ["patch", "installation", "default", "--type=merge", "--patch", &patch];
        self.0.kubectl(&installation).unwrap();
    }

    fn daemon_set(&self, jsonpath: &str) -> String {
        self.0.field(&["daemonset", "calico-node", "-n", "calico-system"], jsonpath).unwrap()
    }

    /// Status and message of a condition of TigeraStatus calico.
    fn condition(&self, kind: &str) -> String {
        let which = format!(
            "{{range .status.conditions[?(@.type==\"{kind}\")]}}{{.status}} {{.message}}{{end}}"
        );
        self.0.field(&["tigerastatus", "calico"], &which).unwrap()
    }

    fn wait(&self, what: &str, look: impl Fn() -> String, good: impl Fn(&str) -> bool) {
        wait_until(what, LIMIT, || {
            let seen = look();
            if good(&seen) {
                Ok(())
            } else {
                Err(format!("{seen}; Degraded {}", self.condition("Degraded")))
            }
        })
        .unwrap();
    }

    /// The operator has seen the newest Installation, and calico-node is rolled out on all nodes.
    fn wait_settled(&self) {
        let available = r#"{range .status.conditions[?(@.type=="Available")]}{.status} {.observedGeneration}{end}"#;
        let generation =
            || self.0.field(&["installation", "default"], "{.metadata.generation}").unwrap();
        self.wait(
            "the operator is content",
            || self.0.field(&["tigerastatus", "calico"], available).unwrap(),
            |seen| seen == format!("True {}", generation()),
        );
        self.wait("calico-node is rolled out", || self.daemon_set(COUNTS), |seen| seen == "2 2 2");
    }

    fn wait_host(&self, wanted: &str) {
        self.wait("calico-node's endpoint", || self.daemon_set(HOST), |seen| seen == wanted);
    }
}

const COUNTS: &str =
    "{.status.currentNumberScheduled} {.status.updatedNumberScheduled} {.status.numberAvailable}";

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The test has its own words to say.
            drop(self.0.reset_operator());
        } else {
            self.reset();
        }
    }
}

/// One test, because there is one operator.
#[test]
fn the_operator_renders_remembers_waits_and_refuses() {
    let name = "the_operator_renders_remembers_waits_and_refuses";
    let Some(testbed) = Testbed::for_test_with_operator(name).unwrap() else { return };
    let _alone = testbed.lock_cluster().unwrap();
    assert_eq!(
        (testbed.install(), testbed.calico_namespace()),
        (Install::Operator, "calico-system")
    );
    let stage = Stage(testbed);
    stage.reset();
    // Otherwise Felix removes kube-proxy's rules, and with eBPF off again nobody reaches the API server by its ClusterIP.
    stage.0.tell_felix(r#"{"bpfKubeProxyIptablesCleanupEnabled": false}"#).unwrap();
    endpoint_sticks(&stage);
    two_phases(&stage);
    hand_edit_is_refused(&stage);
    one_node_that_is_not_ready_holds_it_up(&stage);
    knobs(&stage);
    half_a_rollback_of_auto_mode_is_none(&stage);
}

fn endpoint_sticks(stage: &Stage) {
    let testbed = &stage.0;
    let owner = stage.daemon_set("{.metadata.ownerReferences[0].kind}");
    assert_eq!(owner, "Installation");
    let server = testbed.layout().gateway().to_string();
    testbed
        .kubectl(&[
            "create",
            "configmap",
            ENDPOINT,
            "-n",
            "tigera-operator",
            &format!("--from-literal=KUBERNETES_SERVICE_HOST={server}"),
            "--from-literal=KUBERNETES_SERVICE_PORT=6443",
        ])
        .unwrap();
    stage.wait_host(&server);
    stage.wait_settled();
    let looks = ["exec", "-n", "calico-system", "daemonset/calico-node", "-c", "calico-node", "--"];
    let node = &testbed.nodes()[0];
    testbed.restart_calico_node(node).unwrap();
    testbed.repair_node(node).unwrap();
    let environment = testbed.kubectl(&[&looks[..], &["env"]].concat()).unwrap();
    assert!(environment.contains(&format!("KUBERNETES_SERVICE_HOST={server}\n")), "{environment}");

    testbed.kubectl(&["delete", "configmap", ENDPOINT, "-n", "tigera-operator"]).unwrap();
    // A change that the operator answers to shows that it has looked since.
    stage.want(r#"{"mtu":1400}"#);
    stage.wait_settled();
    assert_eq!(stage.daemon_set(HOST), server, "what the operator knows it keeps");
    testbed.restart_operator().unwrap();
    stage.wait_host(CLUSTER_IP);
    stage.want(r#"{"mtu":null}"#);
    stage.wait_settled();
}

fn two_phases(stage: &Stage) {
    let generation = || stage.daemon_set("{.metadata.generation}");
    let before = generation();
    assert!(!stage.daemon_set(VOLUMES).contains("bpffs"));
    stage.want(r#"{"linuxDataplane":"BPF"}"#);
    let order = || stage.bpf() + " " + &stage.daemon_set(COUNTS) + " " + &stage.daemon_set(VOLUMES);
    stage.wait("mounts come before eBPF", order, |seen| {
        assert!(
            !seen.starts_with("true") || seen.contains(" 2 2 2 "),
            "before the rollout: {seen}"
        );
        seen.starts_with("true true") && seen.contains("bpffs")
    });
    assert_ne!(before, generation());
    stage.wait_settled();

    stage.want(r#"{"linuxDataplane":"Iptables"}"#);
    stage.wait("eBPF is off", || stage.bpf(), |seen| seen == "false false");
    assert!(!stage.daemon_set(VOLUMES).contains("bpffs"), "the mounts go with it");
    stage.wait_settled();
}

fn hand_edit_is_refused(stage: &Stage) {
    stage.patch_felix(r#"{"spec":{"bpfEnabled":true}}"#);
    let degraded = || stage.condition("Degraded");
    stage.wait("the operator refuses", degraded, |seen| {
        seen.starts_with("True") && seen.contains(REFUSED)
    });
    assert_eq!(stage.bpf(), "true false", "and leaves it alone");
    assert!(stage.condition("Available").starts_with("True"));
    stage.patch_felix(r#"{"spec":{"bpfEnabled":false}}"#);
    stage.wait("it goes on", degraded, |seen| seen.starts_with("False"));
}

fn one_node_that_is_not_ready_holds_it_up(stage: &Stage) {
    let node = &stage.0.nodes()[1];
    let fault = stage.0.make_unready(node).unwrap();
    stage.want(r#"{"linuxDataplane":"BPF"}"#);
    let progressing = || stage.condition("Progressing");
    stage.wait("the operator waits", progressing, |seen| seen.starts_with("True DaemonSet"));
    assert_eq!(stage.bpf(), "false false");
    fault.undo().unwrap();
    stage.wait("the node is back", || stage.bpf(), |seen| seen == "true true");
    stage.want(r#"{"linuxDataplane":"Iptables"}"#);
    stage.wait("eBPF is off", || stage.bpf(), |seen| seen == "false false");
    stage.wait_settled();
}

fn knobs(stage: &Stage) {
    let testbed = &stage.0;
    testbed.tell_operator("degraded", Some("no disk")).unwrap();
    stage.want(r#"{"linuxDataplane":"BPF"}"#);
    stage.wait(
        "told to be Degraded",
        || stage.condition("Degraded"),
        |seen| seen == "True no disk",
    );
    assert!(!stage.daemon_set(VOLUMES).contains("bpffs"));
    testbed.tell_operator("stall-rollout", Some("true")).unwrap();
    testbed.tell_operator("degraded", None).unwrap();
    stage.wait("mounts are there", || stage.daemon_set(VOLUMES), |seen| seen.contains("bpffs"));
    stage.wait_settled();
    assert_eq!(stage.bpf(), "false false", "a stalled rollout is never complete");
    testbed.tell_operator("stall-rollout", None).unwrap();
    stage.wait("eBPF is on", || stage.bpf(), |seen| seen == "true true");
    stage.want(r#"{"linuxDataplane":"Iptables"}"#);
    stage.wait_settled();
}

fn half_a_rollback_of_auto_mode_is_none(stage: &Stage) {
    stage.0.set_operator_version(OperatorVersion::Auto).unwrap();
    assert_eq!(stage.schema("bpfNetworkBootstrap"), "string");
    stage.wait("mounts for all", || stage.daemon_set(VOLUMES), |seen| seen.contains("bpffs"));
    stage.want(r#"{"linuxDataplane":"BPF","bpfNetworkBootstrap":"Enabled"}"#);
    stage.wait("eBPF is on", || stage.bpf(), |seen| seen == "true true");
    assert_eq!(stage.felix("{.spec.nftablesMode}"), "Enabled");
    stage.want(r#"{"linuxDataplane":"Iptables"}"#);
    let degraded = || stage.condition("Degraded");
    stage.wait("it is refused", degraded, |seen| {
        seen.contains("bpfNetworkBootstrap is enabled but linuxDataplane is not set to BPF")
    });
    assert_eq!(stage.bpf(), "true true");
    stage.want(r#"{"bpfNetworkBootstrap":"Disabled"}"#);
    stage.wait("both together", || stage.bpf(), |seen| seen == "false false");
}
