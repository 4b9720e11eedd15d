//! Tests of the journal's file: who may read it, and what a crash leaves of it.

use super::*;
use crate::execute::simulation::once_given_up;
use crate::plan::{PlanId, Target};

fn plan(id: u64) -> Plan {
    Plan {
        id: PlanId::new(id, [0; 10]),
        made_by: "test".into(),
        target: Target {
            cluster_uid: "cluster-1".into(),
            context: "c".into(),
            cluster_name: "c".into(),
            server: "https://192.0.2.1".into(),
            user: "me".into(),
        },
        taken: Timestamp::UNIX_EPOCH,
        steps: Vec::new(),
        left_out: Vec::new(),
        max_failures: 1,
    }
}

fn step(state: StepState) -> Entry {
    Entry::Step { at: Timestamp::UNIX_EPOCH, step: StepId("restart/n".into()), state }
}

fn create(directory: &Path, id: u64) -> Journal {
    Journal::create(directory, &plan(id), Timestamp::UNIX_EPOCH).unwrap()
}

#[cfg(unix)]
#[test]
fn only_its_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let base = tempfile::tempdir().unwrap();
    let directory = base.path().join("kubectl-calico").join("runs");
    fs::create_dir_all(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let journal = create(&directory, 1);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(journal.path()), mode(&directory)), (0o600, 0o700));
}

#[test]
fn a_plan_id_cannot_lead_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    for id in ["", "../x", "a/b", "a.b"] {
        let plan = Plan { id: PlanId(id.into()), ..plan(1) };
        let error = Journal::create(directory.path(), &plan, Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(matches!(error, JournalError::Id(_)), "{id}");
    }
    // A run never writes into the journal of another.
    let _first = create(directory.path(), 1);
    let error = Journal::create(directory.path(), &plan(1), Timestamp::UNIX_EPOCH).unwrap_err();
    assert!(matches!(error, JournalError::Io { attempt: "create", .. }), "{error}");
}

#[test]
fn wherever_a_crash_tears_it_the_rest_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = create(directory.path(), 1);
    journal.write(&step(StepState::Started)).unwrap();
    journal.write(&step(StepState::Failed { why: "ünclear".into() })).unwrap();
    let path = journal.path().to_owned();
    drop(journal);
    let whole = fs::read(&path).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap();
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        match read(&path) {
            // The plan counts once all of it is there, with or without the end of its line.
            Ok(recorded) => assert!(length >= first && recorded.plan == plan(1), "{length}"),
            Err(ReadError::NoPlan { .. }) => assert!(length < first, "{length}"),
            Err(error) => panic!("{length}: {error}"),
        }
    }
    let states = read(&path).unwrap().states;
    assert_eq!(
        states.into_values().collect::<Vec<_>>(),
        [StepState::Failed { why: "ünclear".into() }]
    );
}

#[test]
fn nonsense_before_the_end_was_no_crash() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = create(directory.path(), 1);
    journal.file.write_all(b"nonsense\n").unwrap();
    journal.write(&step(StepState::Started)).unwrap();
    let error = read(journal.path()).unwrap_err();
    assert!(matches!(error, ReadError::Corrupt { line: 2, .. }), "{error}");
    // Such a file does not keep other journals from being seen.
    let _other = create(directory.path(), 2);
    let runs = unfinished_runs(directory.path(), "cluster-1").unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].plan, plan(2).id);
}

#[test]
fn a_torn_journal_can_be_closed() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = create(directory.path(), 1);
    journal.write(&step(StepState::Started)).unwrap();
    journal.file.write_all(b"{\"entry\":\"st").unwrap();
    let runs = unfinished_runs(directory.path(), "cluster-1").unwrap();
    assert!(runs[0].running, "its file is still open");
    // A run that goes on is not closed by another.
    supersede(&runs[0], &plan(2).id, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(unfinished_runs(directory.path(), "cluster-1").unwrap().len(), 1);
    drop(journal);
    let runs = once_given_up(directory.path());
    supersede(&runs[0], &plan(2).id, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(unfinished_runs(directory.path(), "cluster-1").unwrap(), []);
    let recorded = read(&runs[0].path).unwrap();
    assert!(recorded.superseded);
    assert_eq!(recorded.states.into_values().collect::<Vec<_>>(), [StepState::Started]);
}

#[test]
fn a_run_that_ended_is_not_unfinished() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none");
    assert_eq!(unfinished_runs(&missing, "cluster-1").unwrap(), []);
    let mut journal = create(directory.path(), 1);
    let result = RunResult::Failed;
    journal.write(&Entry::End { at: Timestamp::UNIX_EPOCH, result }).unwrap();
    assert_eq!(unfinished_runs(directory.path(), "cluster-1").unwrap(), []);
}
