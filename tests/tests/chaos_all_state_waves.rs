//! `kubectl calico-purge node --all-state` on several nodes, live: the one with the least to lose goes first, and while it fails
//! no other node is touched, unless `--max-failures` says so. And what is stale on several nodes goes from those, and no other.

#![cfg(all(unix, feature = "chaos"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::story::{Journal, NextJournal, Plugin, Pods, Ran, demand, nothing_of_ours};
use tests::testbed::{
    CNI_KUBECONFIG, CONFLIST, Dump, Error, Layout, Node, Options, Progress, Testbed, available,
    wait_until,
};

/// The number of the testbed, which is this test's alone: all others have two nodes.
const INSTANCE: u8 = 44;
/// It stays with Calico.
const STAYS: &str = "node1";
/// It has two pods.
const SECOND: &str = "node2";
/// It has one pod, so it is the first to be left, whatever its name.
const CANARY: &str = "node3";
/// The nodes that are to be left have this label.
const LABEL: &str = "testbed/wave";
/// The node may take this long to work again.
const LIMIT: Duration = Duration::from_secs(60);

/// The verb, with consent; the pods have no controller.
const PURGE: [&str; 6] = ["node", "-l", LABEL, "--all-state", "--yes", "--force=CAL-GRD-009"];

/// A testbed with three nodes, which is stopped when the test ends, however it ends.
struct Own {
    layout: Layout,
    testbed: Option<Testbed>,
}

impl Own {
    fn start(layout: Layout) -> Result<Self, Error> {
        let mut own = Self { layout, testbed: None };
        let options = Options { workers: 3, ..Options::default() };
        own.testbed = Some(Testbed::start(&own.layout, options, Progress::on_stderr())?);
        Ok(own)
    }

    fn testbed(&self) -> Result<&Testbed, Error> {
        self.testbed.as_ref().ok_or_else(|| Error::Missing("the testbed".to_owned()))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // In use it could not be stopped.
        self.testbed = None;
        drop(Testbed::stop(&self.layout, false, Progress::on_stderr()));
    }
}

/// A file that cannot be removed while this lives.
struct Stuck<'a>(&'a Node);

impl<'a> Stuck<'a> {
    fn on(node: &'a Node) -> Result<Self, Error> {
        node.check(&["/usr/bin/chattr", "+i", CONFLIST])?;
        Ok(Self(node))
    }
}

impl Drop for Stuck<'_> {
    fn drop(&mut self) {
        drop(self.0.run(&["/usr/bin/chattr", "-i", CONFLIST]));
    }
}

#[test]
fn a_canary_that_fails_spares_the_others() -> Result<(), Error> {
    if available().is_err() {
        return Testbed::for_test("waves").map(drop);
    }
    let own = Own::start(Layout::from_environment()?.with_instance(INSTANCE)?)?;
    let testbed = own.testbed()?;
    let _lock = testbed.lock_cluster()?;
    let began = Instant::now();
    let scene = Scene::new(testbed)?;
    scene.stale_on_two_nodes()?;
    println!("stale: {} s", began.elapsed().as_secs());
    scene.control_plane_last()?;
    let stuck = Stuck::on(testbed.node(CANARY)?)?;
    scene.stops_at_the_canary()?;
    println!("stopped at the canary: {} s", began.elapsed().as_secs());
    scene.goes_on_after_it()?;
    println!("went on after it: {} s", began.elapsed().as_secs());
    drop(stuck);
    scene.ends_it()?;
    println!("ended: {} s", began.elapsed().as_secs());
    Ok(())
}

struct Scene<'a> {
    testbed: &'a Testbed,
    purge: Plugin,
    pods: Pods<'a>,
}

/// What may not change on a node that is not touched.
#[derive(Debug, PartialEq)]
struct Untouched {
    /// Labels, annotations and spec of the Node object.
    object: String,
    /// Its pods with their containers, calico-node's among them.
    pods: String,
    /// What Calico has on the host. Routes to other nodes are theirs.
    host: BTreeMap<String, Vec<String>>,
}

impl<'a> Scene<'a> {
    fn new(testbed: &'a Testbed) -> Result<Self, Error> {
        let pods = Pods::new(testbed, "waves")?;
        let placed = [("second-1", SECOND), ("second-2", SECOND), ("canary", CANARY)];
        for (name, node) in placed {
            pods.create(name, node)?;
        }
        pods.wait_running(&placed.map(|(name, _)| name))?;
        testbed.kubectl(&["label", "node", SECOND, CANARY, &format!("{LABEL}=")])?;
        Ok(Self { testbed, purge: Plugin::purge(testbed)?, pods })
    }

    fn purge(&self, more: &[&str]) -> Result<(Ran, Journal), Error> {
        let journal = NextJournal::of(&self.purge);
        let ran = self.purge.run(&[&PURGE[..], more].concat())?;
        Ok((ran, journal.read()))
    }

    fn is_there(&self, node: &str, path: &str) -> Result<bool, Error> {
        self.testbed.node(node)?.has(path)
    }

    /// Scope stale: what is missing on three nodes comes back on the two that are named.
    fn stale_on_two_nodes(&self) -> Result<(), Error> {
        let hidden: Vec<_> = [STAYS, SECOND, CANARY]
            .iter()
            .map(|name| self.testbed.hide_conflist(self.testbed.node(name)?))
            .collect::<Result<_, _>>()?;
        let ran = self.purge.run(&["node", CANARY, SECOND, "--yes"])?;
        demand(ran.code == 0, "what is stale on two nodes goes", &ran)?;
        for (node, wanted) in [(STAYS, false), (SECOND, true), (CANARY, true)] {
            let is = self.is_there(node, CONFLIST)?;
            demand(is == wanted, &format!("{node} has its configuration: {wanted}"), &ran)?;
        }
        nothing_of_ours(self.testbed)?;
        drop(hidden);
        self.testbed.wait_ready()
    }

    /// The nodes in the order in which a plan leaves them.
    fn order(&self) -> Result<Vec<String>, Error> {
        let words = ["node", "-l", LABEL, "--all-state", "--dry-run", "-o", "json"];
        let ran = self.purge.run(&[&words[..], &["--force=CAL-GRD-009"]].concat())?;
        let report: Value = serde_json::from_str(&ran.stdout).map_err(|error| Error::Odd {
            what: format!("the plan: {ran:?}"),
            why: error.to_string(),
        })?;
        let steps = report["plan"]["steps"].as_array().into_iter().flatten();
        let mut nodes: Vec<String> =
            steps.filter_map(|it| it["node"].as_str().map(str::to_owned)).collect();
        nodes.dedup();
        Ok(nodes)
    }

    fn control_plane_last(&self) -> Result<(), Error> {
        // What was stale a moment ago may still be settling.
        wait_until("the node with the fewest pods comes first", LIMIT, || match self.order() {
            Ok(order) if order == [CANARY, SECOND] => Ok(()),
            Ok(order) => Err(format!("{order:?}")),
            Err(error) => Err(error.to_string()),
        })?;
        let role = "node-role.kubernetes.io/control-plane";
        self.testbed.kubectl(&["label", "node", STAYS, CANARY, &format!("{role}=")])?;
        let order = self.order();
        self.testbed.kubectl(&["label", "node", STAYS, CANARY, &format!("{role}-")])?;
        let order = order?;
        demand(order == [SECOND, CANARY], "a node of the control plane last", &order)
    }

    fn untouched(&self) -> Result<Untouched, Error> {
        let on = format!("--field-selector=spec.nodeName={SECOND}");
        let dump = Dump::of(self.testbed, self.testbed.node(SECOND)?)?;
        let of_host =
            ["links", "addresses", "ipsets", "pins", "network-namespaces", "files", "contents"];
        Ok(Untouched {
            object: self.testbed.field(
                &["node", SECOND],
                "{.metadata.labels}{.metadata.annotations}{.spec}",
            )?,
            pods: self.testbed.field(
                &["pods", "-A", &on],
                "{range .items[*]}{.metadata.name} {.metadata.uid} {.status.containerStatuses[*].containerID}{\"\\n\"}{end}",
            )?,
            host: of_host
                .iter()
                .map(|name| ((*name).to_owned(), dump.section(name).to_vec()))
                .collect(),
        })
    }

    /// The canary failed, and nothing of the other node was begun.
    fn stops_at_the_canary(&self) -> Result<(), Error> {
        let before = self.untouched()?;
        let (ran, journal) = self.purge(&[])?;
        self.failed_at_the_canary(&ran, &journal)?;
        let after = self.untouched()?;
        demand(
            spared(&journal) && before == after,
            "the other node is not touched",
            &(&before, &after),
        )?;
        demand(self.pods.snapshot()?.len() == 2, "only the canary lost its pod", &())?;
        nothing_of_ours(self.testbed)
    }

    fn failed_at_the_canary(&self, ran: &Ran, journal: &Journal) -> Result<(), Error> {
        demand(ran.code == 1, "exit code 1", ran)?;
        let says = format!("cannot remove {CONFLIST}");
        demand(ran.stdout.contains(&says), &says, ran)?;
        let failed: Vec<_> = journal.states.iter().filter(|it| it.1 == "failed").collect();
        let is_it = matches!(&failed[..], [(step, _)] if step.ends_with(CANARY));
        demand(is_it && journal.ended, "one step of the canary failed", journal)?;
        let first = |node: &str| journal.steps.iter().position(|it| it.ends_with(node));
        demand(first(CANARY) < first(SECOND), "the canary is the first", journal)?;
        let cordon = self.testbed.field(&["node", CANARY], "{.spec.unschedulable}")?;
        demand(cordon == "true", "the canary stays cordoned", &cordon)
    }

    /// The control: where a second failure is allowed, what was demanded before is not true.
    fn goes_on_after_it(&self) -> Result<(), Error> {
        let before = self.untouched()?;
        let (ran, journal) = self.purge(&["--max-failures", "2"])?;
        self.failed_at_the_canary(&ran, &journal)?;
        demand(!spared(&journal), "the other node's steps were begun", &journal)?;
        demand(before != self.untouched()?, "the other node is touched", &before)?;
        self.is_left(SECOND)?;
        demand(self.is_left(CANARY).is_err(), "the canary is not left", &ran)?;
        nothing_of_ours(self.testbed)
    }

    /// Once nothing hinders it, the same command ends it on both.
    fn ends_it(&self) -> Result<(), Error> {
        let (ran, journal) = self.purge(&[])?;
        demand(ran.code == 0, "the next run exits 0", &ran)?;
        demand(!journal.steps.iter().any(|it| it.ends_with(SECOND)), "one node is left", &journal)?;
        self.is_left(CANARY)?;
        self.is_left(SECOND)?;
        for path in [CONFLIST, CNI_KUBECONFIG] {
            demand(self.is_there(STAYS, path)?, &format!("{STAYS} keeps {path}"), &())?;
        }
        nothing_of_ours(self.testbed)
    }

    /// Nothing of Calico is there, and pods may come again.
    fn is_left(&self, node: &str) -> Result<(), Error> {
        for path in [CONFLIST, CNI_KUBECONFIG, "/opt/cni/bin/calico", "/var/lib/calico"] {
            demand(!self.is_there(node, path)?, &format!("{path} of {node} is gone"), &())?;
        }
        let path = "{.spec.unschedulable}{.metadata.annotations.kubectl-calico/cordoned}";
        let cordon = self.testbed.field(&["node", node], path)?;
        demand(cordon.is_empty(), &format!("{node} is not cordoned"), &cordon)?;
        let excluded = r"{.metadata.labels.kubectl-calico/excluded}";
        let label = self.testbed.field(&["node", node], excluded)?;
        demand(!label.is_empty(), &format!("calico-node keeps off {node}"), &label)?;
        let on = format!("--field-selector=spec.nodeName={node}");
        wait_until("its pods are gone", LIMIT, || {
            let pods = self.pods.kubectl(&["get", "pods", &on, "-o", "name"]);
            match pods.map_err(|error| error.to_string())? {
                pods if pods.trim().is_empty() => Ok(()),
                pods => Err(pods),
            }
        })
    }
}

/// True when no step of the second node was begun.
fn spared(journal: &Journal) -> bool {
    let of_second = |it: &String| it.ends_with(SECOND);
    journal.steps.iter().any(of_second) && !journal.states.iter().any(|(step, _)| of_second(step))
}
