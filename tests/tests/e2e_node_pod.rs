//! Node pods on real nodes: they start where nothing else does, what stands in their way is told within seconds, and
//! results come without exec and without logs, too.

#![cfg(all(unix, feature = "e2e"))]

use common::cluster::{Cluster, ConnectOptions};
use common::execute::new_plan_id;
use common::node::pod::{HostRun, NodePodError, NodePodOptions, NodePods, Op, Repeat};
use common::node::probe_host;
use std::error::Error;
use std::time::{Duration, Instant};
use tests::testbed::{NodeLease, Service, Testbed, wait_until};
use tokio::runtime::Runtime;

type Done = Result<(), Box<dyn Error>>;

/// Time in which an obstacle must be told.
const SOON: Duration = Duration::from_secs(8);

/// A connection, as somebody else if that is asked for.
fn connect(
    runtime: &Runtime,
    testbed: &Testbed,
    user: Option<&str>,
) -> Result<Cluster, Box<dyn Error>> {
    let options = ConnectOptions {
        kubeconfig: Some(testbed.kubeconfig()),
        as_user: user.map(str::to_owned),
        ..ConnectOptions::default()
    };
    Ok(runtime.block_on(Cluster::connect(&options))?)
}

/// Node pods in these namespaces.
fn pods(cluster: &Cluster, namespaces: &[&str]) -> NodePods {
    let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
    let mut options = NodePodOptions::new(new_plan_id(), Op::Inspect, namespaces);
    options.reason = "e2e".to_owned();
    options.deadline = Duration::from_secs(180);
    NodePods::new(cluster, options)
}

fn script(text: &str, repeat: Repeat) -> HostRun<'_> {
    HostRun {
        script: text.as_bytes(),
        limit_bytes: 1024 * 1024,
        timeout: Duration::from_secs(20),
        repeat,
    }
}

/// Names of our pods that exist, of this run only: other tests have theirs.
fn existing(testbed: &Testbed, pods: &NodePods) -> Result<String, Box<dyn Error>> {
    let run = format!("kubectl-calico/run={}", pods.options().run);
    Ok(testbed.kubectl(&["get", "pods", "-A", "-o", "name", "-l", &run])?)
}

/// Makes a pod and closes everything; how long it took to know.
fn try_on(
    runtime: &Runtime,
    testbed: &Testbed,
    pods: &NodePods,
    node: &str,
) -> Result<(Result<String, NodePodError>, Duration), Box<dyn Error>> {
    let began = Instant::now();
    let made = runtime.block_on(pods.on(node)).map(|pod| pod.full_name());
    let took = began.elapsed();
    let left = runtime.block_on(pods.close());
    assert_eq!(left, []);
    assert_eq!(existing(testbed, pods)?, "", "everything is deleted");
    Ok((made, took))
}

/// A namespace that goes with the test.
struct Namespace<'a>(&'a Testbed, &'static str);

impl<'a> Namespace<'a> {
    fn new(testbed: &'a Testbed, name: &'static str) -> Result<Self, Box<dyn Error>> {
        // What a killed run left would make the creation fail.
        testbed.kubectl(&["delete", "namespace", name, "--ignore-not-found", "--wait"])?;
        testbed.kubectl(&["create", "namespace", name])?;
        let namespace = Self(testbed, name);
        wait_until("the namespace has its ServiceAccount", Duration::from_secs(30), || {
            testbed
                .kubectl(&["get", "serviceaccount", "default", "-n", name])
                .map_err(|error| error.to_string())
        })?;
        Ok(namespace)
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        drop(self.0.kubectl(&[
            "delete",
            "namespace",
            self.1,
            "--wait=false",
            "--ignore-not-found",
        ]));
    }
}

/// Where nothing of the network is in order and nobody may be scheduled, a pod starts and is on the host.
#[test]
fn a_pod_starts_without_cni_on_a_tainted_and_cordoned_node() -> Done {
    let Some(testbed) = Testbed::for_test("a_pod_starts_without_cni")? else { return Ok(()) };
    let runtime = Runtime::new()?;
    let cluster = connect(&runtime, &testbed, None)?;
    let lease = testbed.lease_node()?;
    let _fault = testbed.hide_conflist(&lease)?;
    let _bad = BadNode::new(&testbed, &lease)?;
    let ready = "{.status.conditions[?(@.type=='Ready')].status}";
    wait_until("the node is NotReady", Duration::from_secs(60), || {
        let status =
            testbed.field(&["node", lease.name()], ready).map_err(|error| error.to_string())?;
        if status == "False" { Ok(()) } else { Err(status) }
    })?;
    let pods = pods(&cluster, &["kube-system"]);
    let began = Instant::now();
    let result = runtime.block_on(async {
        let pod = pods.on(lease.name()).await?;
        let started = began.elapsed();
        let run = script(ON_HOST, Repeat::Never);
        let output = pod.run_on_host(&run).await?;
        let again = pods.on(lease.name()).await?;
        assert_eq!(again.full_name(), pod.full_name());
        Ok::<_, Box<dyn Error>>((output, started, pod.full_name()))
    });
    let before = existing(&testbed, &pods)?;
    let left = runtime.block_on(pods.close());
    let (output, started, name) = result?;
    assert_eq!(left, []);
    let text = String::from_utf8(output.stdout)?;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], [lease.name(), "/etc/cni/net.d"], "{text}");
    assert_eq!(lines[2], lines[3], "it is in the host's mount namespace");
    assert_eq!(output.exit_code, 3);
    assert_eq!(before.trim(), format!("pod/{}", name.rsplit('/').next().unwrap_or_default()));
    assert_eq!(existing(&testbed, &pods)?, "");
    println!("started after {} ms", started.as_millis());
    Ok(())
}

/// Tells the host's name, one of its folders, and whether it is in the host's mount namespace.
const ON_HOST: &str =
    "hostname; ls -d /etc/cni/net.d; readlink /proc/self/ns/mnt /proc/1/ns/mnt; exit 3";

/// A node that nobody tolerates; well again when dropped.
struct BadNode<'a>(&'a Testbed, &'a str);

impl<'a> BadNode<'a> {
    fn new(testbed: &'a Testbed, lease: &'a NodeLease) -> Result<Self, Box<dyn Error>> {
        let node = lease.name();
        let guard = Self(testbed, node);
        testbed.kubectl(&["cordon", node])?;
        // calico-node tolerates it as well, so nothing of the testbed goes.
        testbed.kubectl(&["taint", "nodes", node, "e2e=e2e:NoSchedule", "--overwrite"])?;
        testbed.kubectl(&["taint", "nodes", node, "e2e=e2e:NoExecute", "--overwrite"])?;
        Ok(guard)
    }
}

impl Drop for BadNode<'_> {
    fn drop(&mut self) {
        drop(self.0.kubectl(&["taint", "nodes", self.1, "e2e-"]));
        drop(self.0.kubectl(&["uncordon", self.1]));
    }
}

#[test]
fn pod_security_is_told_and_got_around() -> Done {
    let Some(testbed) = Testbed::for_test("pod_security_is_told")? else { return Ok(()) };
    let runtime = Runtime::new()?;
    let cluster = connect(&runtime, &testbed, None)?;
    let lease = testbed.lease_node()?;
    let name = "e2e-restricted";
    let _namespace = Namespace::new(&testbed, name)?;
    let label = "pod-security.kubernetes.io/enforce";
    testbed.kubectl(&["label", "namespace", name, &format!("{label}=restricted")])?;
    let (made, took) = try_on(&runtime, &testbed, &pods(&cluster, &[name]), lease.name())?;
    assert!(matches!(made, Err(NodePodError::PodSecurity { .. })), "{made:?}");
    assert!(took < SOON, "{took:?}");
    let (made, _) =
        try_on(&runtime, &testbed, &pods(&cluster, &[name, "kube-system"]), lease.name())?;
    assert!(made?.starts_with("kube-system/"));
    // Control: it was the label.
    testbed.kubectl(&[
        "label",
        "namespace",
        name,
        "--overwrite",
        &format!("{label}=privileged"),
    ])?;
    let (made, _) = try_on(&runtime, &testbed, &pods(&cluster, &[name]), lease.name())?;
    assert!(made?.starts_with("e2e-restricted/"));
    Ok(())
}

#[test]
fn quotas_are_told_and_met() -> Done {
    let Some(testbed) = Testbed::for_test("quotas_are_told")? else { return Ok(()) };
    let runtime = Runtime::new()?;
    let cluster = connect(&runtime, &testbed, None)?;
    let lease = testbed.lease_node()?;
    let name = "e2e-quota";
    let _namespace = Namespace::new(&testbed, name)?;
    let quota = |hard: &str| -> Done {
        let hard = format!("--hard={hard}");
        testbed.kubectl(&["delete", "quota", "q", "-n", name, "--ignore-not-found", "--wait"])?;
        testbed.kubectl(&["create", "quota", "q", "-n", name, &hard])?;
        // Admission counts nothing before the controller has.
        wait_until("the quota is in force", Duration::from_secs(30), || {
            let used = testbed.field(&["quota", "q", "-n", name], "{.status.used}");
            match used.map_err(|error| error.to_string())? {
                used if used.is_empty() => Err("it is not".to_owned()),
                _ => Ok(()),
            }
        })?;
        Ok(())
    };
    quota("requests.cpu=1,limits.memory=1Gi")?;
    let (made, _) = try_on(&runtime, &testbed, &pods(&cluster, &[name]), lease.name())?;
    assert!(made?.starts_with("e2e-quota/"), "a pod that says what it needs is let in");
    quota("pods=0")?;
    let (made, took) = try_on(&runtime, &testbed, &pods(&cluster, &[name]), lease.name())?;
    assert!(matches!(made, Err(NodePodError::Quota { .. })), "{made:?}");
    assert!(took < SOON, "{took:?}");
    Ok(())
}

/// A webhook for pods of one namespace that nobody serves.
struct DeadWebhook<'a>(&'a Testbed);

impl<'a> DeadWebhook<'a> {
    fn new(testbed: &'a Testbed, namespace: &str) -> Result<Self, Box<dyn Error>> {
        let guard = Self(testbed);
        testbed.apply(&format!(
            r#"{{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingWebhookConfiguration",
            "metadata":{{"name":"e2e-node-pod"}},"webhooks":[{{"name":"dead.example.com",
            "admissionReviewVersions":["v1"],"sideEffects":"None","failurePolicy":"Fail","timeoutSeconds":2,
            "clientConfig":{{"url":"https://127.0.0.1:1/"}},
            "namespaceSelector":{{"matchLabels":{{"kubernetes.io/metadata.name":"{namespace}"}}}},
            "rules":[{{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["pods"]}}]}}]}}"#
        ))?;
        Ok(guard)
    }
}

impl Drop for DeadWebhook<'_> {
    fn drop(&mut self) {
        let kind = "validatingwebhookconfiguration";
        drop(self.0.kubectl(&["delete", kind, "e2e-node-pod", "--ignore-not-found"]));
    }
}

#[test]
fn a_dead_webhook_and_a_missing_image_are_told() -> Done {
    let Some(testbed) = Testbed::for_test("a_dead_webhook_is_told")? else { return Ok(()) };
    let runtime = Runtime::new()?;
    let cluster = connect(&runtime, &testbed, None)?;
    let lease = testbed.lease_node()?;
    let name = "e2e-webhook";
    let _namespace = Namespace::new(&testbed, name)?;
    let webhook = DeadWebhook::new(&testbed, name)?;
    let mut last = None;
    wait_until("the webhook is asked", Duration::from_secs(30), || {
        let pods = pods(&cluster, &[name]);
        let tried = try_on(&runtime, &testbed, &pods, lease.name()).map_err(|it| it.to_string())?;
        let (made, took) = last.insert(tried);
        match made {
            Err(NodePodError::WebhookFails { .. }) if *took < SOON => Ok(()),
            other => Err(format!("{other:?} after {took:?}")),
        }
    })?;
    drop(webhook);
    wait_until("without it there is a pod", Duration::from_secs(30), || {
        let pods = pods(&cluster, &[name]);
        let tried = try_on(&runtime, &testbed, &pods, lease.name()).map_err(|it| it.to_string())?;
        tried.0.map_err(|error| error.to_string())
    })?;

    let pods = pods(&cluster, &["kube-system"]);
    let began = Instant::now();
    let absent = runtime.block_on(pods.on_image(lease.name(), "registry.example/absent:1"));
    let took = began.elapsed();
    runtime.block_on(pods.close());
    assert!(matches!(absent, Err(NodePodError::Image { .. })), "{absent:?}");
    assert!(took < SOON, "{took:?}");
    assert_eq!(existing(&testbed, &pods)?, "");
    let nowhere = runtime.block_on(self::pods(&cluster, &["kube-system"]).on("nowhere"));
    assert!(matches!(nowhere, Err(NodePodError::NoSuchNode { .. })), "{nowhere:?}");
    Ok(())
}

/// First the API server still believes in the node, later it does not: both times the user knows within seconds.
#[test]
fn a_dead_kubelet_is_told() -> Done {
    let Some(testbed) = Testbed::for_test("a_dead_kubelet_is_told")? else { return Ok(()) };
    let runtime = Runtime::new()?;
    let cluster = connect(&runtime, &testbed, None)?;
    let lease = testbed.lease_node()?;
    let _fault = testbed.stop_service(&lease, Service::Kubelet)?;
    let namespaces = &["kube-system"];
    let (made, took) = try_on(&runtime, &testbed, &pods(&cluster, namespaces), lease.name())?;
    assert!(matches!(made, Err(NodePodError::KubeletSilent { .. })), "{made:?}");
    assert!(took < Duration::from_secs(25), "{took:?}");
    println!("before the node is NotReady: {took:?}: {made:?}");
    let ready = "{.status.conditions[?(@.type=='Ready')].status}";
    wait_until("the node's state is unknown", Duration::from_secs(120), || {
        let status =
            testbed.field(&["node", lease.name()], ready).map_err(|error| error.to_string())?;
        if status == "Unknown" { Ok(()) } else { Err(status) }
    })?;
    let (made, took) = try_on(&runtime, &testbed, &pods(&cluster, namespaces), lease.name())?;
    assert!(matches!(made, Err(NodePodError::KubeletSilent { .. })), "{made:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    println!("after: {took:?}: {made:?}");
    Ok(())
}

/// A user who may make pods, and whatever is in `extra`.
struct Limited<'a> {
    testbed: &'a Testbed,
    name: &'static str,
}

impl<'a> Limited<'a> {
    fn new(testbed: &'a Testbed, name: &'static str, extra: &str) -> Result<Self, Box<dyn Error>> {
        let guard = Self { testbed, name };
        testbed.apply(&format!(
            r#"{{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{{"name":"{name}"}},"rules":[
            {{"apiGroups":[""],"resources":["pods"],"verbs":["create","delete","get","list","watch"]}},
            {extra}
            {{"apiGroups":[""],"resources":["nodes"],"verbs":["get"]}}]}}"#
        ))?;
        testbed.kubectl(&[
            "create",
            "clusterrolebinding",
            name,
            &format!("--clusterrole={name}"),
            &format!("--user={name}"),
        ])?;
        Ok(guard)
    }
}

impl Drop for Limited<'_> {
    fn drop(&mut self) {
        for kind in ["clusterrolebinding", "clusterrole"] {
            drop(self.testbed.kubectl(&["delete", kind, self.name, "--ignore-not-found"]));
        }
    }
}

/// Without the right to exec the result comes by log, without that one by termination message. What holds a secret, and
/// what may have run, is never run another way.
#[test]
fn results_come_without_exec_and_without_logs() -> Done {
    let Some(testbed) = Testbed::for_test("results_come_without_exec")? else { return Ok(()) };
    let runtime = Runtime::new()?;
    let lease = testbed.lease_node()?;
    let logs = r#"{"apiGroups":[""],"resources":["pods/log"],"verbs":["get"]},"#;
    for (name, extra) in [("e2e-with-logs", logs), ("e2e-without-logs", "")] {
        drop(Limited { testbed: &testbed, name });
        let _user = Limited::new(&testbed, name, extra)?;
        let cluster = connect(&runtime, &testbed, Some(name))?;
        let pods = pods(&cluster, &["kube-system"]);
        let result = runtime.block_on(async {
            let pod = pods.on(lease.name()).await?;
            let refused = pod.run_on_host(&script(ON_HOST, Repeat::Never)).await;
            assert!(matches!(refused, Err(NodePodError::ExecRefused { .. })), "{refused:?}");
            let output = pod.run_on_host(&script(ON_HOST, Repeat::IfNotRun)).await?;
            let probe = probe_host(&pod).await?;
            Ok::<_, NodePodError>((output, probe))
        });
        runtime.block_on(pods.close());
        assert_eq!(existing(&testbed, &pods)?, "");
        let (output, probe) = result?;
        assert_eq!(output.exit_code, 3, "{name}");
        let text = String::from_utf8(output.stdout)?;
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], [lease.name(), "/etc/cni/net.d"], "{name}: {text}");
        assert_eq!(lines[2], lines[3], "{name}: it is in the host's mount namespace");
        let (facts, _) = common::snapshot::HostFacts::from_probe(lease.name(), &probe);
        assert!(facts.cni_kubeconfig.known().is_some(), "{name}");
        println!("{name}: {} bytes of the probe, {} sections", probe.len(), facts.sections.len());
    }
    Ok(())
}

/// The image's own files are there, and the host's.
#[test]
fn files_of_an_image_can_be_taken() -> Done {
    let Some(testbed) = Testbed::for_test("files_of_an_image_can_be_taken")? else { return Ok(()) };
    let runtime = Runtime::new()?;
    let cluster = connect(&runtime, &testbed, None)?;
    let lease = testbed.lease_node()?;
    let pods = pods(&cluster, &["kube-system"]);
    let result = runtime.block_on(async {
        let pod = pods.on_image(lease.name(), "docker.io/calico/cni:v3.28.4").await?;
        let text = "ls /opt/cni/bin; [ -e /proc/1/root/opt/cni/bin/loopback ] && echo host; exit 0";
        pod.run_in_container(&script(text, Repeat::Never)).await
    });
    runtime.block_on(pods.close());
    let text = String::from_utf8(result?.stdout)?;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.contains(&"calico") && !lines.contains(&"loopback"), "{text}");
    assert_eq!(lines.last(), Some(&"host"));
    Ok(())
}
