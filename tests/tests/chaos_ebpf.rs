//! `enable --disable-kube-proxy` is killed with SIGKILL around each of its steps, with both install methods. `resume` then comes
//! to the goal, `rollback` to the start, also when the way back is killed as well. All the while somebody serves every node's
//! Services, and in the end nothing of ours is left.

#![cfg(all(unix, feature = "chaos"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::gate::Gate;
use tests::story::{
    Crossing, Ran, Spot, Touched, Watcher, demand, differences, journals, kill_at, labelled,
    nothing_of_ours,
};
use tests::testbed::{Error, Install, Testbed, layouts, wait_until};

/// Of all that a run makes this stays while eBPF is on.
const ENDPOINT: &str = "configmap/kubernetes-services-endpoint";
/// What belongs to a deleted pod may take this long to be removed by the controller manager.
const GARBAGE: Duration = Duration::from_secs(60);
/// So many points may fail before the rest is left.
const FAILURES: usize = 2;
/// Set while eBPF and kube-proxy serve beside each other.
const COEXISTENCE: &str = "bpfKubeProxyIptablesCleanupEnabled";
/// Consent.
const YES: &str = "--yes";

/// One in so many spots gets a run of its own, which takes minutes. All of them are in the chain, which is one run.
struct Share {
    rollback: usize,
    resume: usize,
}

const OF_MANIFEST: Share = Share { rollback: 2, resume: 6 };
const OF_OPERATOR: Share = Share { rollback: 4, resume: 8 };

/// What a killed run is to come to.
#[derive(Clone, Copy)]
enum Wanted {
    Goal,
    Start,
}

/// A part of the matrix.
enum Job {
    /// One run there that is killed at every spot, gone on with each time; then the way back, likewise.
    Chain(Vec<Spot>, Vec<Spot>),
    /// Killed there, and taken back.
    TakenBack(Spot),
    /// Killed there, and gone on with; then back by `disable`, which may be killed as well, and is ended by this verb.
    GoneOnWith(Spot, Option<(Spot, &'static str)>),
}

struct Bench<'a> {
    crossing: Crossing<'a>,
    gate: Gate,
    start: Touched,
    words: Vec<String>,
    counts: &'a Shared,
}

impl<'a> Bench<'a> {
    fn new(testbed: &'a Testbed, counts: &'a Shared) -> Result<Self, Error> {
        // A test that failed may have left something.
        sweep(testbed)?;
        let gate = Gate::to(testbed)?;
        let crossing = Crossing::with_kubeconfig(testbed, &gate.kubeconfig())?;
        let mut words = crossing.enable_words();
        words.iter_mut().filter(|it| it.starts_with("--watch-kube-proxy=")).for_each(|it| {
            *it = "--watch-kube-proxy=2".to_owned();
        });
        let start = crossing.settled()?;
        Ok(Self { crossing, gate, start, words, counts })
    }

    fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }

    /// The steps that a run would have.
    fn steps(&self) -> Result<Vec<String>, Error> {
        let mut words = self.words();
        words.retain(|it| *it != YES);
        words.extend(["--dry-run", "--output=json"]);
        let ran = self.run(&words)?;
        let odd = |why: String| Error::Odd { what: "the plan".to_owned(), why };
        let plan: Value =
            serde_json::from_str(&ran.stdout).map_err(|error| odd(error.to_string()))?;
        let steps = plan["plan"]["steps"].as_array().into_iter().flatten();
        let ids: Vec<String> =
            steps.filter_map(|it| it["id"].as_str().map(ToOwned::to_owned)).collect();
        if ids.is_empty() { Err(odd(ran.stdout)) } else { Ok(ids) }
    }

    fn run(&self, words: &[&str]) -> Result<Ran, Error> {
        let ran = self.crossing.plugin.run(words)?;
        demand(ran.code == 0, &format!("{} exits 0", words[0]), &ran)?;
        Ok(ran)
    }

    /// What differs from the start once the cluster is at rest.
    fn differences(&self) -> Result<Vec<String>, Error> {
        let now = differences(&self.start, &self.crossing.touched()?);
        if now.is_empty() {
            return Ok(now);
        }
        Ok(differences(&self.start, &self.crossing.settled()?))
    }

    /// Only these objects of ours are left. A Service and its EndpointSlice may still be on their way out: their pod is gone.
    fn nothing_left_but(&self, wanted: &[&str]) -> Result<(), Error> {
        let is_garbage = |it: &String| {
            wanted.contains(&it.as_str())
                || it.starts_with("service/")
                || it.starts_with("endpointslice.")
        };
        let what = "nothing of ours is left";
        wait_until(what, GARBAGE, || {
            let left = labelled(self.crossing.testbed).map_err(|error| error.to_string())?;
            match left == wanted {
                false if left.iter().all(is_garbage) => Err(format!("{left:?}")),
                is_so => Ok(demand(is_so, what, &left)),
            }
        })?
    }

    /// eBPF serves without kube-proxy, and what was set only for the way is what it was before.
    fn is_goal(&self) -> Result<(), Error> {
        self.crossing.is_there()?;
        let mut lines = differences(&self.start, &self.crossing.touched()?);
        lines.retain(|it| it.contains(COEXISTENCE));
        demand(lines.is_empty(), "kube-proxy's rules are to be removed", &lines)
    }

    fn is_there(&self) -> Result<(), Error> {
        self.is_goal()?;
        self.nothing_left_but(&[ENDPOINT])
    }

    fn is_at_the_start(&self) -> Result<(), Error> {
        self.crossing.is_back()?;
        let lines = self.differences()?;
        demand(lines.is_empty(), "every touched object is what it was", &lines)?;
        self.nothing_left_but(&[])
    }

    /// Kills a run there. What the kill left, and whether what is demanded later is true already.
    fn kill(&self, words: &[&str], spot: &Spot, wanted: Wanted) -> Result<String, Error> {
        let began = Instant::now();
        let journal = kill_at(&self.crossing, &self.gate, words, spot)?;
        let took = began.elapsed().as_secs();
        let left = labelled(self.crossing.testbed)?;
        if spot.is_in_proof() {
            let has = |kind: &str| left.iter().any(|it| it.starts_with(kind));
            let whole = has("pod/") && has("service/") && has("endpointslice.");
            demand(whole, &format!("{spot}: what a proof makes is there"), &left)?;
        }
        locked(self.counts).left_something += usize::from(left.iter().any(|it| it != ENDPOINT));
        // The control.
        let is_true = match wanted {
            Wanted::Goal => self.is_goal().is_ok(),
            Wanted::Start => {
                self.crossing.is_back().is_ok()
                    && differences(&self.start, &self.crossing.touched()?).is_empty()
            }
        };
        {
            let mut counts = locked(self.counts);
            counts.kills += 1;
            counts.true_already += usize::from(is_true);
        }
        Ok(format!(
            "killed at {spot} after {took} s: {} done, {} undone, {} left, {}",
            journal.done(),
            journal.undone.len(),
            left.len(),
            if is_true { "true already" } else { "not yet true" }
        ))
    }

    /// A run that nothing disturbs; how long it takes.
    fn timed(&self, words: &[&str]) -> Result<u64, Error> {
        let began = Instant::now();
        self.run(words)?;
        Ok(began.elapsed().as_secs())
    }

    fn taken_back(&self, spot: &Spot) -> Result<String, Error> {
        let killed = self.kill(&self.words(), spot, Wanted::Start)?;
        let took = self.timed(&["rollback", YES])?;
        self.is_at_the_start()?;
        Ok(format!("{killed}; taken back in {took} s"))
    }

    fn gone_on_with(&self, spot: &Spot, back: Option<&(Spot, &str)>) -> Result<String, Error> {
        let killed = self.kill(&self.words(), spot, Wanted::Goal)?;
        let took = self.timed(&self.go_on(spot))?;
        self.is_there()?;
        let mut said = format!("{killed}; there after {took} s");
        let mut verb = "disable";
        if let Some((spot, other)) = back {
            said += &format!("; {}", self.kill(&[verb, YES], spot, Wanted::Start)?);
            verb = other;
        }
        let took = self.timed(&[verb, YES])?;
        self.is_at_the_start()?;
        Ok(format!("{said}; {verb} in {took} s"))
    }

    /// Without a journal there is nothing to go on with, and the next run begins anew.
    fn go_on(&self, spot: &Spot) -> Vec<&str> {
        if spot.has_journal() { vec!["resume", YES] } else { self.words() }
    }

    fn chain(&self, there: &[Spot], back: &[Spot]) -> Result<String, Error> {
        let began = Instant::now();
        let mut words = self.words();
        for spot in there {
            println!("  {}", self.kill(&words, spot, Wanted::Goal)?);
            words = self.go_on(spot);
        }
        self.run(&words)?;
        self.is_there()?;
        let took = began.elapsed().as_secs();
        let mut words = ["disable", YES];
        for (number, spot) in back.iter().enumerate() {
            println!("  {}", self.kill(&words, spot, Wanted::Start)?);
            // Whose way back was begun goes on with it.
            words[0] = if number % 2 == 1 { "resume" } else { "rollback" };
        }
        self.run(&words)?;
        self.is_at_the_start()?;
        Ok(format!(
            "killed at {} spots on one way there, {took} s, and {} on the way back, all in {} s",
            there.len(),
            back.len(),
            began.elapsed().as_secs()
        ))
    }

    fn meet(&self, job: &Job) -> Result<String, Error> {
        match job {
            Job::Chain(there, back) => self.chain(there, back),
            Job::TakenBack(spot) => self.taken_back(spot),
            Job::GoneOnWith(spot, back) => self.gone_on_with(spot, back.as_ref()),
        }
    }

    /// What went wrong must not spoil what follows.
    fn clear(&mut self) -> Result<(), Error> {
        self.crossing.restore()?;
        self.start = self.crossing.settled()?;
        for path in journals(self.crossing.plugin.state()) {
            drop(std::fs::remove_file(path));
        }
        sweep(self.crossing.testbed)
    }
}

/// Removes everything that is labelled as ours.
fn sweep(testbed: &Testbed) -> Result<(), Error> {
    let kinds = "pods,services,endpointslices,leases,configmaps";
    let select = "--selector=app.kubernetes.io/managed-by=kubectl-calico";
    testbed.kubectl(&["delete", kinds, "--all-namespaces", select]).map(drop)
}

/// What all testbeds with one install method share.
#[derive(Default)]
struct Matrix {
    /// None before the first testbed told which steps there are.
    jobs: Option<VecDeque<Job>>,
    /// So many there were.
    all: usize,
    met: usize,
    failed: Vec<String>,
    kills: usize,
    /// Kills after which what is demanded later was true already.
    true_already: usize,
    /// Kills that left something in the cluster.
    left_something: usize,
}

type Shared = Mutex<Matrix>;

fn locked(matrix: &Shared) -> MutexGuard<'_, Matrix> {
    matrix.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every `nth` of them, from the first.
fn every(nth: usize, all: &[Spot]) -> Vec<Spot> {
    all.iter().step_by(nth).cloned().collect()
}

fn jobs(steps: &[String], install: Install) -> VecDeque<Job> {
    let share = if install == Install::Manifest { OF_MANIFEST } else { OF_OPERATOR };
    let (there, back) = (Spot::there(steps, install), Spot::back(steps, install));
    let with_journal: Vec<Spot> = there.iter().filter(|it| it.has_journal()).cloned().collect();
    let taken_back = every(share.rollback, &with_journal);
    let gone_on_with = every(share.resume, &there);
    // Every second way back is killed as well; in turn somebody asks for the way back, or to go on.
    let ways = gone_on_with.len() / 2;
    let mut killed = every((back.len() / ways.max(1)).max(1), &back).into_iter();
    println!(
        "{install:?}: {} steps: {}; {} spots on the way there and {} back, all in one chain; of them with a run of their own: {} then rollback, {} then resume, {ways} while disable; the others of these are left out",
        steps.len(),
        steps.join(", "),
        there.len(),
        back.len(),
        taken_back.len(),
        gone_on_with.len(),
    );
    let mut jobs = VecDeque::from([Job::Chain(there, back)]);
    jobs.extend(taken_back.into_iter().map(Job::TakenBack));
    for (number, spot) in gone_on_with.into_iter().enumerate() {
        let verb = if number % 4 == 1 { "rollback" } else { "resume" };
        let way = if number % 2 == 1 { killed.next() } else { None };
        jobs.push_back(Job::GoneOnWith(spot, way.map(|spot| (spot, verb))));
    }
    jobs
}

fn on_one_testbed(testbed: &Testbed, matrix: &Shared) -> Result<(), Error> {
    let _lock = testbed.lock_cluster()?;
    let mut bench = Bench::new(testbed, matrix)?;
    let install = testbed.install();
    let mut watcher = Watcher::start(testbed);
    let steps = bench.steps()?;
    {
        let mut matrix = locked(matrix);
        if matrix.jobs.is_none() {
            let jobs = jobs(&steps, install);
            matrix.all = jobs.len();
            matrix.jobs = Some(jobs);
        }
    }
    loop {
        let job = {
            let mut matrix = locked(matrix);
            let is_over = matrix.failed.len() >= FAILURES;
            matrix.jobs.as_mut().filter(|_| !is_over).and_then(VecDeque::pop_front)
        };
        let Some(job) = job else { break };
        match bench.meet(&job) {
            Ok(line) => {
                println!("{install:?}: {line}");
                locked(matrix).met += 1;
            }
            Err(error) => {
                println!("{install:?}: FAILED: {error}");
                locked(matrix).failed.push(error.to_string());
                // Putting things right by force is no part of what is watched.
                quiet(install, watcher)?;
                bench.clear()?;
                if locked(matrix).failed.len() >= FAILURES {
                    return Ok(());
                }
                watcher = Watcher::start(testbed);
            }
        }
    }
    quiet(install, watcher)?;
    nothing_of_ours(testbed)
}

fn quiet(install: Install, watcher: Watcher) -> Result<(), Error> {
    let watched = watcher.end();
    println!("{install:?}: {watched:?}");
    demand(watched.is_quiet(), "somebody served every node all the time", &watched)
}

fn judge(install: Install, matrix: &Shared) -> Result<(), Error> {
    let matrix = locked(matrix);
    println!(
        "{install:?}: {} of {} parts of the matrix with {} kills; {} left something of ours in the cluster until the next run, after {} what is demanded of it was true already",
        matrix.met, matrix.all, matrix.kills, matrix.left_something, matrix.true_already
    );
    demand(matrix.met == matrix.all, "every part of the matrix", &matrix.failed)
}

#[test]
fn wherever_the_way_to_ebpf_is_killed_it_ends_at_the_goal_or_at_the_start() -> Result<(), Error> {
    let (began, manifest, operator) = (Instant::now(), Shared::default(), Shared::default());
    // Where no testbed can be, that is said.
    let of_manifest = || match Testbed::for_test("ebpf kill matrix")? {
        Some(testbed) => on_one_testbed(&testbed, &manifest),
        None => Ok(()),
    };
    let of_operator = || match Testbed::for_test_with_operator("ebpf kill matrix")? {
        Some(testbed) => on_one_testbed(&testbed, &operator),
        None => Ok(()),
    };
    let count = layouts()?.len();
    thread::scope(|scope| {
        let mut all = vec![scope.spawn(of_operator)];
        all.extend((0..count).map(|_| scope.spawn(of_manifest)));
        let lost = |_| Error::Missing("a thread".to_owned());
        let ended: Vec<_> = all.into_iter().map(|it| it.join().map_err(lost)?).collect();
        ended.into_iter().collect::<Result<(), Error>>()
    })?;
    judge(Install::Manifest, &manifest)?;
    judge(Install::Operator, &operator)?;
    println!("all in {} s", began.elapsed().as_secs());
    let Some(testbed) = Testbed::for_test("ebpf kill matrix")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    Watcher::can_fire(&testbed)
}
