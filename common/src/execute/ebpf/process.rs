//! Processes that act on the cluster in a box, and die where they are told to.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tokio::sync::Notify;

use super::super::journal::Journal;
use super::super::lease::Tenure;
use super::super::quick_clock::QuickClock;
use super::super::simulation::once_given_up;
use super::super::{Consent, Executor, Silent, StopSwitch};
use super::simulation::{RUN, World};
use crate::plan::{Outcome, Plan};

/// What a process is started for.
#[derive(Clone, Copy)]
pub(super) enum Work<'a> {
    Run(&'a Plan),
    Resume,
    TakeBack,
}

/// A process that dies at this point; none when it died.
pub(super) async fn process(
    world: &Arc<World>,
    directory: &Path,
    work: Work<'_>,
    kill_at: usize,
) -> Option<Outcome> {
    world.points.store(0, Ordering::SeqCst);
    world.kill_at.store(kill_at, Ordering::SeqCst);
    let killed = Arc::new(Notify::new());
    *world.killed.lock().unwrap() = killed.clone();
    let (_switch, stop) = StopSwitch::new();
    let (mut journal, recorded) = match work {
        Work::Run(plan) => (Journal::create(directory, plan, Timestamp::UNIX_EPOCH).unwrap(), None),
        Work::Resume | Work::TakeBack => {
            once_given_up(directory);
            let (journal, recorded) =
                Journal::reopen(&directory.join(format!("{RUN}.jsonl"))).unwrap();
            (journal, Some(recorded))
        }
    };
    let executor = Executor {
        operations: &**world,
        clock: &QuickClock::new(1000),
        journal: &mut journal,
        tenure: &Tenure::unlimited(),
        reporter: &mut Silent,
        stop: &stop,
    };
    let consent = Consent::from_flag(true).unwrap();
    let working = async {
        match (work, &recorded) {
            (Work::Run(plan), _) => executor.run(plan, consent).await,
            (Work::Resume, Some(it)) => executor.go_on(&it.plan, &it.states, consent).await,
            (Work::TakeBack, Some(it)) => executor.take_back(it, consent).await,
            _ => panic!("there is no journal"),
        }
    };
    tokio::select! {
        biased;
        () = killed.notified() => None,
        outcome = working => Some(outcome.unwrap()),
    }
}
