//! Tests of what is remembered of earlier runs: which is meant, what became of it, who may go on with it.

use jiff::Timestamp;

use super::*;
use crate::plan::{
    Action, Applicability, Condition, HostOperation, Plan, RunResult, Step, StepId, Target, Undo,
    Verification,
};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn step(name: &str, undo: Undo) -> Step {
    let operation = HostOperation::RestartUnit { unit: "kubelet.service".into() };
    let condition = Condition::CalicoConfigurationFirst { node: "n".into() };
    Step {
        id: StepId(name.into()),
        title: name.into(),
        node: Some("n".into()),
        action: Action::OnHost { node: "n".into(), operation },
        guards: vec![],
        undo,
        verify: vec![Verification { condition, within_seconds: 1 }],
        after: vec![],
        resolves: vec![],
        applicability: Applicability::Safe,
    }
}

fn plan(id: &str, cluster: &str) -> Plan {
    let operation = HostOperation::RestartUnit { unit: "x".into() };
    Plan {
        id: PlanId(id.into()),
        made_by: "test".into(),
        target: Target {
            cluster_uid: cluster.into(),
            context: "c".into(),
            cluster_name: "c".into(),
            server: "https://192.0.2.1".into(),
            user: "me".into(),
        },
        taken: NOW,
        steps: vec![
            step("a", Undo::OnHost { node: "n".into(), operation: operation.clone() }),
            step("b", Undo::NotNeeded { why: "it comes back".into() }),
            step("c", Undo::OnHost { node: "n".into(), operation }),
        ],
        left_out: Vec::new(),
        max_failures: 1,
    }
}

fn create(directory: &Path, id: &str, cluster: &str) -> Journal {
    Journal::create(directory, &plan(id, cluster), NOW).unwrap()
}

fn note(journal: &mut Journal, id: &str, state: StepState) {
    journal.write(&Entry::Step { at: NOW, step: StepId(id.into()), state }).unwrap();
}

fn end(journal: &mut Journal, result: RunResult) {
    journal.write(&Entry::End { at: NOW, result }).unwrap();
}

/// Once the lock of a dropped journal is really gone: a child of another test may hold a copy for a moment.
fn found(directory: &Path, word: &str) -> Run {
    let began = std::time::Instant::now();
    loop {
        let run = find(directory, "c1", word).unwrap();
        if !run.recorded.running {
            return run;
        }
        assert!(began.elapsed().as_secs() < 10, "still locked");
        std::thread::yield_now();
    }
}

#[test]
fn a_run_is_found_by_its_beginning_if_no_other_fits() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    assert!(matches!(find(directory, "c1", "last"), Err(FindError::NoneAtAll)));
    for (id, cluster) in [("01AAX", "c1"), ("01AAY", "c1"), ("01B", "c2")] {
        drop(create(directory, id, cluster));
    }
    let id = |word: &str| find(directory, "c1", word).map(|run| run.id().0.clone());
    assert_eq!(id("01AAX").unwrap(), "01AAX");
    assert_eq!(id("01aay").unwrap(), "01AAY");
    assert_eq!(id("last").unwrap(), "01AAY", "01B is on another cluster");
    assert_eq!(id("01B").unwrap(), "01B", "but is found, so that this can be said");
    assert_eq!(id("01AA").unwrap_err().to_string(), "01AA may be any of 01AAX, 01AAY");
    for none in ["", "07", "../01AAX"] {
        assert!(matches!(id(none), Err(FindError::None(_))), "{none}");
    }
    let known: Vec<_> = known_runs(directory, "c1").unwrap();
    assert_eq!(known.iter().map(|run| run.id().0.as_str()).collect::<Vec<_>>(), ["01AAX", "01AAY"]);
}

#[test]
fn only_what_may_have_acted_can_be_taken_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = create(directory.path(), "01A", "c1");
    let undoable = || {
        let recorded = read(&directory.path().join("01A.jsonl")).unwrap();
        recorded.undoable().iter().map(|it| it.id.0.clone()).collect::<Vec<_>>()
    };
    assert_eq!(undoable(), [""; 0]);
    note(&mut journal, "a", StepState::Skipped { why: "right already".into() });
    note(&mut journal, "b", StepState::Done);
    note(&mut journal, "c", StepState::Started);
    assert_eq!(undoable(), ["c"]);
    note(&mut journal, "a", StepState::Failed { why: "a guard did not hold".into() });
    assert_eq!(undoable(), ["c"], "it never began");
    note(&mut journal, "a", StepState::Started);
    note(&mut journal, "a", StepState::Done);
    note(&mut journal, "c", StepState::Failed { why: "late".into() });
    assert_eq!(undoable(), ["a", "c"]);
    note(&mut journal, "c", StepState::Undone);
    assert_eq!(undoable(), ["a"]);
    note(&mut journal, "b", StepState::Started);
    journal.write(&Entry::Untouched { at: NOW, step: StepId("b".into()) }).unwrap();
    note(&mut journal, "b", StepState::Failed { why: "refused".into() });
    assert_eq!(undoable(), ["a"], "it was refused before it changed anything");
}

#[test]
fn a_run_is_what_its_last_lines_say() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut journal = create(directory, "01A", "c1");
    let run = find(directory, "c1", "01A").unwrap();
    assert_eq!(run.state(), RunState::Running);
    note(&mut journal, "a", StepState::Done);
    drop(journal);
    assert_eq!(found(directory, "01A").state(), RunState::CutOff);
    assert_eq!(unfinished_runs(directory, "c1").unwrap().len(), 1);

    let (mut journal, recorded) = Journal::reopen(&directory.join("01A.jsonl")).unwrap();
    assert_eq!(recorded.states.len(), 1);
    end(&mut journal, RunResult::Failed);
    drop(journal);
    assert_eq!(found(directory, "01A").state(), RunState::Ended(RunResult::Failed));
    assert_eq!(unfinished_runs(directory, "c1").unwrap(), []);

    // It goes on, and is cut off again.
    let (mut journal, _) = Journal::reopen(&directory.join("01A.jsonl")).unwrap();
    journal.write(&Entry::Resumed { at: NOW }).unwrap();
    drop(journal);
    assert_eq!(found(directory, "01A").state(), RunState::CutOff);

    let (mut journal, _) = Journal::reopen(&directory.join("01A.jsonl")).unwrap();
    journal.write(&Entry::Undoing { at: NOW, step: StepId("a".into()) }).unwrap();
    note(&mut journal, "a", StepState::Undone);
    assert_eq!(unfinished_runs(directory, "c1").unwrap().len(), 1, "nobody said that this is all");
    journal.write(&Entry::UndoEnd { at: NOW, result: RunResult::Done }).unwrap();
    drop(journal);
    assert_eq!(found(directory, "01A").state(), RunState::Undone);
    assert_eq!(unfinished_runs(directory, "c1").unwrap(), []);
}

#[test]
fn a_way_back_that_was_cut_off_is_half_done_until_nothing_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut journal = create(directory, "01A", "c1");
    for step in ["a", "c"] {
        note(&mut journal, step, StepState::Started);
        note(&mut journal, step, StepState::Done);
    }
    let undone = |journal: &mut Journal, id: &str| {
        journal.write(&Entry::Undoing { at: NOW, step: StepId(id.into()) }).unwrap();
        note(journal, id, StepState::Undone);
    };
    undone(&mut journal, "c");
    drop(journal);
    let run = found(directory, "01A");
    assert_eq!((run.state(), run.recorded.undoable().len()), (RunState::PartlyUndone, 1));
    assert_eq!(unfinished_runs(directory, "c1").unwrap().len(), 1);

    let (mut journal, _) = Journal::reopen(&directory.join("01A.jsonl")).unwrap();
    undone(&mut journal, "a");
    let running = find(directory, "c1", "01A").unwrap();
    assert!(running.recorded.running && !running.recorded.is_over(), "it goes on");
    // Killed before it wrote that this is all.
    drop(journal);
    assert_eq!(found(directory, "01A").state(), RunState::Undone);
    assert_eq!(unfinished_runs(directory, "c1").unwrap(), []);
}

#[test]
fn only_one_process_goes_on_with_a_journal() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let id = PlanId("01A".into());
    assert!(!is_dead(directory, &id), "nothing is known of it");
    let journal = create(directory, "01A", "c1");
    assert!(!is_dead(directory, &id));
    let refused = Journal::reopen(journal.path()).unwrap_err();
    assert!(matches!(refused, ReopenError::Running(_)), "{refused}");
    drop(journal);
    found(directory, "01A");
    assert!(is_dead(directory, &id));
    assert!(!is_dead(directory, &PlanId("../01A".into())));
    let (mut journal, _) = Journal::reopen(&directory.join("01A.jsonl")).unwrap();
    assert!(!is_dead(directory, &id));
    // A line that a crash tore is cut off before the next one is written.
    journal.file.write_all(b"{\"entry\":\"st").unwrap();
    drop(journal);
    found(directory, "01A");
    let (mut journal, _) = Journal::reopen(&directory.join("01A.jsonl")).unwrap();
    end(&mut journal, RunResult::Done);
    assert_eq!(read(journal.path()).unwrap().end, Some(RunResult::Done));
    journal.discard().unwrap();
    assert!(matches!(find(directory, "c1", "01A"), Err(FindError::None(_))));
}
