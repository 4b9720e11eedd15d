//! Runs beside, after and instead of each other: only one changes the cluster at a time; one that was cut off is gone on with
//! or taken back; one whose journal is lost is not, and is not needed.

#![cfg(all(unix, feature = "e2e"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::fs;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tests::story::{Doctor, Files, NODE, Ran, Running, demand, nothing_of_ours, remove_backups};
use tests::testbed::{
    ClusterLock, Error, FOREIGN_CONFLIST, Fault, Foreign, Node, Testbed, wait_until,
};

/// A node with another plugin's configuration in front, which `fix` renames on the host.
struct Broken<'a> {
    testbed: &'a Testbed,
    node: Node,
    before: Files,
    _fault: Fault,
    _lock: ClusterLock,
}

impl<'a> Broken<'a> {
    fn new(testbed: &'a Testbed) -> Result<Self, Error> {
        let lock = testbed.lock_cluster()?;
        let node = testbed.node(NODE)?.clone();
        let fault = testbed.foreign_conflist(&node, Foreign::Uninstalled)?;
        let before = Files::of(&node)?;
        Ok(Self { testbed, node, before, _fault: fault, _lock: lock })
    }

    fn changed(&self) -> Result<Vec<String>, Error> {
        Ok(self.before.differing(&Files::of(&self.node)?))
    }

    fn is_repaired(&self) -> Result<(), Error> {
        let changed = self.changed()?;
        demand(changed == [FOREIGN_CONFLIST], "the configuration is renamed", &changed)
    }

    fn is_untouched(&self) -> Result<(), Error> {
        let changed = self.changed()?;
        demand(changed.is_empty(), "every byte is as it was", &changed)
    }
}

/// A run that was killed after its first step was begun.
fn killed(doctor: &Doctor) -> Result<(), Error> {
    let mut run = Running::fix(doctor)?;
    run.wait("the first step", |journal| journal.is_at(0))?;
    let (journal, in_time) = run.kill()?;
    demand(in_time && !journal.ended, "it was killed in the midst", &journal)
}

fn ends(ran: &Ran, code: i32, says: &str) -> Result<(), Error> {
    let said = ran.stderr.contains(says) || ran.stdout.contains(says);
    demand(ran.code == code && said, &format!("exit {code}, saying {says:?}"), ran)
}

/// State of the newest run, as `runs -o json` tells it.
fn state(doctor: &Doctor) -> Result<String, Error> {
    let ran = doctor.run(&["runs", "-o", "json"])?;
    let list: Value = serde_json::from_str(&ran.stdout)
        .map_err(|error| Error::Odd { what: format!("{ran:?}"), why: error.to_string() })?;
    let last = list["runs"].as_array().and_then(|runs| runs.last()).cloned().unwrap_or_default();
    Ok(last["state"].as_str().unwrap_or("none").to_owned())
}

fn lease_of(holder: &str, renewed: Timestamp) -> String {
    format!(
        r#"{{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{{"name":"kubectl-calico","namespace":"kube-system"}},
        "spec":{{"holderIdentity":"{holder}","leaseDurationSeconds":30,"acquireTime":"{renewed:.6}","renewTime":"{renewed:.6}"}}}}"#
    )
}

#[test]
fn only_who_holds_the_lease_acts() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("lease")? else { return Ok(()) };
    let broken = Broken::new(&testbed)?;
    // Somebody on another machine.
    let doctor = Doctor::new(&testbed)?;
    testbed.apply(&lease_of("jane@laptop/01JANE", Timestamp::now()))?;
    ends(&doctor.run(&["fix", "--yes"])?, 6, "jane@laptop/01JANE")?;
    broken.is_untouched()?;
    demand(state(&doctor)? == "none", "nothing is remembered of a run that was not let", &())?;

    // Two at once, each with its own journals: the first is held in the midst of its only step.
    let other = Doctor::new(&testbed)?;
    testbed.kubectl(&["delete", "lease", "kubectl-calico", "-n", "kube-system"])?;
    let mut first = Running::fix(&doctor)?;
    first.wait("the first step", |journal| journal.is_at(0))?;
    first.signal("STOP")?;
    let refused = other.run(&["fix", "--yes"])?;
    // Control: the same command acts when there is no Lease.
    testbed.kubectl(&["delete", "lease", "kubectl-calico", "-n", "kube-system"])?;
    let acts = other.run(&["fix", "--yes"])?;
    first.signal("CONT")?;
    let (journal, status) = first.end()?;
    ends(&refused, 6, "another run is changing this cluster")?;
    ends(&acts, 0, "Done")?;
    println!("the run whose Lease was taken away ended {status}: {journal:?}");
    broken.is_repaired()?;
    nothing_of_ours(broken.testbed)?;
    remove_backups(&broken.node)
}

#[test]
fn what_a_dead_run_held_is_taken_over() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("dead lease")? else { return Ok(()) };
    let broken = Broken::new(&testbed)?;
    let doctor = Doctor::new(&testbed)?;
    // On this machine at once: its journal shows that it is dead.
    killed(&doctor)?;
    let holder = ["get", "lease", "kubectl-calico", "-n", "kube-system", "-o", "name"];
    demand(testbed.kubectl_output(&holder)?.status == Some(0), "the dead run left its Lease", &())?;
    ends(&doctor.run(&["fix", "--yes"])?, 0, "Done")?;
    broken.is_repaired()?;
    nothing_of_ours(&testbed)?;
    // From elsewhere when it has expired.
    ends(&doctor.run(&["undo", "last", "--yes"])?, 0, "taken back")?;
    broken.is_untouched()?;
    testbed.apply(&lease_of("jane@laptop/01JANE", Timestamp::now()))?;
    wait_until("an expired Lease is taken over", Duration::from_secs(60), || {
        let ran = doctor.run(&["fix", "--yes"]).map_err(|error| error.to_string())?;
        if ran.code == 0 { Ok(()) } else { Err(format!("{ran:?}")) }
    })?;
    broken.is_repaired()?;
    nothing_of_ours(&testbed)?;
    remove_backups(&broken.node)
}

#[test]
fn a_run_that_was_cut_off_is_gone_on_with_and_taken_back() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("resume")? else { return Ok(()) };
    let broken = Broken::new(&testbed)?;
    let doctor = Doctor::new(&testbed)?;
    killed(&doctor)?;
    demand(state(&doctor)? == "cut off", "runs says so", &())?;
    ends(&doctor.run(&["resume", "last", "--dry-run"])?, 0, "rename")?;
    ends(&doctor.run(&["resume", "last"])?, 6, "--yes")?;
    ends(&doctor.run(&["resume", "last", "--yes"])?, 0, "undo: ")?;
    broken.is_repaired()?;
    nothing_of_ours(&testbed)?;
    ends(&doctor.run(&["resume", "last", "--yes"])?, 0, "ended well")?;

    ends(&doctor.run(&["undo", "last", "--dry-run"])?, 0, "put back")?;
    broken.is_repaired()?;
    ends(&doctor.run(&["undo", "last", "--yes"])?, 0, "taken back")?;
    broken.is_untouched()?;
    demand(state(&doctor)? == "undone", "runs says so", &())?;
    ends(&doctor.run(&["undo", "last", "--yes"])?, 0, "taken back already")?;
    ends(&doctor.run(&["resume", "last", "--yes"])?, 6, "was taken back")?;
    nothing_of_ours(&testbed)?;
    remove_backups(&broken.node)
}

#[test]
fn without_its_journal_a_run_is_repaired_by_looking_only() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("no journal")? else { return Ok(()) };
    let broken = Broken::new(&testbed)?;
    let doctor = Doctor::new(&testbed)?;
    killed(&doctor)?;
    let runs = doctor.state().join("kubectl-calico/runs");
    fs::remove_dir_all(&runs)
        .map_err(|error| Error::Odd { what: "journals".into(), why: error.to_string() })?;
    ends(&doctor.run(&["undo", "last", "--yes"])?, 1, "no journal")?;
    ends(&doctor.run(&["resume", "last", "--yes"])?, 1, "no journal")?;
    // Nobody here knows that the holder of the Lease is dead: it has to expire.
    wait_until("the next fix repairs", Duration::from_secs(60), || {
        let ran = doctor.run(&["fix", "--yes"]).map_err(|error| error.to_string())?;
        if ran.code == 0 { Ok(()) } else { Err(format!("{ran:?}")) }
    })?;
    broken.is_repaired()?;
    nothing_of_ours(&testbed)?;
    remove_backups(&broken.node)
}

#[test]
fn a_run_that_is_told_to_end_leaves_nothing() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("SIGTERM")? else { return Ok(()) };
    let broken = Broken::new(&testbed)?;
    let doctor = Doctor::new(&testbed)?;
    for name in ["TERM", "INT"] {
        let mut run = Running::fix(&doctor)?;
        run.wait("the first step", |journal| journal.is_at(0))?;
        run.signal(name)?;
        let (journal, status) = run.end()?;
        demand(status.code() == Some(130), "it exits 130", &(status, &journal))?;
        nothing_of_ours(&testbed)?;
        demand(state(&doctor)? == "interrupted", "runs says so", &())?;
        ends(&doctor.run(&["resume", "last", "--yes"])?, 0, "Done")?;
        broken.is_repaired()?;
        ends(&doctor.run(&["undo", "last", "--yes"])?, 0, "taken back")?;
        broken.is_untouched()?;
    }
    remove_backups(&broken.node)
}
