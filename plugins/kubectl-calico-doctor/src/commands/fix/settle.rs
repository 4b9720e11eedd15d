//! What is left of earlier runs: journals of those that were cut off, and pods that are about to heal.

use std::time::{Duration, Instant};

use common::calico::names::{MANAGED_BY, OURS};
use common::cli::{Exit, Failure, Kind};
use common::cluster::Cluster;
use common::execute::journal::{self, UnfinishedRun};
use common::findings::Code;
use common::node::pod::RUN_LABEL;
use common::plan::{Plan, PlanId};
use common::report::v1::FixReport;
use common::slim::Pod;
use common::snapshot::Snapshot;

use super::{make_plan, print, remaining};
use crate::Session;
use crate::commands::change;
use crate::commands::look::{self, Look};

/// Pods whose cause is gone heal within 25 s; the kubelet's pauses may grow to half a minute before that.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);
/// Time between two looks at them.
const SETTLE_PAUSE: Duration = Duration::from_secs(2);

/// Nothing is to be repaired any more, but pods may still be about to heal, perhaps after a run that was cut off: this is waited
/// for, so that a good end means that they are well.
pub(super) async fn settle(
    session: &Session,
    cluster: &Cluster,
    mut look: Look,
    mut plan: Plan,
    only: &[Code],
) -> Result<Exit, Failure> {
    let unfinished = unfinished_runs(session, &plan)?;
    let began = Instant::now();
    while plan.steps.is_empty() && look.recovers() && began.elapsed() < SETTLE_LIMIT {
        let waited = began.elapsed().as_secs();
        session.printer.live(&format!(
            "  the cause is gone; waiting for the pods to recover ({waited} s of {} s)",
            SETTLE_LIMIT.as_secs()
        ));
        look::interruptible(tokio::time::sleep(SETTLE_PAUSE)).await?;
        look = look::at_cluster(session, cluster).await?;
        plan = make_plan(&look, plan.id, plan.target, only);
    }
    session.printer.clear();
    if !unfinished.is_empty() || is_something_left(&look.snapshot, &plan.id) {
        change::tidy(session, cluster, &plan).await;
    }
    if remaining(&look, only) == Exit::Good && !look.recovers() {
        close(session, &unfinished, &plan);
    }
    nothing_to_do(session, &look, &plan, only)
}

/// True when a pod or the Lease of another run is there. A run that was killed after the last line of its journal is known
/// by nothing else.
fn is_something_left(snapshot: &Snapshot, run: &PlanId) -> bool {
    let is_anothers = |pod: &Pod| {
        let labels = &pod.metadata.labels;
        labels.get(MANAGED_BY).is_some_and(|it| it == OURS)
            && labels.get(RUN_LABEL).is_none_or(|it| !it.eq_ignore_ascii_case(&run.0))
    };
    snapshot.pods.items.iter().any(is_anothers) || !snapshot.leases.items.is_empty()
}

/// Says that there is nothing to do, and why.
pub(super) fn nothing_to_do(
    session: &Session,
    look: &Look,
    plan: &Plan,
    only: &[Code],
) -> Result<Exit, Failure> {
    let exit = remaining(look, only);
    let mut report = FixReport::new(plan, exit.word());
    report.note = Some(match exit {
        Exit::Good => "There is nothing to repair.".to_owned(),
        _ => "There is nothing that can be repaired from here; see what is left out.".to_owned(),
    });
    print(session, &report)?;
    Ok(exit)
}

/// Runs of ours on this cluster that were cut off: this one starts from what the cluster shows now, and takes their place
/// once it is done. Beside one that goes on, nothing may be begun.
pub(super) fn unfinished_runs(
    session: &Session,
    plan: &Plan,
) -> Result<Vec<UnfinishedRun>, Failure> {
    let internal = |error: journal::JournalError| Failure::new(Kind::Internal, error);
    let directory = journal::directory().map_err(internal)?;
    let runs = journal::unfinished_runs(&directory, &plan.target.cluster_uid)?;
    if let Some(run) = runs.iter().find(|run| run.running) {
        let what = format!("another repair of this cluster goes on: run {}", run.plan);
        return Err(Failure::new(Kind::Refused, what).hint("wait for it to end, then try again"));
    }
    for run in &runs {
        session.printer.talk(&format!(
            "Run {} on this cluster was cut off ({} of {} steps done). This one plans from what the cluster shows now.",
            run.plan, run.finished, run.steps
        ));
    }
    Ok(runs)
}

/// Notes in the journals of runs that were cut off that this one took their place.
pub(super) fn close(session: &Session, unfinished: &[UnfinishedRun], plan: &Plan) {
    for run in unfinished {
        if let Err(error) = journal::supersede(run, &plan.id, jiff::Timestamp::now()) {
            session.printer.talk(&format!("warning: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::slim::Lease;
    use common::snapshot::SnapshotBuilder;

    #[test]
    fn only_what_another_run_made_is_left_over() {
        let mut snapshot = SnapshotBuilder::new().finish(jiff::Timestamp::UNIX_EPOCH);
        let me = PlanId("01ME".into());
        assert!(!is_something_left(&snapshot, &me));
        let mut pod = Pod::default();
        pod.metadata.labels.insert(MANAGED_BY.into(), OURS.into());
        pod.metadata.labels.insert(RUN_LABEL.into(), "01me".into());
        snapshot.pods.items = vec![Pod::default(), pod];
        assert!(!is_something_left(&snapshot, &me), "its own pod, and a stranger's");
        assert!(is_something_left(&snapshot, &PlanId("01OTHER".into())));
        snapshot.pods.items.clear();
        snapshot.leases.items = vec![Lease::default()];
        assert!(is_something_left(&snapshot, &me));
    }
}
