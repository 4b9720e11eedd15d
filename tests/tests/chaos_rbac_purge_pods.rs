//! The roles of `kubectl calico-purge pods`, `pods --stuck` and `sandboxes` are exactly enough; see `chaos_rbac_purge`. All three
//! are about what must have been there for a minute or two, and wait for it together.

#![cfg(all(unix, feature = "chaos"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::time::Duration;

use tests::story::{NODE, Plugin, Pods, Stage, Verb, demand, nothing_of_ours};
use tests::testbed::{Error, Testbed, wait_every};

/// Namespace of finished pods, of pods that hang, and of those whose sandboxes are orphaned.
const FINISHED: &str = "roles-finished";
const HANGING: &str = "roles-hanging";
const ORPHANED: &str = "roles-orphaned";
/// A Node object without a machine, and without the label that would give it a calico-node.
const MACHINE: &str = "roles-machine";
/// Takes a Node object away, however the test ends.
struct Machine<'a>(&'a Testbed);

impl<'a> Machine<'a> {
    fn make(testbed: &'a Testbed) -> Result<Self, Error> {
        let machine = Self(testbed);
        testbed.apply(&format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: {MACHINE}}}\nspec: {{unschedulable: true}}\n"
        ))?;
        Ok(machine)
    }

    fn remove(&self) -> Result<(), Error> {
        self.0.kubectl(&["delete", "node", MACHINE, "--ignore-not-found"]).map(drop)
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        drop(self.remove());
        // Nobody else would ever end what was bound to it.
        let delete = ["delete", "pods", "--all", "-n", HANGING, "--force", "--grace-period=0"];
        drop(self.0.kubectl(&[&delete[..], &["--wait=false"]].concat()));
    }
}

#[test]
fn pods_and_sandboxes() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("roles of pods and sandboxes")? else { return Ok(()) };
    let lock = testbed.lock_cluster()?;
    let purge = Plugin::purge(&testbed)?;
    let stage = Stage::new(&testbed, &purge)?;
    let residents = Pods::new(&testbed, ORPHANED)?;
    residents.create("orphan", NODE)?;
    residents.wait_running(&["orphan"])?;
    let (fault, orphans) = testbed.orphan_sandboxes(&stage.node, ORPHANED, &["orphan"])?;
    let machine = Machine::make(&testbed)?;
    let (finished, hanging) = (Pods::new(&testbed, FINISHED)?, Pods::new(&testbed, HANGING)?);
    finish(&finished)?;
    hanging.create("forgotten", MACHINE)?;
    hanging.delete("forgotten")?;
    // Controllers would forget it after a minute, too.
    let controllers = testbed.stop_controllers(&lock)?;

    let command = &["pods", "-n", FINISHED, "--bare", "--yes"];
    let pods = stage.verb("purge-pods", (&["pods"], command))?;
    let command = &["pods", "--stuck", "-n", HANGING, "--yes"];
    let stuck = stage.verb("purge-stuck", (&["pods", "--stuck"], command))?;
    let command = &["sandboxes", NODE, "--yes"];
    let sandboxes = stage.verb("purge-sandboxes", (&["sandboxes"], command))?;

    wait_plan(&purge, &["pods", "-n", FINISHED, "--bare"], "2 pods")?;
    stage.each_is_missed(&pods, |_| true)?;
    works(&pods)?;
    demand(finished.snapshot()?.is_empty(), "they are gone", &finished.snapshot()?)?;

    machine.remove()?;
    wait_plan(&purge, &["pods", "--stuck", "-n", HANGING], "forget 1 pod")?;
    stage.each_is_missed(&stuck, |_| true)?;
    works(&stuck)?;
    demand(hanging.snapshot()?.is_empty(), "it is forgotten", &hanging.snapshot()?)?;
    controllers.undo()?;

    wait_plan(&purge, &["sandboxes", NODE], "pod sandbox")?;
    stage.each_is_missed(&sandboxes, |_| true)?;
    works(&sandboxes)?;
    let left = stage.node.check(&["/usr/bin/ctr", "-n", "k8s.io", "containers", "ls", "-q"])?;
    demand(!orphans.iter().any(|it| left.contains(&it.id)), "the sandbox is gone", &left)?;
    fault.undo()?;
    nothing_of_ours(&testbed)
}

/// Longest wait for something to be old enough, and the pause between two looks.
const LIMIT: Duration = Duration::from_secs(240);
const PAUSE: Duration = Duration::from_secs(3);

/// Two pods that ended, and that nobody owns.
fn finish(pods: &Pods<'_>) -> Result<(), Error> {
    let status = r#"{"status":{"phase":"Failed","reason":"Evicted"}}"#;
    for name in ["a", "b"] {
        pods.create_unschedulable(name)?;
        pods.kubectl(&[
            "patch",
            "pod",
            name,
            "--subresource=status",
            "--type=merge",
            "-p",
            status,
        ])?;
    }
    Ok(())
}

/// Waits until a dry run plans this.
fn wait_plan(purge: &Plugin, words: &[&str], wanted: &str) -> Result<(), Error> {
    wait_every(&format!("a plan: {wanted}"), LIMIT, PAUSE, || {
        let ran = purge.run(&[words, &["--dry-run"]].concat()).map_err(|it| it.to_string())?;
        if ran.stdout.contains(wanted) { Ok(()) } else { Err(format!("{ran:?}")) }
    })
}

/// Under its whole role it does its work.
fn works(verb: &Verb<'_>) -> Result<(), Error> {
    verb.whole()?;
    println!("{}", verb.told());
    Ok(())
}
