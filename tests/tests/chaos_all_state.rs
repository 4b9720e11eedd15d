//! `purge node --all-state` is killed with SIGKILL around each of its steps; the next one ends with the node clean, and nothing
//! of ours is left: no cordon that nobody knows of, no node pod, no Lease, no loopback configuration.

#![cfg(all(unix, feature = "chaos"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::time::{Duration, Instant};

use tests::story::{
    Doctor, Journal, LOOPBACK, NODE, Plugin, Pods, Ran, Running, demand, nothing_of_ours, scripts,
};
use tests::testbed::{CNI_KUBECONFIG, CONFLIST, Error, Node, Testbed, wait_until};

/// A pod with a pod network and no controller: it is lost each time, and made anew.
const POD: &str = "lost";
/// The verb, with consent.
const PURGE: [&str; 5] = ["node", NODE, "--all-state", "--yes", "--force=CAL-GRD-009"];
/// The node, or what is undone, may take this long to come back.
const LIMIT: Duration = Duration::from_secs(120);

/// Programs that other testbeds of this machine loaded for cgroups are seen by the whole machine; those that are attached here
/// only through a mount.
const CGROUPS: &str = "/run/testbed/cgroup2";
const MOUNT: &str =
    r#"grep -q " cgroup2 " /proc/mounts || { mkdir -p "$1" && mount -t cgroup2 cgroup2 "$1"; }"#;
const UNMOUNT: &str = r#"umount "$1" 2>/dev/null; rmdir "$1" 2>/dev/null; exit 0"#;

struct Bench<'a> {
    testbed: &'a Testbed,
    node: Node,
    purge: Plugin,
    doctor: Doctor,
    pods: Pods<'a>,
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        let quietly: [&[&str]; 3] = [
            &["uncordon", NODE],
            &["label", "node", NODE, "kubectl-calico/excluded-"],
            &["annotate", "node", NODE, "kubectl-calico/cordoned-"],
        ];
        for arguments in quietly {
            drop(self.testbed.kubectl(arguments));
        }
        drop(self.node.script(UNMOUNT, &[CGROUPS]));
        drop(self.testbed.repair_node(&self.node));
    }
}

impl<'a> Bench<'a> {
    fn new(testbed: &'a Testbed) -> Result<Self, Error> {
        Ok(Self {
            testbed,
            node: testbed.node(NODE)?.clone(),
            purge: Plugin::purge(testbed)?,
            doctor: Doctor::new(testbed)?,
            pods: Pods::new(testbed, "all-state-matrix")?,
        })
    }

    /// A healthy node with a pod on it.
    fn populate(&self) -> Result<(), Error> {
        self.pods.kubectl(&["delete", "pod", POD, "--ignore-not-found", "--timeout=60s"])?;
        self.pods.create(POD, NODE)?;
        self.pods.wait_running(&[POD])
    }

    /// What a run must have achieved, however the one before it ended.
    fn is_left(&self) -> Result<(), Error> {
        for path in [CONFLIST, CNI_KUBECONFIG, "/opt/cni/bin/calico", "/var/lib/calico"] {
            demand(!self.node.has(path)?, &format!("{path} is gone"), &())?;
        }
        demand(!self.pods.snapshot()?.contains_key(POD), "the pod is gone", &())?;
        let shown = self.node.script("ip -o link", &[])?;
        demand(!shown.contains("cali"), "no interface of Calico", &shown)?;
        let path = "{.spec.unschedulable}{.metadata.annotations.kubectl-calico/cordoned}";
        let node = self.testbed.field(&["node", NODE], path)?;
        demand(node.is_empty(), "no cordon that nobody knows of", &node)?;
        nothing_of_ours(self.testbed)
    }

    /// The next run, which must end well; then the node comes back.
    fn rerun(&self) -> Result<Duration, Error> {
        let began = Instant::now();
        let ran = self.purge.run(&PURGE)?;
        demand(ran.code == 0, "the next run exits 0", &ran)?;
        let took = began.elapsed();
        self.is_left()?;
        self.come_back(&ran)?;
        Ok(took)
    }

    /// Takes the newest run back and waits until the node is well.
    fn come_back(&self, ran: &Ran) -> Result<(), Error> {
        let undo = ran.stdout.lines().find_map(|line| line.strip_prefix("undo: "));
        if let Some(run) = undo.and_then(|line| line.split(' ').next_back()) {
            let undone = self.purge.run(&["undo", run, "--yes"])?;
            demand(undone.code == 0, "undo takes the run back", &undone)?;
        } else {
            // There was nothing left to do: the killed run had done it all.
            self.testbed.kubectl(&["label", "node", NODE, "kubectl-calico/excluded-"])?;
        }
        wait_until("the doctor finds nothing", LIMIT, || {
            let (code, report) = self.doctor.check(&[]).map_err(|error| error.to_string())?;
            if code == 0 { Ok(()) } else { Err(format!("{code}: {report:?}")) }
        })
    }

    fn is_in_script(&self) -> bool {
        let loopback = self.node.root().is_ok_and(|root| root.join(LOOPBACK).exists());
        loopback || scripts(&self.node).is_ok_and(|found| !found.is_empty())
    }
}

/// A moment of a run, at which it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The step's intent is written down.
    Intended,
    /// A script of ours runs on the host, or its configuration stands there.
    Script,
    /// The step's end is written down, and nothing of the next step is.
    Ended,
}

impl Moment {
    fn of_step(step: &str) -> &'static [Self] {
        let is_on_host = step.starts_with("remove-file")
            || step.starts_with("remove-directory")
            || step.starts_with("free-sandboxes");
        if is_on_host {
            &[Self::Intended, Self::Script, Self::Ended]
        } else {
            &[Self::Intended, Self::Ended]
        }
    }

    fn is_reached(self, bench: &Bench<'_>, place: usize, journal: &Journal) -> bool {
        match self {
            Self::Intended => journal.is_at(place),
            Self::Script => journal.is_at(place) && bench.is_in_script(),
            Self::Ended => journal.done() > place,
        }
    }
}

/// A step that only asks the API server is over within milliseconds: its moments are met by looking often, and not every time.
const TRIES: usize = 5;

/// Kills a run at that moment; none when each of several runs was through before it was seen.
fn kill_at(
    bench: &Bench<'_>,
    name: &str,
    is_reached: impl Fn(&Journal) -> bool,
) -> Result<Option<Journal>, Error> {
    for attempt in 1..=TRIES {
        bench.populate()?;
        let mut run = Running::start(&bench.purge, &PURGE)?;
        match run.wait(name, &is_reached) {
            Ok(()) => {
                let (journal, in_time) = run.kill()?;
                if in_time {
                    return Ok(Some(journal));
                }
            }
            // It ended before.
            Err(Error::Unmet { .. }) => {}
            Err(other) => return Err(other),
        }
        if attempt < TRIES {
            bench.rerun()?;
        }
    }
    Ok(None)
}

#[test]
fn wherever_a_removal_is_killed_the_next_one_ends_it() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("all-state kill matrix")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let bench = Bench::new(&testbed)?;
    bench.node.script(MOUNT, &[CGROUPS])?;
    bench.populate()?;
    let (undisturbed, status) = Running::start(&bench.purge, &PURGE)?.end()?;
    demand(status.success(), "the undisturbed run exits 0", &(status, bench.purge.said()))?;
    bench.is_left()?;
    let said = Ran { code: 0, stdout: bench.purge.said(), stderr: String::new() };
    bench.come_back(&said)?;
    let steps = undisturbed.steps;
    println!("the undisturbed run has {} steps: {}", steps.len(), steps.join(", "));
    let mut points = 0;
    for (place, step) in steps.iter().enumerate() {
        for moment in Moment::of_step(step) {
            let name = format!("{moment:?} of step {} ({step})", place + 1);
            let killed =
                kill_at(&bench, &name, |journal| moment.is_reached(&bench, place, journal))?;
            let took = bench.rerun()?;
            let took = took.as_secs();
            match killed {
                Some(journal) => {
                    println!(
                        "killed at {name}: {} done; ended by the next after {took} s",
                        journal.done()
                    );
                    points += 1;
                }
                None => println!("{name} was too short to be met {TRIES} times"),
            }
        }
    }
    println!("{points} points for {} steps", steps.len());
    demand(points >= 2 * steps.len() - 1, "two points for each step", &points)
}
