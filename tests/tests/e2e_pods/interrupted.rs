//! Removing a flood is stopped by ^C, and killed, in its midst: what was done is told as it is, and the next run, or
//! `resume`, goes on with the rest.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::plan::describe::number;
use tests::gate::{Gate, Hold};
use tests::story::{Plugin, Ran, Running, demand, nothing_of_ours};
use tests::testbed::{Testbed, wait_until};

use super::Done;
use super::flood::{PARALLEL, Scratch, connect, left, make_floods, requests, wait_until_old};

const NAMESPACE: &str = "e2e-pods-interrupted";
/// The largest owner is the first step.
const FLOOD: [(&str, &str, usize); 2] = [("ReplicaSet", "web", 2000), ("DaemonSet", "agent", 1000)];
const ALL: usize = FLOOD[0].2 + FLOOD[1].2;
/// Deletions until ^C.
const UNTIL_STOP: usize = 600;
/// Deletions until the run that goes on is killed. It asks for all pods of its step once more.
const UNTIL_KILL: usize = 1200;
/// Time between two looks at what the gate holds.
const PAUSE: Duration = Duration::from_millis(10);
/// Time for what a program does at once.
const LIMIT: Duration = Duration::from_secs(60);

/// Lets so many deletions pass to the API server, and then nothing at all until it is opened.
struct Turnstile(Arc<State>);

#[derive(Default)]
struct State {
    passed: Mutex<Passed>,
    changed: Condvar,
}

#[derive(Default)]
struct Passed {
    count: usize,
    is_open: bool,
}

impl State {
    fn passed(&self) -> MutexGuard<'_, Passed> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turnstile {
    /// In the gate, which chooses one request at a time: as long as it considers one, no other passes.
    fn after(gate: &Gate, deletions: usize) -> Self {
        let state = Arc::new(State::default());
        let turning = state.clone();
        gate.hold(Hold::Request, move |asked| {
            if asked.method == "DELETE" && asked.path.contains(NAMESPACE) {
                let mut passed = turning.passed();
                passed.count += 1;
                while passed.count > deletions && !passed.is_open {
                    let waited = turning.changed.wait(passed);
                    passed = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
            false
        });
        Self(state)
    }

    /// How many deletions have come this far, with one that is held.
    fn count(&self) -> usize {
        self.0.passed().count
    }

    fn open(&self) {
        self.0.passed().is_open = true;
        self.0.changed.notify_all();
    }
}

/// A gate whose turnstile stays closed could not be ended.
impl Drop for Turnstile {
    fn drop(&mut self) {
        self.open();
    }
}

/// Waits until exactly this many are left.
fn wait_until_left(testbed: &Testbed, wanted: usize) -> Done {
    wait_until(&format!("{wanted} are left"), LIMIT, || {
        let left = left(testbed, NAMESPACE).map_err(|error| error.to_string())?;
        if left == wanted { Ok(()) } else { Err(left.to_string()) }
    })?;
    Ok(())
}

/// It was stopped before the end of its first step, and says how far it came: to this many pods, no more and no fewer.
fn was_stopped(ran: &Ran, gone: usize) -> Done {
    demand(ran.code == 130, "exit code 130", ran)?;
    let how_far = format!("{} of {} deleted", number(gone), number(FLOOD[0].2));
    demand(ran.stdout.contains(&how_far), &format!("it says {how_far:?}"), ran)?;
    demand((UNTIL_STOP..FLOOD[0].2).contains(&gone), "in its midst", &gone)?;
    Ok(())
}

#[test]
fn a_flood_that_is_removed_in_part_is_gone_on_with() -> Done {
    let Some(testbed) = Testbed::for_test("a_flood_that_is_removed_in_part")? else {
        return Ok(());
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let cluster = runtime.block_on(connect(&testbed))?;
    let _lock = testbed.lock_cluster()?;
    let _flood = Scratch::new(&testbed, NAMESPACE)?;
    runtime.block_on(make_floods(&cluster, NAMESPACE, &FLOOD))?;
    let gate = Gate::to(&testbed)?;
    let purge = Plugin::purge_with_kubeconfig(&gate.kubeconfig())?;
    wait_until_old(&purge, NAMESPACE, &[], ALL)?;
    let before = runtime.block_on(requests(&cluster, "DELETE"))?;
    let remove = ["pods", "-n", NAMESPACE, "--yes"];

    // ^C. What is under way then is let end.
    let turnstile = Turnstile::after(&gate, UNTIL_STOP);
    let mut run = Running::start(&purge, &remove)?;
    run.wait_looking("so many deletions", PAUSE, || turnstile.count() > UNTIL_STOP)?;
    wait_until_left(&testbed, ALL - UNTIL_STOP)?;
    run.signal("INT")?;
    turnstile.open();
    let (journal, status) = run.end()?;
    let stopped =
        Ran { code: status.code().unwrap_or(-1), stdout: purge.said(), stderr: String::new() };
    let gone = ALL - left(&testbed, NAMESPACE)?;
    was_stopped(&stopped, gone)?;
    demand(journal.is_at(0) && journal.ended, "the step is begun and not done", &journal)?;
    nothing_of_ours(&testbed)?;
    println!(
        "^C after {UNTIL_STOP} deletions: {gone} of {ALL} are gone; it said:\n{}",
        stopped.stdout
    );

    // The same run goes on, and is killed.
    let turnstile = Turnstile::after(&gate, UNTIL_KILL);
    let mut run = Running::start(&purge, &["resume", "last", "--yes"])?;
    run.wait_looking("more deletions", PAUSE, || turnstile.count() > UNTIL_KILL)?;
    wait_until_left(&testbed, ALL - UNTIL_KILL)?;
    let (_, in_time) = run.kill()?;
    demand(in_time, "it was killed", &purge.said())?;
    turnstile.open();
    let killed = ALL - left(&testbed, NAMESPACE)?;
    demand((UNTIL_KILL..FLOOD[0].2).contains(&killed), "in its midst, too", &killed)?;
    println!("kill -9 after {UNTIL_KILL} deletions of the next run: {killed} of {ALL} are gone");

    // A new one removes the rest, and takes the place of that run.
    let ran = purge.run(&remove)?;
    demand(ran.code == 0 && left(&testbed, NAMESPACE)? == 0, "the rest is gone", &ran)?;
    demand(ran.stderr.contains("was cut off (0 of 2 steps done)"), "it knows of the other", &ran)?;
    demand(was_stopped(&ran, ALL).is_err(), "control: this one was not stopped", &ran)?;
    let deletes = runtime.block_on(requests(&cluster, "DELETE"))? - before;
    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    let (once, lost) = ((ALL + gone) as f64, PARALLEL as f64);
    println!("{deletes} DELETE requests for {ALL} pods");
    // Only what resume asked for once more, and what was under way when it was killed.
    demand((once..=once + lost).contains(&deletes), "no more requests than needed", &deletes)?;
    nothing_of_ours(&testbed)?;
    for (words, says) in
        [(&remove[..], "no finished pods to remove"), (&["resume", "last", "--yes"], "ended well")]
    {
        let again = purge.run(words)?;
        demand(again.code == 0 && again.stdout.contains(says), says, &again)?;
    }
    Ok(())
}
