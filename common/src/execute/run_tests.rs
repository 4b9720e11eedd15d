//! Tests of a run in a simulated world: what it does, in which order, and what it leaves undone.

use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::journal::{Entry, read};
use super::lease::Tenure;
use super::simulation::{Faults, Simulation, journal_of};
use super::{
    Consent, Executor, GuardFailure, PerformError, Progress, Reporter, Silent, StopSwitch,
};
use crate::plan::{Applicability, Outcome, RunResult, StepState, Verified};

struct Ran {
    outcome: Outcome,
    world: Simulation,
    journal: String,
    lines: Vec<String>,
    _directory: TempDir,
}

#[derive(Default)]
struct Lines(Vec<String>);

impl Reporter for Lines {
    fn tell(&mut self, progress: &Progress<'_>) {
        self.0.push(format!("{}/{} {}", progress.number, progress.of, progress.line()));
    }
}

async fn run(mut world: Simulation, change: impl FnOnce(&mut crate::plan::Plan)) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let mut plan = world.plan(1);
    change(&mut plan);
    let mut journal = journal_of(&plan, directory.path());
    let path = journal.path().to_owned();
    world.journal = Some(path.clone());
    let (_switch, stop) = StopSwitch::new();
    let mut lines = Lines::default();
    let executor = Executor {
        operations: &world,
        clock: &world,
        journal: &mut journal,
        tenure: &Tenure::unlimited(),
        reporter: &mut lines,
        stop: &stop,
    };
    let outcome = executor.run(&plan, Consent::from_flag(true).unwrap()).await.unwrap();
    drop(journal);
    let journal = std::fs::read_to_string(path).unwrap();
    Ran { outcome, world, journal, lines: lines.0, _directory: directory }
}

fn faulty(faults: Faults) -> Simulation {
    let mut world = Simulation::new(&["a", "b"]);
    world.faults = faults;
    world
}

fn states(outcome: &Outcome) -> Vec<&StepState> {
    outcome.steps.iter().map(|step| &step.state).collect()
}

fn why(state: &StepState) -> &str {
    match state {
        StepState::Failed { why } | StepState::Skipped { why } => why,
        other => panic!("{other:?} has no reason"),
    }
}

fn restarts(world: &Simulation) -> Vec<u32> {
    world.nodes.lock().unwrap().values().map(|node| node.restarts).collect()
}

#[tokio::test]
async fn every_step_is_done_and_verified_in_order() {
    let ran = run(Simulation::new(&["a", "b"]), |_| {}).await;
    assert_eq!(ran.outcome.result, RunResult::Done);
    assert_eq!(states(&ran.outcome), [&StepState::Done; 2]);
    let verified = |what: &str, after_seconds| Verified { what: what.into(), after_seconds };
    let first = [verified("calico-node Ready", 5), verified("1 of 1 pods fine", 7)];
    assert_eq!(ran.outcome.steps[0].verified, first);
    assert_eq!((ran.outcome.steps[0].seconds, ran.outcome.seconds), (7, 14));
    assert_eq!(restarts(&ran.world), [1, 1]);
    let entries: Vec<String> = ran
        .journal
        .lines()
        .map(|line| match serde_json::from_str(line).unwrap() {
            Entry::Plan { api_version, plan, .. } => format!("{api_version} {}", plan.steps.len()),
            Entry::Step { step, state, .. } => format!("{step} {state:?}"),
            Entry::End { result, .. } => format!("end {result:?}"),
            other => format!("{other:?}"),
        })
        .collect();
    let expected = [
        "kubectl-calico/v1 2",
        "restart-calico-node/a Started",
        "restart-calico-node/a Done",
        "restart-calico-node/b Started",
        "restart-calico-node/b Done",
        "end Done",
    ];
    assert_eq!(entries, expected);
}

#[tokio::test]
async fn progress_says_what_is_waited_for_and_how_long_it_may_take() {
    let ran = run(Simulation::new(&["a"]), |_| {}).await;
    let said = |line: &str| assert!(ran.lines.iter().any(|it| it == line), "{:?}", ran.lines);
    said("1/1 delete pod kube-system/a");
    said("1/1 waiting for calico-node to be Ready (4 s of 120 s)");
    said("1/1 waiting for 1 stuck pod to run or go (0 s of 120 s)");
    said("1/1 calico-node Ready after 5 s, 1 of 1 pods fine after 7 s");
}

#[tokio::test]
async fn a_guard_that_fails_keeps_everything_untouched() {
    let guard = Some(GuardFailure::Refused("another cluster".into()));
    let ran = run(faulty(Faults { guard, ..Faults::default() }), |_| {}).await;
    assert_eq!(ran.outcome.result, RunResult::Refused);
    assert_eq!(why(&ran.outcome.steps[0].state), "refused by a guard: another cluster");
    assert_eq!(ran.outcome.steps[1].state, StepState::Pending);
    assert_eq!(restarts(&ran.world), [0, 0]);
    assert!(!ran.journal.contains("\"Started\"") && !ran.journal.contains("\"started\""));
    // What cannot be checked is not refused, but not done either.
    let guard = Some(GuardFailure::Unreadable("timed out".into()));
    let ran = run(faulty(Faults { guard, ..Faults::default() }), |_| {}).await;
    assert_eq!((ran.outcome.result, restarts(&ran.world)), (RunResult::Failed, vec![0, 0]));
}

#[tokio::test]
async fn an_action_that_fails_stops_the_run() {
    let perform = Some(PerformError::Rejected("forbidden".into()));
    let ran = run(faulty(Faults { perform, ..Faults::default() }), |_| {}).await;
    assert_eq!(ran.outcome.result, RunResult::Failed);
    assert_eq!(why(&ran.outcome.steps[0].state), "delete pod kube-system/a: forbidden");
    assert_eq!(ran.outcome.steps[1].state, StepState::Pending);
    assert_eq!(ran.world.looks.load(Ordering::SeqCst), 0, "nothing to verify");
}

/// Four nodes with a step each, of which those of two fail; so many failures are allowed.
async fn with_two_failing(max_failures: u32, on_nodes: bool) -> Ran {
    let mut world = Simulation::new(&["a", "b", "c", "d"]);
    world.faults.unwilling = vec!["b".into(), "c".into()];
    run(world, |plan| {
        plan.max_failures = max_failures;
        for step in &mut plan.steps {
            step.after.clear();
            step.node = step.node.take().filter(|_| on_nodes);
        }
        // Another step on a node that fails, and one elsewhere that rests on it.
        let mut second = plan.steps[1].clone();
        second.id.0 = "second/b".into();
        let mut resting = plan.steps[3].clone();
        resting.id.0 = "resting/d".into();
        resting.after = vec![second.id.clone()];
        plan.steps.extend([second, resting]);
    })
    .await
}

#[tokio::test]
async fn a_node_that_fails_does_not_keep_the_others_from_being_repaired() {
    let ran = with_two_failing(3, true).await;
    assert_eq!((ran.outcome.result, restarts(&ran.world)), (RunResult::Failed, vec![1, 0, 0, 1]));
    let failed = |it: &&StepState| matches!(it, StepState::Failed { .. });
    assert_eq!(states(&ran.outcome).into_iter().filter(failed).count(), 2);
    assert_eq!(states(&ran.outcome)[4..], [&StepState::Pending; 2], "what rests on a failure");
    assert!(ran.journal.contains(r#""result":"failed""#), "{}", ran.journal);
}

#[tokio::test]
async fn so_many_failures_end_the_run() {
    for (allowed, restarted) in
        [(0, vec![1, 0, 0, 0]), (1, vec![1, 0, 0, 0]), (2, vec![1, 0, 0, 0])]
    {
        let ran = with_two_failing(allowed, true).await;
        assert_eq!((ran.outcome.result, restarts(&ran.world)), (RunResult::Failed, restarted));
        let begun = states(&ran.outcome).into_iter().filter(|it| **it != StepState::Pending);
        assert_eq!(begun.count(), if allowed == 2 { 3 } else { 2 }, "{allowed}");
    }
    // What is on no node concerns all of them.
    let ran = with_two_failing(3, false).await;
    assert_eq!((ran.outcome.result, restarts(&ran.world)), (RunResult::Failed, vec![1, 0, 0, 0]));
}

#[tokio::test]
async fn an_action_without_an_answer_is_judged_by_what_came_of_it() {
    let perform = || Some(PerformError::Unclear("connection reset".into()));
    let faults = Faults { perform: perform(), acts_all_the_same: true, ..Faults::default() };
    let ran = run(faulty(faults), |_| {}).await;
    assert_eq!((ran.outcome.result, restarts(&ran.world)), (RunResult::Done, vec![1, 1]));
    let ran = run(faulty(Faults { perform: perform(), ..Faults::default() }), |_| {}).await;
    assert_eq!(ran.outcome.result, RunResult::Failed);
    let reason = why(&ran.outcome.steps[0].state);
    assert!(reason.starts_with("connection reset; whether it was carried out"), "{reason}");
    assert!(reason.contains("not true after 120 s"), "{reason}");
}

#[tokio::test]
async fn verification_ends_at_its_limit_and_spares_the_other_nodes() {
    let ran = run(faulty(Faults { never_ready: true, ..Faults::default() }), |_| {}).await;
    assert_eq!(ran.outcome.result, RunResult::Failed);
    let reason = why(&ran.outcome.steps[0].state);
    assert!(reason.starts_with("not true after 120 s: a new pod of calico-node is Ready on a:"));
    assert!(reason.contains("kube-system/a is not Ready"), "{reason}");
    assert_eq!((ran.outcome.seconds, restarts(&ran.world)), (120, vec![1, 0]));
}

#[tokio::test]
async fn a_look_that_hangs_does_not_outlast_the_limit() {
    let ran = run(faulty(Faults { observe_hangs: true, ..Faults::default() }), |_| {}).await;
    assert_eq!((ran.outcome.result, ran.outcome.seconds), (RunResult::Failed, 120));
    assert!(why(&ran.outcome.steps[0].state).ends_with("no answer"));
}

#[tokio::test]
async fn an_api_server_that_restarts_meanwhile_is_waited_for() {
    let observe_errors = AtomicUsize::new(30);
    let ran = run(faulty(Faults { observe_errors, ..Faults::default() }), |_| {}).await;
    assert_eq!((ran.outcome.result, ran.outcome.steps[0].seconds), (RunResult::Done, 37));
}

#[tokio::test]
async fn what_may_not_be_read_is_not_waited_for() {
    let forbidden_looks = AtomicUsize::new(usize::MAX);
    let ran = run(faulty(Faults { forbidden_looks, ..Faults::default() }), |_| {}).await;
    assert_eq!(ran.outcome.result, RunResult::Failed);
    assert!(ran.outcome.seconds < 5, "{} s", ran.outcome.seconds);
    let reason = why(&ran.outcome.steps[0].state);
    assert!(reason.starts_with("cannot be verified") && reason.contains("jane cannot"), "{reason}");
    // A server that is just starting forbids for a moment what it then allows.
    let forbidden_looks = AtomicUsize::new(2);
    let ran = run(faulty(Faults { forbidden_looks, ..Faults::default() }), |_| {}).await;
    assert_eq!(ran.outcome.result, RunResult::Done);
}

#[tokio::test]
async fn a_run_that_lost_its_lease_begins_nothing() {
    let world = Simulation::new(&["a"]);
    let directory = tempfile::tempdir().unwrap();
    let plan = world.plan(1);
    let mut journal = journal_of(&plan, directory.path());
    let path = journal.path().to_owned();
    let (_switch, stop) = StopSwitch::new();
    let executor = Executor {
        operations: &world,
        clock: &world,
        journal: &mut journal,
        tenure: &Tenure::lost_to("john@bastion/01OTHER"),
        reporter: &mut Silent,
        stop: &stop,
    };
    let outcome = executor.run(&plan, Consent::from_flag(true).unwrap()).await.unwrap();
    assert_eq!((outcome.result, restarts(&world)), (RunResult::Failed, vec![0]));
    assert!(why(&outcome.steps[0].state).contains("john@bastion/01OTHER"));
    assert!(read(&path).unwrap().begun.is_empty());
}

#[tokio::test]
async fn what_was_replaced_already_is_verified_but_not_done_again() {
    let world = Simulation::new(&["a"]);
    let plan = world.plan(1);
    // Somebody restarts calico-node between plan and run.
    let (_switch, stop) = StopSwitch::new();
    let (action, prepared) = (&plan.steps[0].action, super::Prepared::default());
    super::Operations::perform(&world, action, &prepared, &super::Underway::new(&stop))
        .await
        .unwrap();
    let ran = run(world, |it| it.steps = plan.steps.clone()).await;
    assert_eq!(ran.outcome.result, RunResult::Done);
    assert_eq!(why(&ran.outcome.steps[0].state), "it was replaced already");
    assert_eq!(ran.outcome.steps[0].verified.len(), 2);
    assert_eq!(restarts(&ran.world), [1]);
    assert!(!ran.journal.contains("tarted\""), "no intent without an act: {}", ran.journal);
}

#[tokio::test]
async fn the_user_can_stop_a_run_while_it_waits() {
    let mut world = Simulation::new(&["a", "b"]);
    let directory = tempfile::tempdir().unwrap();
    let plan = world.plan(1);
    let mut journal = journal_of(&plan, directory.path());
    let path = journal.path().to_owned();
    let (switch, stop) = StopSwitch::new();
    world.faults.stop_at_look = Some((3, switch));
    let executor = Executor {
        operations: &world,
        clock: &world,
        journal: &mut journal,
        tenure: &Tenure::unlimited(),
        reporter: &mut Silent,
        stop: &stop,
    };
    let outcome = executor.run(&plan, Consent::from_flag(true).unwrap()).await.unwrap();
    assert_eq!(outcome.result, RunResult::Interrupted);
    assert_eq!(states(&outcome), [&StepState::Started, &StepState::Pending]);
    assert_eq!((world.looks.load(Ordering::SeqCst), restarts(&world)), (3, vec![1, 0]));
    drop(journal);
    let recorded = read(&path).unwrap();
    assert_eq!(recorded.end, Some(RunResult::Interrupted));
    assert_eq!(recorded.states.values().collect::<Vec<_>>(), [&StepState::Started]);
}

#[tokio::test]
async fn a_run_that_is_stopped_before_it_begins_does_nothing() {
    let world = Simulation::new(&["a"]);
    let directory = tempfile::tempdir().unwrap();
    let plan = world.plan(1);
    let mut journal = journal_of(&plan, directory.path());
    let (switch, stop) = StopSwitch::new();
    switch.stop();
    let executor = Executor {
        operations: &world,
        clock: &world,
        journal: &mut journal,
        tenure: &Tenure::unlimited(),
        reporter: &mut Silent,
        stop: &stop,
    };
    let outcome = executor.run(&plan, Consent::from_flag(true).unwrap()).await.unwrap();
    assert_eq!((outcome.result, restarts(&world)), (RunResult::Interrupted, vec![0]));
}

#[tokio::test]
async fn a_plan_that_was_edited_badly_is_refused() {
    let manual = run(faulty(Faults::default()), |plan| {
        plan.steps[0].applicability = Applicability::Manual;
    });
    assert_eq!(manual.await.outcome.result, RunResult::Refused);
    let reversed = run(faulty(Faults::default()), |plan| plan.steps.reverse()).await;
    assert_eq!(reversed.outcome.result, RunResult::Refused);
    let reason = why(&reversed.outcome.steps[0].state);
    assert_eq!(reason, "restart-calico-node/a must be done before");
    let blind = run(faulty(Faults::default()), |plan| plan.steps[0].verify.clear()).await;
    assert_eq!((blind.outcome.result, restarts(&blind.world)), (RunResult::Refused, vec![0, 0]));
}

#[tokio::test]
async fn no_token_reaches_the_journal_or_the_outcome() {
    // Header and claims are no secret; the signature is what makes a token of them.
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrIn0.c2lnbmF0dXJl";
    for faults in [
        Faults {
            perform: Some(PerformError::Rejected(format!("Bearer {token} refused"))),
            ..Faults::default()
        },
        Faults { guard: Some(GuardFailure::Refused(format!("sent {token}"))), ..Faults::default() },
    ] {
        let ran = run(faulty(faults), |_| {}).await;
        let outcome = serde_json::to_string(&ran.outcome).unwrap();
        for text in [&ran.journal, &outcome] {
            assert!(text.contains("eyJ") && !text.contains("c2lnbmF0dXJl"), "{text}");
        }
    }
}
