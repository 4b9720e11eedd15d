//! Pods on different nodes reach each other through `vxlan.calico`, and only through it.

#![cfg(all(unix, feature = "e2e"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::time::{Duration, Instant};

use tests::story::{Pods, demand};
use tests::testbed::{Error, Testbed, wait_every, wait_until};

/// The device of the overlay.
const DEVICE: &str = "vxlan.calico";
/// Felix looks at its device every 10 s at the latest.
const HEALING: Duration = Duration::from_secs(10);

#[test]
fn pods_reach_each_other_through_the_tunnel_only() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("overlay")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let pods = Pods::new(&testbed, "overlay")?;
    pods.create("caller", "node1")?;
    pods.create("server", "node2")?;
    pods.wait_running(&["caller", "server"])?;
    pods.kubectl(&["exec", "server", "--", "sh", "-c", "httpd -p 80 -h /etc"])?;
    let server = pods.kubectl(&["get", "pod", "server", "-o", "jsonpath={.status.podIP}"])?;
    wait_until("the overlay", HEALING, || reach(&pods, &server).map_err(|it| it.to_string()))?;

    let node = testbed.node("node2")?;
    let link = || node.run(&["/usr/sbin/ip", "-d", "link", "show", "dev", DEVICE]);
    let seen = link()?.stdout;
    for words in ["vxlan id 4096", "dstport 4789", &format!("local {}", node.address())] {
        demand(seen.contains(words), words, &seen)?;
    }
    let before = counter(node)?;
    reach(&pods, &server)?;
    let after = counter(node)?;
    demand(after > before, "packets come out of the tunnel", &(before, after))?;

    // Control: without the device nothing arrives, and while calico-node is held nobody makes it anew.
    let agent = Stopped::calico_node(node)?;
    node.check(&["/usr/sbin/ip", "link", "delete", DEVICE])?;
    let began = Instant::now();
    while began.elapsed() < HEALING {
        let reached = reach(&pods, &server);
        demand(reached.is_err(), "no answer without the tunnel", &reached)?;
    }
    demand(!link()?.is_success(), "the device stays away", &())?;
    drop(agent);
    let began = Instant::now();
    wait_every("the device is made anew", HEALING, Duration::from_millis(200), || {
        reach(&pods, &server).map_err(|error| error.to_string())
    })?;
    println!("the deleted device was back after {:.1} s", began.elapsed().as_secs_f32());
    Ok(())
}

/// One ping and one request by HTTP, from the other node.
fn reach(pods: &Pods<'_>, server: &str) -> Result<(), Error> {
    let script =
        "ping -c 1 -W 1 \"$1\" && printf 'GET /passwd HTTP/1.0\\r\\n\\r\\n' | nc -w 2 \"$1\" 80";
    let answer = pods.kubectl(&["exec", "caller", "--", "sh", "-c", script, "sh", server])?;
    demand(answer.contains("root:"), "the page", &answer)
}

/// Packets that the node has taken out of the tunnel.
fn counter(node: &tests::testbed::Node) -> Result<u64, Error> {
    let text = node.read_text(&format!("/sys/class/net/{DEVICE}/statistics/rx_packets"))?;
    text.trim().parse().map_err(|_| Error::Odd { what: "a counter".to_owned(), why: text })
}

/// calico-node's process, held until this is dropped.
struct Stopped<'a> {
    node: &'a tests::testbed::Node,
    pid: String,
}

impl<'a> Stopped<'a> {
    fn calico_node(node: &'a tests::testbed::Node) -> Result<Self, Error> {
        let find = "for it in /proc/[0-9]*; do \
                    [ \"$(tr '\\0' ' ' <\"$it/cmdline\")\" = '/bin/calico-node ' ] && echo \"${it#/proc/}\"; done; true";
        let pid = node.script(find, &[])?.trim().to_owned();
        demand(pid.parse::<u32>().is_ok(), "one process calico-node", &pid)?;
        node.check(&["/usr/bin/kill", "-STOP", &pid])?;
        Ok(Self { node, pid })
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        // The kubelet restarts a held calico-node after a minute; then there is nobody to let go.
        drop(self.node.run(&["/usr/bin/kill", "-CONT", &self.pid]));
    }
}
