//! The stand-in's eBPF data plane: it is in the kernel, and Services are translated by it, for as long as it is on.
#![cfg(all(unix, feature = "e2e"))]

use std::time::Duration;

use tests::story::demand;
use tests::testbed::{BPF_DIRTY, Error, Node, OLD_KERNEL, Service, Testbed, wait_until};

const SPACE: &str = "bpf";
const LIMIT: Duration = Duration::from_secs(60);
/// Never translated by anybody when both are off: kube-proxy's rules, whoever wrote them.
const FORGET_RULES: &str = "iptables -t nat -F; iptables -F; iptables -t mangle -F";
/// The API server answers plain HTTP with a sentence of its own. Whoever prints it has reached it.
const ASK: &str = r#"exec 3<>"/dev/tcp/$1/$2" && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && grep -q "HTTP request to an HTTPS server" <&3"#;
/// The stand-in's mark on connections to a ClusterIP, as conntrack prints it.
const MARK: &str = "mark=211885057 ";
/// Of a node: programs at eth0 and at workloads' devices, pins, and the table that translates.
const KERNEL: &str = r#"for link in eth0 $(cd /sys/class/net && ls -d cali* vxlan.calico); do
  for direction in ingress egress; do tc filter show dev "$link" "$direction" | sed -n "s/.* \(cali_[a-z_]*\).*/program $link $direction \1/p"; done
done
find /sys/fs/bpf/tc -type f
nft list tables | grep testbed-bpf"#;

/// What this test changes, for all nodes; put right when dropped.
struct Stage<'a>(&'a Testbed);

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        let (testbed, gone) = (self.0, ["delete", "namespace", SPACE, "--wait=false"]);
        drop(testbed.kubectl(&gone));
        // calico-node may need what kube-proxy translates.
        drop(testbed.restore_kube_proxy().and_then(|()| testbed.wait_kube_proxy()));
        drop(testbed.restore_felix());
        for node in testbed.nodes() {
            drop(testbed.repair_node(node));
        }
    }
}

impl<'a> Stage<'a> {
    fn new(testbed: &'a Testbed) -> Result<Self, Error> {
        testbed.kubectl(&["delete", "namespace", SPACE, "--ignore-not-found"])?;
        testbed.kubectl(&["create", "namespace", SPACE])?;
        let stage = Self(testbed);
        testbed.apply(&format!(
            r#"{{apiVersion: apps/v1, kind: DaemonSet, metadata: {{name: client, namespace: {SPACE}}}, spec: {{
                selector: {{matchLabels: {{app: client}}}},
                template: {{metadata: {{labels: {{app: client}}}}, spec: {{terminationGracePeriodSeconds: 0, containers: [
                  {{name: client, image: "docker.io/calico/node:v3.28.4", imagePullPolicy: Never, command: [sleep, infinity]}}]}}}}}}}}"#
        ))?;
        let wait = ["rollout", "status", "daemonset/client", "-n", SPACE, "--timeout=60s"];
        testbed.kubectl(&wait)?;
        Ok(stage)
    }

    /// A Service without selector, whose only endpoint is the API server.
    fn serve(&self, name: &str, node_port: u16) -> Result<String, Error> {
        self.0.apply(&format!(
            r"{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: {SPACE}}},
                spec: {{type: NodePort, ports: [{{name: https, port: 8443, nodePort: {node_port}}}]}}}}"
        ))?;
        self.point(name, "true")?;
        self.0.field(&["service", name, "-n", SPACE], "{.spec.clusterIP}")
    }

    fn point(&self, name: &str, ready: &str) -> Result<(), Error> {
        let address = self.0.layout().gateway();
        self.0.apply(&format!(
            r#"{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4,
                metadata: {{name: {name}, namespace: {SPACE}, labels: {{kubernetes.io/service-name: {name}}}}},
                endpoints: [{{addresses: ["{address}"], conditions: {{ready: {ready}}}}}], ports: [{{name: https, port: 6443, protocol: TCP}}]}}"#
        ))
    }

    /// Asks from the host and from a pod of every node; returns from where no answer came.
    fn unanswered(&self, cluster_ip: &str, node_port: u16) -> Result<Vec<String>, Error> {
        let mut missing = Vec::new();
        let node_port = node_port.to_string();
        for node in self.0.nodes() {
            let addresses = self.0.nodes().iter().map(|node| node.address().to_string());
            let targets = addresses.map(|address| (address, node_port.clone()));
            let own = (cluster_ip.to_owned(), "8443".to_owned());
            for (address, port) in std::iter::once(own).chain(targets) {
                let ask = ["timeout", "3", "bash", "-c", ASK, "bash", &address, &port];
                let from_host = node.run(&[&["/usr/bin/env"], ask.as_slice()].concat())?;
                let pod = self.pod_on(node)?;
                let exec = ["exec", "-n", SPACE, &pod, "--"];
                let from_pod = self.0.kubectl_output(&[exec.as_slice(), &ask].concat())?;
                for (place, output) in [("host", from_host), ("pod", from_pod)] {
                    if !output.is_success() {
                        missing.push(format!("{place} of {} to {address}:{port}", node.name()));
                    }
                }
            }
        }
        Ok(missing)
    }

    fn pod_on(&self, node: &Node) -> Result<String, Error> {
        let on = format!("--field-selector=spec.nodeName={}", node.name());
        self.0.field(&["pods", "-n", SPACE, "-l", "app=client", &on], "{.items[0].metadata.name}")
    }

    fn wait_answers(&self, what: &str, cluster_ip: &str, node_port: u16) -> Result<(), Error> {
        wait_until(what, LIMIT, || match self.unanswered(cluster_ip, node_port) {
            Ok(missing) if missing.is_empty() => Ok(()),
            Ok(missing) => Err(missing.join(", ")),
            Err(error) => Err(error.to_string()),
        })
    }
}

fn agent(
    testbed: &Testbed,
    node: &Node,
    command: &[&str],
) -> Result<tests::testbed::Output, Error> {
    let on = format!("--field-selector=spec.nodeName={}", node.name());
    let space = "--namespace=kube-system";
    let pod = testbed.field(
        &["pods", space, "--selector=k8s-app=calico-node", &on],
        "{.items[0].metadata.name}",
    )?;
    let exec = ["exec", space, &pod, "--container=calico-node", "--"];
    testbed.kubectl_output(&[exec.as_slice(), command].concat())
}

/// What calico-node answers at /readiness.
fn readiness(testbed: &Testbed, node: &Node) -> Result<String, Error> {
    let script = r"exec 3<>/dev/tcp/127.0.0.1/9099 && printf 'GET /readiness HTTP/1.0\r\n\r\n' >&3 && cat <&3";
    Ok(agent(testbed, node, &["bash", "-c", script])?.stdout)
}

fn is_in_the_kernel(testbed: &Testbed, node: &Node) -> Result<(), Error> {
    wait_until("programs, pins and table are there", LIMIT, || {
        let seen = node.script(KERNEL, &[]).map_err(|error| error.to_string())?;
        let workloads = node.script("ls -d /sys/class/net/cali* | wc -l", &[]);
        let workloads: usize = workloads.unwrap_or_default().trim().parse().unwrap_or_default();
        let programs = seen.lines().filter(|it| it.starts_with("program ")).count();
        // eth0 and vxlan.calico beside them, each in two directions.
        let is_there = workloads > 0
            && programs == 2 * (workloads + 2)
            && seen.contains("program eth0 egress cali_tc_preambl")
            && seen.contains("/sys/fs/bpf/tc/globals/cali_v4_nat_fe3")
            && seen.contains("table ip testbed-bpf");
        if is_there { Ok(()) } else { Err(format!("{workloads} workloads: {seen}")) }
    })?;
    let nat = agent(testbed, node, &["calico-node", "-bpf", "nat", "dump"])?;
    let backend = format!(" {}:6443\n", testbed.layout().gateway());
    let is_told = nat.stdout.contains("10.96.0.1 port 443 proto 6 id ")
        && nat.stdout.contains(" count 1 local 0")
        && nat.stdout.contains(&backend);
    demand(is_told, "the NAT table has the Service kubernetes", &nat)?;
    let states = agent(testbed, node, &["calico-node", "-bpf", "ifstate", "dump"])?;
    demand(states.stdout.contains("flags: workload,v4Ready, "), "workloads are ready", &states)
}

fn is_off(testbed: &Testbed, node: &Node) -> Result<(), Error> {
    testbed.wait_bpf(node, false)?;
    let left = node.script(&format!("{KERNEL}; true"), &[])?;
    demand(left.is_empty(), "nothing of it is in the kernel", &left)?;
    let nat = agent(testbed, node, &["calico-node", "-bpf", "nat", "dump"])?;
    // As the real tool: the error is logged, and the exit code says nothing.
    let is_told = nat.stdout.is_empty()
        && nat.stderr.contains("Failed to dump NAT maps")
        && nat.stderr.contains("no such file or directory");
    demand(is_told, "there is no NAT table", &nat)?;
    let ready = readiness(testbed, node)?;
    demand(!ready.contains("BPFEndpointManager"), "no BPFEndpointManager", &ready)
}

#[test]
fn services_answer_without_kube_proxy_while_bpf_is_on_and_only_then() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("services_answer_while_bpf_is_on")? else {
        return Ok(());
    };
    let _lock = testbed.lock_cluster()?;
    let stage = Stage::new(&testbed)?;
    testbed.tell_felix(r#"{"bpfEnabled": true, "bpfKubeProxyIptablesCleanupEnabled": false}"#)?;
    testbed.nodes().iter().try_for_each(|node| is_in_the_kernel(&testbed, node))?;

    // With both on, eBPF is first: its mark is on connections.
    let both = stage.serve("both", 30442)?;
    stage.wait_answers("a Service of both answers", &both, 30442)?;
    let node = testbed.node("node1")?;
    wait_until("eBPF wins", LIMIT, || {
        stage.unanswered(&both, 30442).map_err(|error| error.to_string())?;
        let list = ["/usr/sbin/conntrack", "-L", "-p", "tcp", "--orig-dst", &both];
        let seen = node.check(&list).map_err(|error| error.to_string())?;
        if seen.contains(MARK) { Ok(()) } else { Err(seen) }
    })?;

    testbed.park_kube_proxy()?;
    testbed.nodes().iter().try_for_each(|node| node.script(FORGET_RULES, &[]).map(drop))?;
    let first = stage.serve("first", 30443)?;
    stage.wait_answers("a Service of eBPF answers", &first, 30443)?;
    let nat = agent(&testbed, node, &["calico-node", "-bpf", "nat", "dump"])?.stdout;
    let own = format!("{} port 30443 proto 6 ", node.address());
    demand(nat.contains(&own) && nat.contains(&format!("{first} port 8443 ")), "both", &nat)?;

    // calico-node goes and comes: what is in the kernel stays, and it follows again. The new one asks the API server directly.
    let server = testbed.layout().gateway().to_string();
    testbed.apply(&format!(
        r#"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: kubernetes-services-endpoint, namespace: kube-system}},
            data: {{KUBERNETES_SERVICE_HOST: "{server}", KUBERNETES_SERVICE_PORT: "6443"}}}}"#
    ))?;
    testbed.restart_calico_node(node)?;
    let told =
        format!("env vars. KUBERNETES_SERVICE_HOST=\"{server}\" KUBERNETES_SERVICE_PORT=\"6443\"");
    let log = ["logs", "-n", "kube-system", "-l", "k8s-app=calico-node", "--tail=-1"];
    demand(testbed.kubectl(&log)?.contains(&told), "the API server's own address is used", &told)?;
    let missing = stage.unanswered(&first, 30443)?;
    demand(missing.is_empty(), "it answers while and after calico-node restarts", &missing)?;
    let second = stage.serve("second", 30444)?;
    stage.wait_answers("another new Service answers", &second, 30444)?;
    stage.point("second", "false")?;
    wait_until("endpoints are followed", LIMIT, || match stage.unanswered(&second, 30444) {
        Ok(missing) if missing.len() == 12 => Ok(()),
        Ok(missing) => Err(missing.join(", ")),
        Err(error) => Err(error.to_string()),
    })?;

    testbed.tell_felix(r#"{"bpfEnabled": null}"#)?;
    testbed.nodes().iter().try_for_each(|node| is_off(&testbed, node))?;
    // The control: nobody translates now. On two nodes, from two places, to three addresses.
    let missing = stage.unanswered(&first, 30443)?;
    demand(missing.len() == 12, "nothing answers with both off", &missing)?;
    testbed.restore_kube_proxy()?;
    testbed.wait_kube_proxy()?;
    stage.wait_answers("kube-proxy serves it", &first, 30443)
}

#[test]
fn a_node_can_be_told_otherwise_or_be_unable() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("a_node_can_be_told_otherwise")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let _stage = Stage::new(&testbed)?;
    let (one, other) = (testbed.node("node1")?, testbed.node("node2")?);
    other.write(OLD_KERNEL, b"", "0600")?;
    // A node of one's own wins over what all are told.
    testbed.apply(
        "{apiVersion: crd.projectcalico.org/v1, kind: FelixConfiguration, metadata: {name: node.node1}, spec: {bpfEnabled: false}}",
    )?;
    testbed.tell_felix(r#"{"bpfEnabled": true}"#)?;
    wait_until("the old kernel is told", LIMIT, || {
        let log = ["logs", "-n", "kube-system", "-l", "k8s-app=calico-node", "--tail=-1"];
        let log = testbed.kubectl(&log).map_err(|error| error.to_string())?;
        let told =
            "BPF dataplane mode enabled but not supported by the kernel.  Disabling BPF mode.";
        if log.contains(told) { Ok(()) } else { Err(log) }
    })?;
    is_off(&testbed, one)?;
    is_off(&testbed, other)?;

    // Without the flag Felix removes kube-proxy's rules, and translates in their place.
    let proxy = testbed.stop_service(one, Service::KubeProxy)?;
    testbed.kubectl(&["delete", "felixconfiguration", "node.node1"])?;
    testbed.wait_bpf(one, true)?;
    is_in_the_kernel(&testbed, one)?;
    wait_until("kube-proxy's rules go", LIMIT, || {
        let rules = one.script("iptables-save", &[]).map_err(|error| error.to_string())?;
        let left =
            rules.lines().filter(|it| it.contains("KUBE-SERVICES") || it.contains("KUBE-SVC-"));
        let left: Vec<&str> = left.collect();
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    })?;
    one.write(BPF_DIRTY, b"", "0600")?;
    let dirty = readiness(&testbed, one)?;
    let is_told = dirty.contains("503") && dirty.contains("| BPFEndpointManager ");
    demand(is_told, "a dirty interface makes it unready", &dirty)?;
    one.remove(BPF_DIRTY)?;
    let ready = readiness(&testbed, one)?;
    demand(ready.contains(" 200 OK"), "it is ready again", &ready)?;
    proxy.undo()
}
