//! Nodes that are not what eBPF needs.

use tests::story::demand;
use tests::testbed::{Error, Node, OLD_KERNEL, Testbed, wait_until};

use crate::stage::{ERROR, LIMIT, REFUSED, Stage, says, says_nothing_of, tell};

/// A kernel that preflight cannot let pass, as /proc/version tells it.
const OLD_VERSION: &[u8] = b"Linux version 4.15.0-20-generic (gcc version 7.3.0) #21-Ubuntu SMP\n";
/// Where it stands on the node, and in calico-node's container.
const ELSEWHERE: &str = "/var/run/calico/old-version";
/// Puts a file in front of /proc/version in calico-node's container, whose image cannot mount: `$1` is the file.
const REPLACE: &str = r#"
for pid in $(/usr/bin/pgrep -x calico-node); do
    [ -e "/proc/$pid/root/bin/calico-node" ] || continue
    /bin/cp /bin/busybox "/proc/$pid/root/var/run/calico/busybox"
    /usr/bin/nsenter -t "$pid" -m /var/run/calico/busybox mount -o bind "$1" /proc/version && echo replaced
done"#;

#[test]
fn nodes_that_cannot_are_named_before_or_in_the_end() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("ebpf nodes that cannot")? else { return Ok(()) };
    let lock = testbed.lock_cluster()?;
    let stage = Stage::begin("nodes that cannot", &testbed, &lock)?;
    let node = testbed.node("node2")?;
    not_ready(&stage, node)?;
    kernel_that_felix_refuses(&stage, node)?;
    kernel_that_preflight_sees(&stage, node)?;
    stage.end()
}

fn not_ready(stage: &Stage<'_>, node: &Node) -> Result<(), Error> {
    let fault = stage.testbed.hide_conflist(node)?;
    wait_until("the Node is not Ready", LIMIT, || {
        let ready = "{.status.conditions[?(@.type==\"Ready\")].status}";
        let ready = stage.testbed.field(&["node", node.name()], ready);
        match ready.map_err(|error| error.to_string())?.as_str() {
            "False" => Ok(()),
            other => Err(other.to_owned()),
        }
    })?;
    let refused = stage.enable(&[])?;
    tell(&refused);
    let words = ["nothing was changed, because nodes-ready on node2: it is not Ready"];
    says(&refused, REFUSED, &words)?;
    says(&refused, REFUSED, &["repair the node", "--force=nodes-ready"])?;
    fault.undo()?;
    stage.testbed.wait_ready()?;
    says_nothing_of(&stage.enable(&["--dry-run"])?, &["nodes-ready"])?;
    stage.is_as_before()
}

/// Felix falls back to iptables on that node, as it does on a real one, whatever preflight saw.
fn kernel_that_felix_refuses(stage: &Stage<'_>, node: &Node) -> Result<(), Error> {
    let run = with_old_kernel(stage, node, &["--step-timeout=25"])?;
    tell(&run);
    let words = [
        "every node forwards by eBPF",
        "node2: no BPF program is attached",
        "not supported by the kernel",
        "kernel is too old (have: 4.15.0",
        "the cluster is as it was",
    ];
    says(&run, ERROR, &words)?;
    stage.is_as_before()
}

fn with_old_kernel(
    stage: &Stage<'_>,
    node: &Node,
    more: &[&str],
) -> Result<tests::story::Ran, Error> {
    node.write(OLD_KERNEL, b"", "0644")?;
    let run = stage.enable(more);
    node.remove(OLD_KERNEL)?;
    run
}

/// That node's kernel section is another one in the probe's answer.
fn kernel_that_preflight_sees(stage: &Stage<'_>, node: &Node) -> Result<(), Error> {
    node.write(ELSEWHERE, OLD_VERSION, "0644")?;
    let said = node.script(REPLACE, &[ELSEWHERE])?;
    demand(said.contains("replaced"), "the container sees another kernel", &said)?;
    let refused = stage.enable(&[])?;
    tell(&refused);
    says(
        &refused,
        REFUSED,
        &["nothing was changed, because kernel on node2: ", "4.15", "--force=kernel"],
    )?;
    demand(!refused.stderr.contains("kernel on node1"), "node1 is not blamed", &refused)?;
    // What is mounted in a container goes with it.
    stage.testbed.restart_calico_node(node)?;
    stage.testbed.wait_ready()?;
    for file in [ELSEWHERE, "/var/run/calico/busybox"] {
        node.remove(file)?;
    }
    says_nothing_of(&stage.enable(&["--dry-run"])?, &["4.15"])
}
