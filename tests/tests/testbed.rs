//! The testbed itself: it starts, it is what it claims to be, and it leaves nothing behind.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on is to end with the place where it could not"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tests::testbed::{
    Cni, FORBIDDEN, Inventory, Layout, Options, Process, Progress, Service, Testbed, available,
    wait_every, wait_until,
};

/// Numbers of testbeds that only one test uses.
const LEFTOVERS: u8 = 41;
const KILLED: u8 = 42;

/// A testbed of a number of its own, which is stopped when the test ends, however it ends.
struct Own(Layout);

impl Own {
    /// `None` where there can be no testbed. `Testbed::for_test` has said so, or failed.
    fn new(name: &str, instance: u8) -> Option<Self> {
        if available().is_err() {
            assert!(Testbed::for_test(name).unwrap().is_none());
            return None;
        }
        let own = Self(Layout::from_environment().unwrap().with_instance(instance).unwrap());
        Testbed::stop(&own.0, true, Progress::silent()).unwrap();
        Some(own)
    }

    fn leftovers(&self) -> Vec<String> {
        Inventory::take(&self.0).unwrap().leftovers()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        drop(Testbed::stop(&self.0, true, Progress::on_stderr()));
    }
}

fn sh(script: &str, arguments: &[&str]) {
    let status = Command::new("sh").args(["-ec", script, "sh"]).args(arguments).status().unwrap();
    assert!(status.success(), "{script}");
}

#[test]
fn stopping_leaves_nothing_and_the_count_would_see_it() {
    let Some(own) = Own::new("stopping_leaves_nothing_and_the_count_would_see_it", LEFTOVERS)
    else {
        return;
    };
    let none = Vec::<String>::new();
    let before = Inventory::take(&own.0).unwrap();
    assert_eq!(before.leftovers(), none);

    let options = Options { workers: 1, cni: Cni::Calico };
    let testbed = Testbed::start(&own.0, options, Progress::on_stderr()).unwrap();
    let during = Inventory::take(&own.0).unwrap();
    // 4 of the control plane, 2 services, and containers with their shims.
    assert!(during.processes.len() >= 10, "{during:?}");
    for (what, count) in [
        ("mounts", during.mounts.len()),
        ("namespaces", during.namespaces.len()),
        ("links", during.links.len()),
        ("cgroups", during.cgroups.len()),
        ("routes", during.routes.len()),
    ] {
        assert!(count > 0, "a running testbed has {what}, but none were counted");
    }
    testbed.tell_felix(r#"{"bpfEnabled": true}"#).unwrap();
    let node = testbed.node("node1").unwrap();
    let bpf = wait_until("programs and maps are there", Duration::from_secs(30), || {
        let ids = node.script(BPF, &[]).map_err(|error| error.to_string())?;
        if ids.contains("prog ") && ids.contains("map ") { Ok(ids) } else { Err(ids) }
    });
    let (bpf, rootfs) = (bpf.unwrap(), testbed.artefacts().rootfs.clone());
    let error = Testbed::stop(&own.0, false, Progress::silent()).unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    drop(testbed);
    assert!(bpf_objects(&rootfs).intersection(&lines(&bpf)).count() > 2, "{bpf}");
    Testbed::stop(&own.0, false, Progress::on_stderr()).unwrap();
    // The kernel lets go of them some time after the last network namespace and mount that held them.
    wait_until("the kernel forgets programs and maps", Duration::from_secs(20), || {
        let left: Vec<_> = bpf_objects(&rootfs).intersection(&lines(&bpf)).cloned().collect();
        if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
    })
    .unwrap();

    let after = Inventory::take(&own.0).unwrap();
    assert_eq!(after.leftovers(), none);
    // While another testbed is there, the settings are left to it; a unit test of the last one's part needs no machine.
    if !own.0.others_exist() {
        assert_eq!(after.settings, before.settings, "settings that kubelet writes are put back");
    }
    assert_eq!(during.processes.iter().filter(|process| process.runs()).count(), 0);
    assert!(!own.0.run().exists());
}

/// The BPF programs at a node's devices, and the maps that it has pinned, by the numbers that the kernel gave them.
const BPF: &str = r#"bpftool net show | sed -n 's/.* cali_.* id \([0-9]*\)$/prog \1/p'
for pin in /sys/fs/bpf/tc/globals/*; do bpftool map show pinned "$pin" | sed -n '1s/^\([0-9]*\): .*/map \1/p'; done"#;

/// All programs and maps of the kernel, whosever they are.
fn bpf_objects(rootfs: &Path) -> BTreeSet<String> {
    ["prog", "map"]
        .iter()
        .flat_map(|kind| {
            let show = ["/usr/sbin/bpftool", kind, "show"];
            let shown = Command::new("chroot").arg(rootfs).args(show).output().unwrap();
            let shown = String::from_utf8(shown.stdout).unwrap();
            let ids = shown.lines().filter_map(|line| line.split_once(": "));
            ids.map(|(id, _)| format!("{kind} {id}")).collect::<Vec<_>>()
        })
        .collect()
}

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

/// The control of the test above: one leftover of each kind is put there, and each is counted; then all of them go.
#[test]
fn every_kind_of_leftover_is_seen_and_removed() {
    let Some(own) = Own::new("every_kind_of_leftover_is_seen_and_removed", LEFTOVERS + 2) else {
        return;
    };
    let (layout, run) = (&own.0, own.0.run().display().to_string());
    let hierarchy = layout_hierarchy();
    assert_eq!(own.leftovers(), Vec::<String>::new());
    let expect = |part: &str| {
        let found = own.leftovers();
        assert!(found.iter().any(|line| line.starts_with(part)), "{part} is not in {found:?}");
    };

    let bridge = layout.bridge();
    sh(
        "ip link add $1 type bridge; ip addr add $2/24 dev $1; ip link set $1 up",
        &[&bridge, &layout.gateway().to_string()],
    );
    expect(&format!("link {bridge}"));
    expect("route ");
    sh(
        "ip netns add $1-node9; ip link add $1-node9 type veth peer name eth0 netns $1-node9",
        &[&bridge],
    );
    expect(&format!("namespace {bridge}-node9"));
    expect(&format!("link {bridge}-node9"));
    expect(&format!("mount /run/netns/{bridge}-node9"));
    sh("mkdir -p $1/nodes/node9/kubelet; mount -t tmpfs tmpfs $1/nodes/node9/kubelet", &[&run]);
    expect(&format!("mount {run}/nodes/node9/kubelet"));
    sh("mkdir -p $1/$2/node9/kubepods", &[&hierarchy, &layout.cgroup()]);
    expect("cgroup ");
    let marked =
        background(Command::new("sleep").arg("600").env("KUBECTL_CALICO_TESTBED_MARK", &run));
    expect(&format!("process {}", marked.pid));
    let group = format!("{hierarchy}/{}/node9/kubepods/cgroup.procs", layout.cgroup());
    let grouped = background(Command::new("sleep").arg("600"));
    fs::write(&group, grouped.pid.to_string()).unwrap();
    expect(&format!("process {}", grouped.pid));

    Testbed::stop(layout, false, Progress::silent()).unwrap();
    assert_eq!(own.leftovers(), Vec::<String>::new());
    assert!(!marked.runs() && !grouped.runs());
}

/// A process that is nobody's child, so that it leaves no zombie.
fn background(command: &mut Command) -> Process {
    let program = command.get_program().to_owned();
    let mut line = Command::new("sh");
    line.args(["-c", r#""$@" >/dev/null 2>&1 & echo $!"#, "sh"])
        .arg(program)
        .args(command.get_args());
    line.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = line.stdin(Stdio::null()).output().unwrap();
    let pid = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    wait_every(
        "the process has become the program",
        Duration::from_secs(5),
        Duration::from_millis(5),
        || {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if name.trim() == "sleep" { Process::now(pid).ok_or(name) } else { Err(name) }
        },
    )
    .unwrap()
}

/// A hierarchy in which a new group takes any process at once (a v1 cpuset would not).
fn layout_hierarchy() -> String {
    let places = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup"];
    places
        .iter()
        .find(|place| fs::exists(format!("{place}/cgroup.procs")).unwrap())
        .unwrap()
        .to_string()
}

#[test]
fn a_start_that_is_killed_is_cleaned_up_by_the_next_stop() {
    let Some(own) = Own::new("a_start_that_is_killed_is_cleaned_up_by_the_next_stop", KILLED)
    else {
        return;
    };
    let layout = &own.0;
    // Otherwise the start would be killed while it builds.
    Testbed::build(layout, Progress::on_stderr()).unwrap();
    for moment in ["node-node1", "etcd", "kube-controller-manager"] {
        let before = Inventory::take(layout).unwrap();
        assert_eq!(before.leftovers(), Vec::<String>::new());
        let mut start = Command::new(env!("CARGO_BIN_EXE_testbed"))
            .arg("up")
            .env("KUBECTL_CALICO_TESTBED_INSTANCE", KILLED.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let record = layout.run().join("records").join(moment);
        let what = format!("{moment} has its record");
        let begun = wait_every(&what, Duration::from_secs(90), Duration::from_millis(5), || {
            fs::exists(&record).unwrap().then_some(()).ok_or_else(|| "no record".to_owned())
        });
        start.kill().unwrap();
        start.wait().unwrap();
        begun.unwrap();
        assert!(
            !own.leftovers().is_empty(),
            "the kill came too late or too early to leave anything"
        );
        Testbed::stop(layout, false, Progress::on_stderr()).unwrap();
        let after = Inventory::take(layout).unwrap();
        assert_eq!(after.leftovers(), Vec::<String>::new(), "killed when {what}");
        if !layout.others_exist() {
            assert_eq!(after.settings, before.settings);
        }
    }
}

#[test]
fn the_image_of_calico_node_lacks_what_the_real_one_lacks() {
    let Some(testbed) =
        Testbed::for_test("the_image_of_calico_node_lacks_what_the_real_one_lacks").unwrap()
    else {
        return;
    };
    let node = testbed.lease_node().unwrap();
    let pod = testbed
        .field(
            &[
                "pod",
                "--namespace=kube-system",
                "--selector=k8s-app=calico-node",
                &format!("--field-selector=spec.nodeName={}", node.name()),
            ],
            "{.items[0].metadata.name}",
        )
        .unwrap();
    // Each name on a line of its own, if the container's shell finds it as a file in its path.
    let script = r#"for tool; do if type -P "$tool" >/dev/null; then echo "$tool"; fi; done"#;
    let ask = |tools: &[&str]| {
        let exec = [
            "exec",
            "--namespace=kube-system",
            &pod,
            "--container=calico-node",
            "--",
            "/bin/bash",
            "-c",
            script,
            "bash",
        ];
        let found = testbed.kubectl(&[exec.as_slice(), tools].concat()).unwrap();
        found.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ask(&FORBIDDEN), Vec::<String>::new());
    let needed = [
        "bash",
        "sh",
        "base64",
        "sha256sum",
        "cat",
        "ls",
        "stat",
        "date",
        "timeout",
        "grep",
        "sed",
        "find",
        "ip",
        "iptables",
        "ipset",
    ];
    assert_eq!(ask(&needed), needed);
    // They do not only lie there: libraries and extensions came along.
    let works = "set -e; ip -br link >/dev/null; iptables -t nat -S >/dev/null; ipset list -n; echo x | sed s/x/y/ | grep -q y; \
                 sha256sum </dev/null >/dev/null; timeout 5 date >/dev/null; find /opt/cni/bin -name calico-ipam";
    let output = testbed
        .kubectl(&[
            "exec",
            "--namespace=kube-system",
            &pod,
            "--container=calico-node",
            "--",
            "/bin/sh",
            "-c",
            works,
        ])
        .unwrap();
    assert!(output.trim_end().ends_with("/opt/cni/bin/calico-ipam"), "{output}");
}

#[test]
fn pods_reach_each_other_and_the_api_across_nodes() {
    let name = "pods_reach_each_other_and_the_api_across_nodes";
    let Some(testbed) = Testbed::for_test(name).unwrap() else { return };
    // Nobody may break a node meanwhile.
    let _lock = testbed.lock_cluster().unwrap();
    let space = TestNamespace::new(&testbed, "across-nodes");
    testbed.apply(&space.web()).unwrap();
    testbed
        .kubectl(&["rollout", "status", "daemonset/web", &space.flag(), "--timeout=60s"])
        .unwrap();
    let addresses = testbed.field(&["pods", &space.flag()], "{.items[*].status.podIP}").unwrap();
    let names = testbed.field(&["pods", &space.flag()], "{.items[*].metadata.name}").unwrap();
    for pod in names.split(' ') {
        for address in addresses.split(' ').chain(["10.96.0.1"]) {
            let port = if address == "10.96.0.1" { "443" } else { "8080" };
            // nc ends well when it could connect; the other side ends the connection.
            let connect = format!("echo GET /none | nc -w 5 {address} {port} >/dev/null");
            testbed.kubectl(&["exec", &space.flag(), pod, "--", "sh", "-c", &connect]).unwrap();
        }
    }
    let node = testbed.node("node1").unwrap();
    assert_eq!(node.check(&["/bin/hostname"]).unwrap().trim(), "node1");
    let version = testbed.field(&["node", "node1"], "{.status.nodeInfo.kubeletVersion}").unwrap();
    assert!(version.starts_with("v1."), "{version}");
}

/// A namespace that goes when the test ends.
struct TestNamespace<'a> {
    testbed: &'a Testbed,
    name: &'static str,
}

impl<'a> TestNamespace<'a> {
    fn new(testbed: &'a Testbed, name: &'static str) -> Self {
        testbed
            .kubectl(&["delete", "namespace", name, "--ignore-not-found", "--timeout=60s"])
            .unwrap();
        testbed.kubectl(&["create", "namespace", name]).unwrap();
        Self { testbed, name }
    }

    fn flag(&self) -> String {
        format!("--namespace={}", self.name)
    }

    fn web(&self) -> String {
        format!(
            r#"{{apiVersion: apps/v1, kind: DaemonSet, metadata: {{name: web, namespace: {}}}, spec: {{
                selector: {{matchLabels: {{app: web}}}},
                template: {{metadata: {{labels: {{app: web}}}}, spec: {{terminationGracePeriodSeconds: 0, containers: [
                  {{name: web, image: "docker.io/library/busybox:1.36", imagePullPolicy: Never, command: [httpd, -f, -p, "8080"]}}]}}}}}}}}"#,
            self.name
        )
    }
}

impl Drop for TestNamespace<'_> {
    fn drop(&mut self) {
        drop(self.testbed.kubectl(&["delete", "namespace", self.name, "--wait=false"]));
    }
}

#[test]
fn a_lease_keeps_others_away_and_gives_a_node_that_works() {
    let Some(testbed) =
        Testbed::for_test("a_lease_keeps_others_away_and_gives_a_node_that_works").unwrap()
    else {
        return;
    };
    let node = testbed.lease_node().unwrap();
    // Another file description of the same lock, as another process has it.
    let lock =
        fs::File::open(testbed.layout().locks().join(format!("node-{}", node.name()))).unwrap();
    assert!(lock.try_lock().is_err());

    node.write("/tmp/a file", b"\0bytes\xff", "0600").unwrap();
    assert_eq!(node.read("/tmp/a file").unwrap().unwrap(), b"\0bytes\xff");
    node.rename("/tmp/a file", "/tmp/b").unwrap();
    assert_eq!(node.read("/tmp/a file").unwrap(), None);
    node.remove("/tmp/b").unwrap();
    assert!(!node.has("/tmp/b").unwrap());

    // A test that died, leaving the node broken in two ways.
    node.stop_service(Service::KubeProxy).unwrap();
    assert!(!node.service_runs(Service::KubeProxy).unwrap());
    node.remove("/etc/cni/net.d/calico-kubeconfig").unwrap();
    let name = node.name().to_owned();
    drop(node);
    let node = testbed.lease_named(&name).unwrap();
    assert!(node.service_runs(Service::KubeProxy).unwrap());
    wait_until("the kubeconfig is back", Duration::from_secs(1), || {
        node.has("/etc/cni/net.d/calico-kubeconfig").unwrap().then_some(()).ok_or_else(String::new)
    })
    .unwrap();
}

#[test]
fn logs_are_collected_without_secrets() {
    let Some(testbed) = Testbed::for_test("logs_are_collected_without_secrets").unwrap() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    testbed.collect(folder.path()).unwrap();
    for file in [
        "nodes.txt",
        "pods.yaml",
        "control-plane/kube-apiserver.log",
        "node1/kubelet.log",
        "node1/state.txt",
    ] {
        let text = fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(!text.is_empty(), "{file}");
        assert!(!text.contains("PRIVATE KEY") && !text.contains("client-key-data"), "{file}");
    }
}
