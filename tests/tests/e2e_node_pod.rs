//! Node pods on real nodes: they start where nothing else does, and what stands in their way is told at once.

#![cfg(all(unix, feature = "e2e"))]

use common::cluster::{Cluster, ConnectOptions};
use common::execute::new_plan_id;
use common::node::pod::{HostRun, NodePodOptions, NodePods, Op, Repeat};
use std::error::Error;
use std::time::{Duration, Instant};
use tests::testbed::{NodeLease, Testbed, wait_until};

type Done = Result<(), Box<dyn Error>>;

async fn connect(testbed: &Testbed) -> Result<Cluster, Box<dyn Error>> {
    let options =
        ConnectOptions { kubeconfig: Some(testbed.kubeconfig()), ..ConnectOptions::default() };
    Ok(Cluster::connect(&options).await?)
}

/// Node pods in these namespaces.
fn pods(cluster: &Cluster, namespaces: &[&str]) -> NodePods {
    let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
    let mut options = NodePodOptions::new(new_plan_id(), Op::Inspect, namespaces);
    options.reason = "e2e".to_owned();
    options.deadline = Duration::from_secs(180);
    NodePods::new(cluster, options)
}

fn script(text: &str) -> HostRun<'_> {
    HostRun {
        script: text.as_bytes(),
        limit_bytes: 1024 * 1024,
        timeout: Duration::from_secs(20),
        repeat: Repeat::Always,
    }
}

/// Names of our pods that exist, of this run only: other tests have theirs.
fn existing(testbed: &Testbed, pods: &NodePods) -> Result<String, Box<dyn Error>> {
    let run = format!("kubectl-calico/run={}", pods.options().run);
    Ok(testbed.kubectl(&["get", "pods", "-A", "-o", "name", "-l", &run])?)
}

/// Where nothing of the network is in order and nobody may be scheduled, a pod starts and is on the host.
#[test]
fn a_pod_starts_without_cni_on_a_tainted_and_cordoned_node() -> Done {
    let Some(testbed) = Testbed::for_test("a_pod_starts_without_cni")? else { return Ok(()) };
    let runtime = tokio::runtime::Runtime::new()?;
    let cluster = runtime.block_on(connect(&testbed))?;
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
        let run = script(
            "hostname; ls -d /etc/cni/net.d; readlink /proc/self/ns/mnt /proc/1/ns/mnt; exit 3",
        );
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
