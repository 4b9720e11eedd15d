//! `kubectl calico-purge pods --stuck`, live: three pods hang in their deletion, each for a reason of its own. Each is told with
//! what helps, and only the one whose node no longer exists is forgotten.

#![cfg(all(unix, feature = "e2e"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::story::{NODE, Plugin, Pods, Ran, demand, nothing_of_ours};
use tests::testbed::{Error, Testbed, wait_every, wait_until};

const SPACE: &str = "e2e-stuck";
/// A Node object without a machine, and without the label that would give it a calico-node.
const MACHINE: &str = "e2e-machine";
/// Whoever set it must act.
const FINALIZER: &str = "e2e.example.org/wait";
/// A deletion counts as hanging when it is a minute overdue.
const HANGS: Duration = Duration::from_secs(180);
/// The kubelet repeats what failed within half a minute.
const GONE: Duration = Duration::from_secs(120);

/// Pods of a node that does not exist, and the Node object, go with the test.
struct Scene<'a> {
    testbed: &'a Testbed,
    purge: Plugin,
    pods: Pods<'a>,
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        let machine = ["delete", "node", MACHINE, "--ignore-not-found"];
        drop(self.testbed.kubectl(&machine));
        drop(self.release());
        let rest = ["delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false"];
        drop(self.pods.kubectl(&rest));
    }
}

#[test]
fn pods_that_hang_are_told_and_only_those_of_no_node_are_forgotten() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("pods --stuck")? else { return Ok(()) };
    let lock = testbed.lock_cluster()?;
    let pods = Pods::new(&testbed, SPACE)?;
    let scene = Scene { testbed: &testbed, purge: Plugin::purge(&testbed)?, pods };
    let before = scene.populate()?;
    let fault = testbed.hide_cni_binary(testbed.node(NODE)?)?;
    for name in ["forgotten", "held", "wedged"] {
        scene.pods.delete(name)?;
    }
    // Control: what is not overdue does not hang.
    scene.says_none_hangs()?;
    let began = Instant::now();
    wait_every("they hang", HANGS, Duration::from_secs(2), || scene.are_told("does not answer"))?;
    println!("three pods hang after {} s", began.elapsed().as_secs());

    // Control: as long as there is the Node, consent changes nothing.
    let uids = scene.uids()?;
    let ran = scene.stuck(&["--yes"])?;
    demand(ran.code == 3 && scene.uids()? == uids, "nobody is forgotten", &ran)?;

    // Kubernetes' own collector would forget it a minute later.
    let controllers = testbed.stop_controllers(&lock)?;
    testbed.kubectl(&["delete", "node", MACHINE])?;
    scene
        .are_told("there is no node")
        .map_err(|why| unmet("the Node is gone, and that is told", &why))?;
    let ran = scene.stuck(&[])?;
    let asks = ran.code == 6 && ran.stdout.contains("forget 1 pod") && scene.uids()? == uids;
    demand(asks, "without consent it only says what it would do", &ran)?;
    let ran = scene.stuck(&["--yes"])?;
    let mut left = uids;
    left.remove("forgotten");
    demand(ran.code == 3 && scene.uids()? == left, "one is forgotten, and no other", &ran)?;
    controllers.undo()?;

    // The command that was told.
    let ran = scene.purge.run(&["node", NODE, "--yes"])?;
    demand(ran.code == 0, "purge node repairs the cause", &ran)?;
    left.remove("wedged");
    scene.comes_to(&left)?;
    // Only who set the finalizer can end this; purge did not.
    scene.release()?;
    left.remove("held");
    scene.comes_to(&left)?;
    scene.says_none_hangs()?;
    let keeper = scene.pods.snapshot()?;
    demand(keeper.get("keeper") == before.get("keeper"), "the keeper runs on", &keeper)?;
    fault.undo()?;
    drop(scene);
    nothing_of_ours(&testbed)
}

impl Scene<'_> {
    fn populate(&self) -> Result<BTreeMap<String, tests::story::Snapshot>, Error> {
        self.testbed.apply(&format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: {MACHINE}}}\nspec: {{unschedulable: true}}\n"
        ))?;
        self.pods.create("forgotten", MACHINE)?;
        for name in ["held", "wedged", "keeper"] {
            self.pods.create(name, NODE)?;
        }
        self.finalizers(&format!("[\"{FINALIZER}\"]"))?;
        self.pods.wait_running(&["held", "wedged", "keeper"])?;
        self.pods.snapshot()
    }

    fn finalizers(&self, list: &str) -> Result<(), Error> {
        let patch = format!("{{\"metadata\":{{\"finalizers\":{list}}}}}");
        self.pods.kubectl(&["patch", "pod", "held", "--type=merge", "-p", &patch]).map(drop)
    }

    fn release(&self) -> Result<(), Error> {
        self.finalizers("null")
    }

    fn stuck(&self, words: &[&str]) -> Result<Ran, Error> {
        self.purge.run(&[&["pods", "--stuck", "-n", SPACE], words].concat())
    }

    fn says_none_hangs(&self) -> Result<(), Error> {
        let ran = self.stuck(&[])?;
        let says = ran.stdout.contains("no pod hangs in its deletion");
        demand(ran.code == 0 && says, "none hangs", &ran)
    }

    /// All three are told, each with what keeps it; `forgotten` are words about the pod without a machine.
    fn are_told(&self, forgotten: &str) -> Result<(), String> {
        let ran = self.stuck(&["--dry-run", "-o", "json"]).map_err(|error| error.to_string())?;
        let report: Value = serde_json::from_str(&ran.stdout).map_err(|it| it.to_string())?;
        let stuck = report["stuck"].as_array().cloned().unwrap_or_default();
        let told = |name: &str, words: &str| {
            stuck.iter().any(|it| {
                it["name"] == name && it["text"].as_str().is_some_and(|text| text.contains(words))
            })
        };
        let helps = format!("calico-purge node {NODE}");
        let met = stuck.len() == 3
            && told("forgotten", forgotten)
            && told("held", &format!("waits for finalizer {FINALIZER}"))
            && told("wedged", &helps);
        if met { Ok(()) } else { Err(format!("{ran:?}")) }
    }

    /// Waits until exactly these pods are there.
    fn comes_to(&self, left: &BTreeMap<String, String>) -> Result<(), Error> {
        wait_until("no other pods are left", GONE, || {
            let now = self.uids().map_err(|error| error.to_string())?;
            if now == *left { Ok(()) } else { Err(format!("{now:?}")) }
        })
    }

    fn uids(&self) -> Result<BTreeMap<String, String>, Error> {
        let pods = self.pods.snapshot()?;
        Ok(pods.into_iter().map(|(name, pod)| (name, pod.uid)).collect())
    }
}

fn unmet(what: &str, seen: &str) -> Error {
    Error::Unmet { what: what.to_owned(), seen: seen.to_owned() }
}
