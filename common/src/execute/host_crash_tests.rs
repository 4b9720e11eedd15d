//! Kills a run that works on hosts, its continuation and its undo at every point, and lets others finish the work.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::host_simulation::{CONFLIST, FOREIGN, Files, HostSimulation, KUBECONFIG, Work, process};
use super::journal::{Entry, FindError, Journal, RunState, find};
use super::simulation::once_given_up;
use crate::plan::{Outcome, RunResult, StepState};

const RUN: &str = "01RUN";
/// Nobody dies.
const NEVER: usize = usize::MAX;

fn journal_path(directory: &Path) -> PathBuf {
    directory.join(format!("{RUN}.jsonl"))
}

fn files(world: &HostSimulation) -> Files {
    world.files.lock().unwrap().clone()
}

/// A process with the work that dies at this point.
async fn dying(world: &mut HostSimulation, kill_at: usize, work: Work<'_>) -> Option<Outcome> {
    world.revive(kill_at);
    process(world, work).await
}

async fn repair(world: &mut HostSimulation, directory: &Path, kill_at: usize) -> Option<Outcome> {
    let plan = world.plan(RUN);
    dying(world, kill_at, Work::Run(&plan, directory)).await
}

async fn undo(world: &mut HostSimulation, directory: &Path, kill_at: usize) -> Option<Outcome> {
    once_given_up(directory);
    dying(world, kill_at, Work::Undo(&journal_path(directory))).await
}

async fn resume(world: &mut HostSimulation, directory: &Path, kill_at: usize) -> Option<Outcome> {
    once_given_up(directory);
    dying(world, kill_at, Work::Resume(&journal_path(directory))).await
}

fn states(outcome: &Outcome) -> Vec<&StepState> {
    outcome.steps.iter().map(|step| &step.state).collect()
}

fn state(directory: &Path) -> RunState {
    once_given_up(directory);
    find(directory, "cluster-1", RUN).unwrap().state()
}

#[tokio::test]
async fn a_run_on_hosts_repairs_and_its_undo_restores_every_byte() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut world = HostSimulation::new();
    let before = files(&world);
    let done = repair(&mut world, directory, NEVER).await.unwrap();
    assert_eq!(states(&done), [&StepState::Done; 6]);
    assert!(world.is_repaired());
    let journal = std::fs::read_to_string(journal_path(directory)).unwrap();
    assert!(!journal.contains("token 1"), "{journal}");
    assert_eq!(journal.matches("\"sha256\":\"").count(), 4, "{journal}");

    let undone = undo(&mut world, directory, NEVER).await.unwrap();
    assert_eq!((undone.result, states(&undone)), (RunResult::Done, vec![&StepState::Undone; 6]));
    assert_eq!(files(&world), before);
    assert_eq!(state(directory), RunState::Undone);
}

#[tokio::test]
async fn wherever_a_run_dies_it_can_be_gone_on_with_and_taken_back() {
    let mut deaths = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let mut world = HostSimulation::new();
        let before = files(&world);
        if repair(&mut world, directory, deaths + 1).await.is_some() {
            break;
        }
        deaths += 1;
        assert_eq!(state(directory), RunState::CutOff, "death {deaths}");
        let done = resume(&mut world, directory, NEVER).await.unwrap();
        assert_eq!(done.result, RunResult::Done, "death {deaths}: {done:#?}");
        assert!(world.is_repaired(), "death {deaths}");
        assert_eq!(state(directory), RunState::Ended(RunResult::Done));
        let undone = undo(&mut world, directory, NEVER).await.unwrap();
        assert_eq!(undone.result, RunResult::Done, "death {deaths}: {undone:#?}");
        assert_eq!(files(&world), before, "death {deaths}");
    }
    assert!(deaths >= 6 * 5, "only {deaths} points to die at");
}

#[tokio::test]
async fn wherever_a_run_dies_it_can_be_taken_back_at_once() {
    let mut deaths = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let mut world = HostSimulation::new();
        let before = files(&world);
        if repair(&mut world, directory, deaths + 1).await.is_some() {
            break;
        }
        deaths += 1;
        let undone = undo(&mut world, directory, NEVER).await.unwrap();
        assert_eq!(undone.result, RunResult::Done, "death {deaths}: {undone:#?}");
        assert_eq!(files(&world), before, "death {deaths}");
        assert_eq!(state(directory), RunState::Undone);
    }
}

#[tokio::test]
async fn wherever_a_run_dies_a_new_one_repairs_even_without_its_journal() {
    for deaths in 1.. {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let mut world = HostSimulation::new();
        if repair(&mut world, directory, deaths).await.is_some() {
            break;
        }
        std::fs::remove_file(journal_path(directory)).unwrap();
        let plan = world.plan("01NEW");
        let done = dying(&mut world, NEVER, Work::Run(&plan, directory)).await.unwrap();
        assert_eq!(done.result, RunResult::Done, "death {deaths}: {done:#?}");
        assert!(world.is_repaired(), "death {deaths}");
        let found = find(directory, "cluster-1", RUN);
        assert!(matches!(found, Err(FindError::None(_))), "{found:?}");
    }
}

#[tokio::test]
async fn wherever_an_undo_dies_the_next_one_finishes_it() {
    let mut deaths = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let mut world = HostSimulation::new();
        let before = files(&world);
        repair(&mut world, directory, NEVER).await.unwrap();
        if undo(&mut world, directory, deaths + 1).await.is_some() {
            break;
        }
        deaths += 1;
        let undone = undo(&mut world, directory, NEVER).await.unwrap();
        assert_eq!(undone.result, RunResult::Done, "death {deaths}: {undone:#?}");
        assert_eq!(files(&world), before, "death {deaths}");
        assert_eq!(state(directory), RunState::Undone);
    }
    assert!(deaths >= 6 * 2, "only {deaths} points to die at");
}

#[tokio::test]
async fn wherever_a_continuation_dies_the_next_one_finishes_it() {
    // The first death falls between the intent to write a token and its being there.
    for first in [16, 17, 18] {
        let mut deaths = 0;
        loop {
            let directory = tempfile::tempdir().unwrap();
            let directory = directory.path();
            let mut world = HostSimulation::new();
            let before = files(&world);
            assert!(repair(&mut world, directory, first).await.is_none());
            if resume(&mut world, directory, deaths + 1).await.is_some() {
                break;
            }
            deaths += 1;
            let done = resume(&mut world, directory, NEVER).await.unwrap();
            assert_eq!(done.result, RunResult::Done, "deaths {first}, {deaths}: {done:#?}");
            assert!(world.is_repaired(), "deaths {first}, {deaths}");
            let undone = undo(&mut world, directory, NEVER).await.unwrap();
            assert_eq!(undone.result, RunResult::Done, "deaths {first}, {deaths}: {undone:#?}");
            assert_eq!(files(&world), before, "deaths {first}, {deaths}");
        }
        assert!(deaths > 10, "only {deaths} points to die at");
    }
}

#[tokio::test]
async fn what_others_wrote_since_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut world = HostSimulation::new();
    repair(&mut world, directory, NEVER).await.unwrap();
    // calico-node runs again and has written a token of its own; somebody put the other configuration back.
    world.put("a", KUBECONFIG, "calico-node's");
    world.put("b", FOREIGN, "newer");
    let undone = undo(&mut world, directory, NEVER).await.unwrap();
    assert_eq!(undone.result, RunResult::Refused);
    let is_refused = |at: usize| match &undone.steps[at].state {
        StepState::Failed { why } => why.clone(),
        other => panic!("{at}: {other:?}"),
    };
    assert!(is_refused(2).contains("refused: /etc/cni/net.d/calico-kubeconfig is another"));
    // On node a the earlier steps rest on that one; on node b only the oldest is refused.
    assert!(is_refused(1).contains("later step on this node") && is_refused(0).contains("later"));
    assert!(is_refused(3).contains("refused"), "{undone:#?}");
    assert_eq!(undone.steps[4].state, StepState::Undone);
    assert_eq!(world.get("a", KUBECONFIG).as_deref(), Some("calico-node's"));
    assert_eq!(world.get("a", CONFLIST).as_deref(), Some("calico"));
    assert_eq!((world.get("b", CONFLIST), world.get("b", FOREIGN)), (None, Some("newer".into())));
    assert_eq!(state(directory), RunState::PartlyUndone);
    // Once the obstacle is gone, the rest is taken back.
    world.files.lock().unwrap().remove(&("b".to_owned(), FOREIGN.to_owned()));
    let undone = undo(&mut world, directory, NEVER).await.unwrap();
    assert_eq!(undone.steps[3].state, StepState::Undone);
    assert_eq!(world.get("b", FOREIGN).as_deref(), Some("foreign"));
}

#[tokio::test]
async fn a_file_that_changed_since_the_diagnosis_is_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = HostSimulation::new();
    let plan = world.plan(RUN);
    world.put("a", FOREIGN, "newer");
    let before = files(&world);
    let refused = dying(&mut world, NEVER, Work::Run(&plan, directory.path())).await.unwrap();
    assert_eq!(refused.result, RunResult::Refused);
    assert_eq!(files(&world), before);
    // It was begun, so an undo looks; there is nothing to take back.
    let undone = undo(&mut world, directory.path(), NEVER).await.unwrap();
    assert_eq!((undone.result, files(&world)), (RunResult::Done, before));
}

#[tokio::test]
async fn a_lost_answer_is_judged_by_what_came_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = HostSimulation::new();
    world.lose_answers.store(6, Ordering::SeqCst);
    let done = repair(&mut world, directory.path(), NEVER).await.unwrap();
    assert_eq!(done.result, RunResult::Done, "{done:#?}");
    assert!(world.is_repaired());
}

#[tokio::test]
async fn a_lost_answer_of_an_undo_is_no_success() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut world = HostSimulation::new();
    let before = files(&world);
    repair(&mut world, directory, NEVER).await.unwrap();
    world.lose_answers.store(1, Ordering::SeqCst);
    let undone = undo(&mut world, directory, NEVER).await.unwrap();
    assert_eq!(undone.result, RunResult::Failed);
    let undone = undo(&mut world, directory, NEVER).await.unwrap();
    assert_eq!((undone.result, files(&world)), (RunResult::Done, before));
}

#[tokio::test]
async fn steps_that_are_done_are_not_done_again() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut world = HostSimulation::new();
    repair(&mut world, directory, NEVER).await.unwrap();
    let handed_out = world.tokens.load(Ordering::SeqCst);
    let mut journal = {
        once_given_up(directory);
        Journal::reopen(&journal_path(directory)).unwrap().0
    };
    journal.write(&Entry::Resumed { at: jiff::Timestamp::UNIX_EPOCH }).unwrap();
    drop(journal);
    let done = resume(&mut world, directory, NEVER).await.unwrap();
    assert_eq!((done.result, states(&done)), (RunResult::Done, vec![&StepState::Done; 6]));
    assert_eq!(world.tokens.load(Ordering::SeqCst), handed_out);
}
