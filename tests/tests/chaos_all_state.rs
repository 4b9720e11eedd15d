//! `purge node --all-state` is killed with SIGKILL around each of its steps; the next one ends with the node clean, and nothing
//! of ours is left: no cordon that nobody knows of, no node pod, no Lease, no loopback configuration.

#![cfg(all(unix, feature = "chaos"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tests::gate::Gate;
use tests::story::{
    Doctor, NODE, Plugin, Pods, Point, Ran, Running, Victim, demand, nothing_of_ours, scripts,
};
use tests::testbed::{CNI_KUBECONFIG, CONFLIST, Error, Node, Testbed, layouts, wait_until};

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
    gate: Gate,
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
        let gate = Gate::to(testbed)?;
        Ok(Self {
            testbed,
            node: testbed.node(NODE)?.clone(),
            purge: Plugin::purge_with_kubeconfig(&gate.kubeconfig())?,
            gate,
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
        let scripts = scripts(&self.node)?;
        demand(scripts.is_empty(), "no script of ours runs", &scripts)?;
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

    /// A run that nothing disturbs; its steps.
    fn undisturbed(&self) -> Result<Vec<String>, Error> {
        self.populate()?;
        let (undisturbed, status) = Running::start(&self.purge, &PURGE)?.end()?;
        demand(status.success(), "the undisturbed run exits 0", &(status, self.purge.said()))?;
        self.is_left()?;
        let said = Ran { code: 0, stdout: self.purge.said(), stderr: String::new() };
        self.come_back(&said)?;
        Ok(undisturbed.steps)
    }

    /// One point of the matrix; what it came to, as a line.
    fn point(&self, point: &Point) -> Result<String, Error> {
        let began = Instant::now();
        self.populate()?;
        let (plugin, gate, node) = (&self.purge, &self.gate, &self.node);
        let journal = Victim { plugin, words: &PURGE, gate, node }.kill_at(point)?;
        let killed = began.elapsed();
        // The control: what is demanded of the next run is not true yet.
        let Err(missing) = self.is_left() else {
            return Err(Error::Unmet {
                what: "a killed run does not leave the node clean".to_owned(),
                seen: format!("it is clean after {point}"),
            });
        };
        let took = self.rerun()?;
        Ok(format!(
            "killed at {point} after {} s: {} done, {}; ended by the next after {} s, all in {} s",
            killed.as_secs(),
            journal.done(),
            brief(&missing),
            took.as_secs(),
            began.elapsed().as_secs(),
        ))
    }
}

/// What an error says, without what was seen.
fn brief(error: &Error) -> String {
    match error {
        Error::Unmet { what, .. } => format!("not yet: {what}"),
        other => other.to_string(),
    }
}

/// The matrix, shared by as many testbeds as tests may use.
#[derive(Default)]
struct Matrix {
    /// The steps of an undisturbed run; none before the first one ended.
    steps: Option<Vec<String>>,
    /// The end of it comes first: those points need the least of a run after the kill.
    left: Vec<Point>,
    met: usize,
    /// Nobody begins another point.
    is_over: bool,
}

type Shared = Mutex<Matrix>;

fn locked(matrix: &Shared) -> MutexGuard<'_, Matrix> {
    matrix.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn wherever_a_removal_is_killed_the_next_one_ends_it() -> Result<(), Error> {
    let matrix = Shared::default();
    let began = Instant::now();
    thread::scope(|scope| {
        let work = || {
            let ended = on_one_testbed(&matrix);
            locked(&matrix).is_over |= ended.is_err();
            ended
        };
        let all: Vec<_> = layouts()?.iter().map(|_| scope.spawn(work)).collect();
        let lost = |_| Error::Missing("a thread of the matrix".to_owned());
        all.into_iter().try_for_each(|it| it.join().map_err(lost)?)
    })?;
    let matrix = locked(&matrix);
    // No testbed here: that was said.
    let Some(steps) = &matrix.steps else { return Ok(()) };
    println!("{} points for {} steps in {} s", matrix.met, steps.len(), began.elapsed().as_secs());
    let all = Point::of_steps(steps).len();
    demand(matrix.met == all && all >= 3 * steps.len(), "three points for each step", &matrix.met)
}

fn on_one_testbed(matrix: &Shared) -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("all-state kill matrix")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let bench = Bench::new(&testbed)?;
    bench.node.script(MOUNT, &[CGROUPS])?;
    let steps = bench.undisturbed()?;
    {
        let mut matrix = locked(matrix);
        if let Some(known) = &matrix.steps {
            demand(*known == steps, "the same steps on each testbed", &(known, &steps))?;
        } else {
            println!("the undisturbed run has {} steps: {}", steps.len(), steps.join(", "));
            matrix.left = Point::of_steps(&steps);
            matrix.steps = Some(steps);
        }
    }
    loop {
        let point = {
            let mut matrix = locked(matrix);
            if matrix.is_over { None } else { matrix.left.pop() }
        };
        let Some(point) = point else { return Ok(()) };
        println!("{}", bench.point(&point)?);
        locked(matrix).met += 1;
    }
}
