//! What is left of earlier runs: journals of those that were cut off, and pods that are about to heal.

use std::time::{Duration, Instant};

use crate::calico::names::{MANAGED_BY, OURS};
use crate::cli::{Exit, Failure, OutputFormat};
use crate::cluster::Cluster;
use crate::node::pod::RUN_LABEL;
use crate::plan::{Plan, PlanId};
use crate::report::v1::FixReport;
use crate::slim::Pod;
use crate::snapshot::Snapshot;

use super::{Request, Seen, make_plan, print, remaining};
use crate::verbs::Session;
use crate::verbs::change;
use crate::verbs::look::{self, Look};

/// Pods whose cause is gone heal within 25 s; the kubelet's pauses may grow to half a minute before that.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);
/// Time between two looks at them.
const SETTLE_PAUSE: Duration = Duration::from_secs(2);

/// Nothing is to be repaired any more, but pods may still be about to heal, perhaps after a run that was cut off: this is waited
/// for, so that a good end means that they are well.
pub(super) async fn settle(
    session: &Session,
    cluster: &Cluster,
    (mut look, seen): (Look, &Seen),
    mut plan: Plan,
    request: &Request<'_>,
) -> Result<Exit, Failure> {
    let unfinished = change::unfinished_runs(session, &plan)?;
    let began = Instant::now();
    while plan.steps.is_empty() && look.recovers() && began.elapsed() < SETTLE_LIMIT {
        let waited = began.elapsed().as_secs();
        session.printer.live(&format!(
            "  the cause is gone; waiting for the pods to recover ({waited} s of {} s)",
            SETTLE_LIMIT.as_secs()
        ));
        look::interruptible(tokio::time::sleep(SETTLE_PAUSE)).await?;
        look = request.limit(look::at_cluster(session, cluster).await?);
        plan = make_plan(session, &look, plan.id, plan.target, request);
        seen.add_to(&mut plan, request)?;
    }
    session.printer.clear();
    if !unfinished.is_empty() || is_something_left(&look.snapshot, &plan.id) {
        change::tidy(session, cluster, &plan).await;
    }
    let exit = remaining(&look, request, &plan).or(seen.exit());
    if exit == Exit::Good && !look.recovers() {
        change::supersede(session, &unfinished, &plan);
    }
    nothing_to_do(session, (&look, seen), &plan, request)
}

/// Nothing is to be done: what runs that were cut off left in the cluster goes. Once all is well (`is_done`) this one takes their
/// place.
///
/// # Errors
/// When the journals cannot be read, or another run goes on.
pub async fn tidy_after_others(
    session: &Session,
    cluster: &Cluster,
    (snapshot, plan): (&Snapshot, &Plan),
    is_done: bool,
) -> Result<(), Failure> {
    let unfinished = change::unfinished_runs(session, plan)?;
    if !unfinished.is_empty() || is_something_left(snapshot, &plan.id) {
        change::tidy(session, cluster, plan).await;
    }
    if is_done {
        change::supersede(session, &unfinished, plan);
    }
    Ok(())
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
    (look, seen): (&Look, &Seen),
    plan: &Plan,
    request: &Request<'_>,
) -> Result<Exit, Failure> {
    let exit = remaining(look, request, plan).or(seen.exit());
    let mut report = FixReport::new(plan, exit.word());
    report.note = Some(match exit {
        Exit::Good => request.nothing.to_owned(),
        _ => "There is nothing that can be repaired from here; see what is left out.".to_owned(),
    });
    let hint = request.stuck.hint(&look.diagnosis).filter(|_| exit != Exit::Good);
    if session.format != OutputFormat::Text {
        report.note = hint.clone().or(report.note);
    }
    print(session, &report)?;
    look::tell_forbidden(session, &look.snapshot);
    if let Some(hint) = hint {
        session.printer.talk(&format!("hint: {hint}"));
    }
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slim::Lease;
    use crate::snapshot::SnapshotBuilder;

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
