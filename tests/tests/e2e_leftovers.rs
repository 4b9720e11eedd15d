//! What Calico leaves on a node is found and removed, all of it; nothing else is, however much it looks like it.
#![cfg(all(unix, feature = "e2e"))]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tests::story::{Plugin, Pods, demand, nothing_of_ours};
use tests::testbed::{Abandoned, Dump, Error, Fault, Node, NodeLease, Service, Testbed};

/// A scan, or a removal, of one node by hand: some hundred programs.
const LIMIT: Duration = Duration::from_secs(120);

/// What is there after a removal and was not before the seeding: directories that others use as well, and namespaces that
/// no sandbox has, which are no network state.
const STAYS: [&str; 10] = [
    "files + /etc/calico d",
    "files + /var/lib/cni d",
    "files + /var/lib/cni/cache d",
    "files + /var/lib/cni/cache/results d",
    "files + /var/lib/cni/networks d",
    "files + /var/lib/cni/results d",
    "mounts + /netns /run/netns tmpfs",
    "network-namespaces + cni-",
    "pins + /sys/fs/bpf/tc d",
    "pins + /sys/fs/bpf/tc/globals d",
];

/// A node without Calico, on which nothing but the test changes anything.
struct Scene<'a> {
    testbed: &'a Testbed,
    purge: Plugin,
    abandoned: Abandoned<'a>,
    held_proxy: Fault,
}

/// What a scan said.
struct Found {
    code: i32,
    ids: BTreeSet<String>,
    kept: usize,
    text: String,
}

impl<'a> Scene<'a> {
    fn of(testbed: &'a Testbed, node: &NodeLease) -> Result<Self, Error> {
        let abandoned = testbed.abandon(node)?;
        // It would write its rules anew every 30 s, and dumps would differ.
        let proxy = testbed.stop_service(node, Service::KubeProxy)?;
        Ok(Self { testbed, purge: Plugin::purge(testbed)?, abandoned, held_proxy: proxy })
    }

    fn node(&self) -> &Node {
        self.abandoned.node()
    }

    fn dump(&self) -> Result<Dump, Error> {
        Dump::of(self.testbed, self.node())
    }

    fn leftovers(&self, arguments: &[&str]) -> Result<Found, Error> {
        let ran = self.purge.run(&[&["leftovers", "-o", "json"], arguments].concat())?;
        let odd = |why: String| Error::Odd { what: "what leftovers said".to_owned(), why };
        let report: Value = serde_json::from_str(&ran.stdout)
            .map_err(|error| odd(format!("{error}: {}{}", ran.stdout, ran.stderr)))?;
        let nodes = report["nodes"].as_array().cloned().unwrap_or_default();
        demand(nodes.len() == 1, "a report of one node", &ran)?;
        let list = |kind: &str| nodes[0][kind].as_array().cloned().unwrap_or_default();
        let id = |it: &Value| it["id"].as_str().map(ToOwned::to_owned);
        Ok(Found {
            code: ran.code,
            ids: list("residues").iter().filter_map(id).collect(),
            kept: list("kept").len() + list("reported").len(),
            text: format!("{}\n{}", ran.stdout, ran.stderr),
        })
    }

    fn scan(&self) -> Result<Found, Error> {
        self.leftovers(&[self.node().name()])
    }

    fn remove(&self) -> Result<(), Error> {
        let found = self.leftovers(&[self.node().name(), "--remove", "--yes"])?;
        demand(found.code == 0, "everything is removed", &found.text)
    }

    /// Calico comes back, and nothing of ours is anywhere.
    fn end(self) -> Result<(), Error> {
        let testbed = self.testbed;
        drop(self.held_proxy);
        self.abandoned.end()?;
        testbed.wait_ready()?;
        nothing_of_ours(testbed)
    }
}

/// Nothing was found, and everything was looked at.
fn is_clean(found: &Found) -> Result<(), Error> {
    demand(found.ids.is_empty() && found.code == 0, "a clean node", &found.text)
}

/// Exactly this was found.
fn is_exactly(found: &Found, names: &BTreeSet<String>) -> Result<(), Error> {
    let missing: Vec<&String> = names.difference(&found.ids).collect();
    let besides: Vec<&String> = found.ids.difference(names).collect();
    let seen = ("not found", missing, "found besides", besides);
    demand(&found.ids == names, "what was seeded is what was found", &seen)?;
    demand(found.code == 3, "residues are findings", &found.code)
}

fn by_kind(names: &BTreeSet<String>) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name.split('/').next().unwrap_or(name)).or_default() += 1;
    }
    counts
}

/// The host is as before but for what stays.
fn is_as(before: &Dump, after: &Dump) -> Result<(), Error> {
    let mut differences = before.differences(after);
    differences.retain(|it| !STAYS.iter().any(|stays| it.starts_with(stays)));
    demand(differences.is_empty(), "the host is as before", &differences)
}

#[test]
fn all_that_calico_leaves_is_found_and_removed() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("all_that_calico_leaves")? else { return Ok(()) };
    let node = testbed.lease_node()?;
    let scene = Scene::of(&testbed, &node)?;
    is_clean(&scene.scan()?)?;
    let before = scene.dump()?;

    let names: BTreeSet<String> = scene.abandoned.seed()?.into_iter().collect();
    let found = scene.scan()?;
    println!("found {} of {}: {:?}", found.ids.len(), names.len(), by_kind(&found.ids));
    is_exactly(&found, &names)?;
    // Control: what is found and was not expected would be noticed, of each kind.
    for kind in by_kind(&names).into_keys() {
        let mut fewer = names.clone();
        let one = names.iter().find(|it| it.starts_with(&format!("{kind}/"))).cloned();
        fewer.remove(&one.unwrap_or_default());
        demand(is_exactly(&found, &fewer).is_err(), "one residue more would be noticed", &kind)?;
    }

    scene.remove()?;
    is_clean(&scene.scan()?)?;
    is_as(&before, &scene.dump()?)?;
    // Control: what a removal had left would be noticed, by the scan and by the dump.
    scene.abandoned.seed_only(&["link/bwcali3f5078e6c"])?;
    demand(is_clean(&scene.scan()?).is_err(), "one interface would be noticed by a scan", &())?;
    demand(is_as(&before, &scene.dump()?).is_err(), "and by a dump", &())?;
    scene.end()
}

#[test]
fn what_only_looks_like_calicos_is_left_alone() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("what_only_looks_like_calicos")? else { return Ok(()) };
    let node = testbed.lease_node()?;
    let pods = Pods::new(&testbed, "look-alikes")?;
    pods.create("lives", node.name())?;
    pods.wait_running(&["lives"])?;
    let pod = pods.snapshot()?;
    let scene = Scene::of(&testbed, &node)?;
    let look_alikes = scene.abandoned.seed_look_alikes()?;
    let before = scene.dump()?;
    let found = scene.scan()?;
    println!("{} look-alikes, of which {} are told", look_alikes.len(), found.kept);
    is_clean(&found)?;
    scene.remove()?;
    let after = scene.dump()?;
    demand(before == after, "dumps are identical", &before.differences(&after))?;

    // Among all that Calico leaves they are left alone as well.
    let mut names: BTreeSet<String> = scene.abandoned.seed()?.into_iter().collect();
    // Whose answers libcni keeps cannot be told while a pod of Calico's network runs: that one needs its own.
    names.retain(|it| !it.contains("/results/"));
    is_exactly(&scene.scan()?, &names)?;
    scene.remove()?;
    is_clean(&scene.scan()?)?;
    let mut differences = before.differences(&scene.dump()?);
    differences.retain(|it| !it.contains("/results/k8s-pod-network-c0ffee"));
    differences.retain(|it| !STAYS.iter().any(|stays| it.starts_with(stays)));
    demand(differences.is_empty(), "the host is as before", &differences)?;
    demand(pods.snapshot()? == pod, "the pod of the node runs on", &pod)?;
    scene.end()
}

#[test]
fn a_machine_that_left_its_cluster_is_cleared_by_hand() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("a_machine_that_left")? else { return Ok(()) };
    let node = testbed.lease_node()?;
    let scene = Scene::of(&testbed, &node)?;
    drop(scene.abandoned.seed_look_alikes()?);
    let before = scene.dump()?;
    let mut names: BTreeSet<String> = scene.abandoned.seed()?.into_iter().collect();
    // Those are for whoever speaks to the cluster.
    names.retain(|it| !it.starts_with("annotation/") && !it.starts_with("condition/"));

    let pool = testbed.layout().pod_cidr();
    let file = scene.purge.state().join("scan.txt").display().to_string();
    let arguments = ["--scan", &file, "--pool", &pool];
    let script = scene.purge.run(&["leftovers", "--print-script"])?;
    let by_hand = |script: &str| {
        let shell = scene.node().command(&["/bin/sh", "-s"])?.input(script).limit(LIMIT);
        shell.output()
    };
    let scan = || -> Result<Found, Error> {
        let output = by_hand(&script.stdout)?;
        demand(output.is_success(), "the scan runs", &output)?;
        std::fs::write(&file, &output.stdout).map_err(|source| Error::File {
            what: "write",
            path: file.clone().into(),
            source,
        })?;
        scene.leftovers(&arguments)
    };
    is_exactly(&scan()?, &names)?;
    let removal =
        scene.purge.run(&[&["leftovers", "--print-script"], arguments.as_slice()].concat())?;
    let removed = by_hand(&removal.stdout)?;
    demand(removed.is_success(), "the script removes all", &removed)?;
    println!("{}", removed.stdout);
    is_clean(&scan()?)?;
    let mut differences = before.differences(&scene.dump()?);
    differences.retain(|it| !it.starts_with("node "));
    differences.retain(|it| !STAYS.iter().any(|stays| it.starts_with(stays)));
    demand(differences.is_empty(), "the host is as before", &differences)?;
    scene.end()
}
