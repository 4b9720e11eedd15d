//! Kills a run at every point between two effects, and lets another one finish the work.

use super::journal::{supersede, unfinished_runs};
use super::lease::Tenure;
use super::simulation::{Simulation, journal_of, once_given_up};
use super::{Clock, Consent, Executor, Silent, StopSwitch};
use crate::plan::{Outcome, Plan, RunResult};

/// Runs what is to be done now; none when the process died.
async fn run(world: &mut Simulation, id: u64, directory: &std::path::Path) -> Option<Outcome> {
    let plan = world.plan(id);
    let mut journal = journal_of(&plan, directory);
    world.journal = Some(journal.path().to_owned());
    let (_switch, stop) = StopSwitch::new();
    let executor = Executor {
        operations: &*world,
        clock: &*world,
        journal: &mut journal,
        tenure: &Tenure::unlimited(),
        reporter: &mut Silent,
        stop: &stop,
    };
    tokio::select! {
        biased;
        outcome = executor.run(&plan, Consent::from_flag(true).unwrap()) => Some(outcome.unwrap()),
        () = world.killed.notified() => None,
    }
}

#[tokio::test]
async fn whenever_it_dies_the_next_run_finishes_the_work() {
    let mut deaths = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let mut world = Simulation::new(&["a", "b", "c"]);
        world.revive(Some(deaths + 1));
        if run(&mut world, 1, directory).await.is_some() {
            break;
        }
        deaths += 1;
        let cut_off = once_given_up(directory);
        assert_eq!(cut_off.len(), 1, "death {deaths}");
        assert!(cut_off[0].in_doubt.len() <= 1, "{cut_off:?}");
        assert_eq!(unfinished_runs(directory, "cluster-2").unwrap(), []);

        world.revive(None);
        let outcome = run(&mut world, 2, directory).await.expect("nobody kills the second run");
        assert_eq!(outcome.result, RunResult::Done, "death {deaths}");
        assert_eq!(world.broken(), Vec::<String>::new(), "death {deaths}");
        // Converging means: each node exactly once, over both runs.
        assert!(world.nodes.lock().unwrap().values().all(|node| node.restarts == 1));

        assert!(cut_off[0].is_same_work(&world.plan(2)));
        let other = Plan { made_by: "simulation flood".into(), ..world.plan(2) };
        assert!(
            !cut_off[0].is_same_work(&other),
            "the next run of other work does not take its place"
        );
        supersede(&cut_off[0], &outcome.plan, world.now()).unwrap();
        assert_eq!(unfinished_runs(directory, "cluster-1").unwrap(), []);
    }
    // Two guards, two points around the action and at least two looks for each of three nodes: the loop did its job.
    assert!(deaths >= 18, "only {deaths} points to die at");
}
