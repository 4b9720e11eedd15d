//! `fix` is killed with SIGKILL before, within and after each of its steps on a host; the next one ends repaired, and nothing
//! of ours is left.

#![cfg(all(unix, feature = "chaos"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::cell::Cell;
use std::fs;
use std::time::{Duration, Instant};

use tests::gate::Gate;
use tests::story::{
    Doctor, Moment, NODE, Plugin, Pods, Point, Ran, Running, Victim, demand, has_loopback,
    nothing_of_ours, remove_backups, scripts,
};
use tests::testbed::{
    CNI_KUBECONFIG, Error, FOREIGN_CONFLIST, Fault, Foreign, Node, Sandbox, Testbed, wait_until,
};

/// What is to be repaired.
const CODES: [&str; 3] = ["CAL-CNI-003", "CAL-CNI-006", "CAL-POD-003"];
/// Pods whose sandboxes become orphans, one for each killed run. They are older by then than an orphan must be.
const STOCK: usize = 24;
/// How old the runtime must call a sandbox that counts as an orphan, with room to spare.
const OLD: Duration = Duration::from_secs(150);

/// A node on which three things are to be repaired on the host itself, because calico-node cannot start.
struct Bench<'a> {
    testbed: &'a Testbed,
    node: Node,
    gate: Gate,
    doctor: Doctor,
    pods: Pods<'a>,
    used: Cell<usize>,
    born: Instant,
    _image: Fault,
}

/// What one run has to repair.
struct Broken {
    orphan: Sandbox,
    kubeconfig: Vec<u8>,
    _faults: Vec<Fault>,
}

impl<'a> Bench<'a> {
    fn new(testbed: &'a Testbed, namespace: &str, stock: usize) -> Result<Self, Error> {
        let node = testbed.node(NODE)?.clone();
        let pods = Pods::new(testbed, namespace)?;
        let names: Vec<String> = (0..stock).map(|number| format!("stock-{number}")).collect();
        names.iter().try_for_each(|name| pods.create(name, NODE))?;
        pods.wait_running(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        let born = Instant::now();
        let image = testbed.remove_calico_image(&node)?;
        let gate = Gate::to(testbed)?;
        let doctor = Doctor::with_kubeconfig(&gate.kubeconfig())?;
        let used = Cell::new(0);
        let bench = Self { testbed, node, gate, doctor, pods, used, born, _image: image };
        wait_until("the pods are old enough", OLD + Duration::from_secs(10), || {
            let age = bench.born.elapsed();
            if age >= OLD { Ok(()) } else { Err(format!("{} s", age.as_secs())) }
        })?;
        Ok(bench)
    }

    /// Breaks the node: an orphan whose DEL fails for good, an expired token, and another plugin's configuration in front.
    fn break_it(&self) -> Result<Broken, Error> {
        let number = self.used.replace(self.used.get() + 1);
        let pod = format!("stock-{number}");
        let (stuck, orphans) =
            self.testbed.orphan_sandboxes(&self.node, self.pods.namespace(), &[&pod])?;
        let faults = vec![
            stuck,
            self.testbed.expire_token(&self.node)?,
            self.testbed.foreign_conflist(&self.node, Foreign::Uninstalled)?,
        ];
        let orphan = orphans.into_iter().next();
        let orphan = orphan.ok_or_else(|| Error::Missing(format!("the sandbox of {pod}")))?;
        let kubeconfig = self.node.read(CNI_KUBECONFIG)?.unwrap_or_default();
        Ok(Broken { orphan, kubeconfig, _faults: faults })
    }

    /// What a repair must have achieved.
    fn is_repaired(&self, broken: &Broken) -> Result<(), Error> {
        demand(!self.node.has(FOREIGN_CONFLIST)?, "the foreign configuration is moved aside", &())?;
        let now = self.node.read(CNI_KUBECONFIG)?.unwrap_or_default();
        demand(now != broken.kubeconfig, "another token", &())?;
        let left = self.testbed.sandboxes(&self.node, &broken.orphan.uid)?;
        demand(left.is_empty(), "the orphan is gone", &left)?;
        let (code, report) = self.doctor.check(&["--probe"])?;
        // calico-node itself stays down without its image, and that is told.
        let left: Vec<_> = report.findings().into_iter().filter(|it| it.is_grave()).collect();
        let is_well = left.iter().all(|it| it.code == "CAL-WRK-001");
        demand(is_well && matches!(code, 0 | 3), "check finds nothing more", &(code, left))?;
        // The token is accepted and the network is Calico's: a new pod starts, and stops.
        let name = format!("proof-{}", self.used.get());
        self.pods.create(&name, NODE)?;
        self.pods.wait_running(&[&name])?;
        self.pods.kubectl(&["delete", "pod", &name, "--timeout=60s"])?;
        nothing_of_ours(self.testbed)
    }

    /// The next run, which must end well.
    fn rerun(&self, broken: &Broken) -> Result<(Ran, Duration), Error> {
        let began = Instant::now();
        let ran = self.doctor.run(&[&["fix", "--yes"], &CODES[..]].concat())?;
        demand(ran.code == 0, "the next fix exits 0", &ran)?;
        self.is_repaired(broken)?;
        remove_backups(&self.node)?;
        Ok((ran, began.elapsed()))
    }

    /// Whether the step at this place has acted, as the node shows it.
    fn has_acted(&self, broken: &Broken, step: &str) -> bool {
        let Ok(root) = self.node.root() else { return false };
        let path = |path: &str| root.join(path.trim_start_matches('/'));
        if step.starts_with("move-aside") {
            !path(FOREIGN_CONFLIST).exists()
        } else if step.starts_with("renew-cni-kubeconfig") {
            fs::read(path(CNI_KUBECONFIG)).is_ok_and(|now| now != broken.kubeconfig)
        } else {
            let sandboxes = "/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes";
            !path(&format!("{sandboxes}/{}", broken.orphan.id)).exists()
        }
    }

    fn runs_script(&self) -> bool {
        scripts(&self.node).is_ok_and(|found| !found.is_empty())
    }
}

#[test]
fn wherever_fix_is_killed_the_next_one_repairs() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("kill matrix")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let bench = Bench::new(&testbed, "kill-matrix", STOCK)?;

    let broken = bench.break_it()?;
    let (undisturbed, status) = Running::fix_codes(&bench.doctor, &CODES)?.end()?;
    demand(status.success(), "the undisturbed run exits 0", &(status, bench.doctor.said()))?;
    bench.is_repaired(&broken)?;
    remove_backups(&bench.node)?;
    drop(broken);
    let steps = undisturbed.steps;
    println!("the undisturbed run has {} steps: {}", steps.len(), steps.join(", "));
    demand(steps.len() >= 3, "three steps at least", &steps)?;

    let mut points = 0;
    let (plugin, gate, node): (&Plugin, _, _) = (&bench.doctor, &bench.gate, &bench.node);
    let words = [&["fix", "--yes"], &CODES[..]].concat();
    let victim = Victim { plugin, words: &words, gate, node };
    for point in Point::of_steps(&steps) {
        let broken = bench.break_it()?;
        let journal = victim.kill_at(&point)?;
        let acted = matches!(point.moment, Moment::Acted | Moment::Ended);
        let is_so = acted == bench.has_acted(&broken, &point.step);
        // While sandboxes are freed, the one may be gone or not.
        demand(is_so || point.moment == Moment::Loopback, "the host is changed", &journal)?;
        let (_, took) = bench.rerun(&broken)?;
        println!(
            "killed at {point}: journal {:?}; repaired by the next after {} s",
            journal.states,
            took.as_secs()
        );
        points += 1;
    }
    println!("{points} points for {} steps", steps.len());
    demand(points >= 3 * steps.len(), "three points for each step", &points)
}

#[test]
fn other_deaths_on_the_way() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("other deaths")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let bench = Bench::new(&testbed, "other-deaths", 6)?;
    the_pod_dies(&bench)?;
    the_script_dies(&bench)?;
    the_journal_is_lost(&bench)
}

/// The node pod is deleted while a script of the last step runs in it.
fn the_pod_dies(bench: &Bench<'_>) -> Result<(), Error> {
    let broken = bench.break_it()?;
    let mut run = Running::fix_codes(&bench.doctor, &CODES)?;
    run.wait("a script", |journal| !journal.states.is_empty() && bench.runs_script())?;
    let ours = "app.kubernetes.io/managed-by=kubectl-calico";
    let gone = bench.testbed.kubectl(&[
        "delete",
        "pod",
        "-A",
        "-l",
        ours,
        "--force",
        "--grace-period=0",
        "--ignore-not-found",
        "-o",
        "name",
    ])?;
    demand(!gone.trim().is_empty(), "a node pod was there", &gone)?;
    let (journal, status) = run.end()?;
    let (_, took) = bench.rerun(&broken)?;
    println!(
        "node pod deleted: that run ended {status}, {:?}; the next after {} s",
        journal.states,
        took.as_secs()
    );
    Ok(())
}

/// The script alone is killed, while the configuration that does nothing is in place.
fn the_script_dies(bench: &Bench<'_>) -> Result<(), Error> {
    let broken = bench.break_it()?;
    let mut run = Running::fix_codes(&bench.doctor, &CODES)?;
    run.wait("the loopback configuration", |_| has_loopback(&bench.node) && bench.runs_script())?;
    for pid in scripts(&bench.node)? {
        bench.node.run(&["/usr/bin/kill", "-KILL", &pid.to_string()])?;
    }
    let killed = Instant::now();
    let (journal, status) = run.end()?;
    // The timer on the host removes it, whatever the doctor does.
    wait_until("the loopback configuration is gone", Duration::from_secs(75), || {
        if has_loopback(&bench.node) { Err("it stands".to_owned()) } else { Ok(()) }
    })?;
    println!("script killed: its configuration was gone after {} s", killed.elapsed().as_secs());
    let (_, took) = bench.rerun(&broken)?;
    println!(
        "script killed: that run ended {status}, {:?}; the next after {} s",
        journal.states,
        took.as_secs()
    );
    Ok(())
}

/// The journal of the killed run is deleted: the next one repairs by looking, and the lost one cannot be taken back.
fn the_journal_is_lost(bench: &Bench<'_>) -> Result<(), Error> {
    let broken = bench.break_it()?;
    let mut run = Running::fix_codes(&bench.doctor, &CODES)?;
    run.wait("the second step", |journal| journal.states.len() > 1)?;
    let (journal, in_time) = run.kill()?;
    demand(in_time, "killed while it ran", &journal)?;
    fs::remove_dir_all(bench.doctor.state().join("kubectl-calico/runs"))
        .map_err(|error| Error::Odd { what: "the journals".to_owned(), why: error.to_string() })?;
    // Without the journal nobody can tell that its run is dead: its Lease must expire first, which takes 30 s.
    wait_until("the Lease of the lost run expires", Duration::from_secs(60), || {
        let ran = bench.doctor.run(&[&["fix", "--yes"], &CODES[..]].concat());
        match ran.map_err(|error| error.to_string())? {
            ran if ran.code == 6 => Err(ran.stderr),
            _ => Ok(()),
        }
    })?;
    let (_, took) = bench.rerun(&broken)?;
    let undo = bench.doctor.run(&["undo", &journal.run, "--yes"])?;
    let says = undo.stderr.contains("no journal");
    demand(undo.code == 1 && says, "undo of a lost run refuses", &undo)?;
    println!(
        "journal deleted: repaired after {} s; undo: {}",
        took.as_secs(),
        undo.stderr.lines().next().unwrap_or_default()
    );
    Ok(())
}
