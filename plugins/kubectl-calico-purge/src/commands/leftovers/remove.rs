//! Removes what was found: plan, consent, journal, the steps, and a second scan that decides.

use common::cli::{Exit, Failure, OutputFormat};
use common::cluster::Cluster;
use common::execute::journal;
use common::node::pod::NodePods;
use common::plan::{LeftOut, Plan, RunResult};
use common::report::{
    LeftoversReport, NodeLeftovers, outcome as outcome_text, plan as plan_text,
    rehearsal as rehearsal_text,
};
use common::residue::{Host, steps};
use common::verbs::look::{self, Look};
use common::verbs::repair::{DryRun, exit_of_rehearsal, rehearsal, target, tidy_after_others};
use common::verbs::undo::exit_of as exit_of_run;
use common::verbs::{Session, change};

use super::scan::{self, Target};
use super::{LeftoversFlags, print};

pub(super) async fn run(
    session: &Session,
    (cluster, pods): (&Cluster, &NodePods),
    flags: &LeftoversFlags,
    look: &Look,
    targets: &[Target],
    found: Vec<NodeLeftovers>,
) -> Result<Exit, Failure> {
    let place = format!("context {}", cluster.target_info().context);
    let plan = plan(session, cluster, pods, flags, look, &found).await?;
    let mut report = LeftoversReport::new(place, found, "");
    let is_text = session.format == OutputFormat::Text;
    if plan.steps.is_empty() {
        if flags.change.dry_run == DryRun::None {
            // A run that was killed after its last step leaves a node pod and its Lease.
            let (seen, is_done) = ((&look.snapshot, &plan), plan.left_out.is_empty());
            tidy_after_others(session, cluster, seen, is_done).await?;
        }
        report.plan = (!plan.left_out.is_empty()).then_some(plan);
        return print(session, report, Exit::Good);
    }
    if flags.change.dry_run != DryRun::None {
        let said = rehearsal(session, cluster, &plan, flags.change.dry_run).await?;
        let exit = exit_of_rehearsal(said.as_deref());
        if is_text {
            let options = session.text_options();
            session.printer.data(&plan_text(&plan, &options))?;
            session
                .printer
                .data(&said.iter().map(|it| rehearsal_text(it, &options)).collect::<String>())?;
        }
        (report.plan, report.rehearsal) = (Some(plan), said);
        return print(session, report, exit).map(|_| exit);
    }
    let outcome = change::apply(session, cluster, pods, &plan, flags.change.yes).await?;
    let Some(outcome) = outcome else {
        report.plan = Some(plan);
        if !is_text {
            print(session, report, Exit::Declined)?;
        }
        return Ok(Exit::Declined);
    };
    let exit = exit_of_run(outcome.result);
    if is_text {
        session.printer.data(&outcome_text(&outcome, &session.text_options()))?;
    }
    if outcome.result != RunResult::Interrupted {
        // The pods of the run are gone with it.
        let again = flags.pods.open(
            session,
            cluster,
            common::execute::new_plan_id(),
            common::node::pod::Op::Inspect,
            "leftovers",
        );
        let again = again.await;
        let seen = look::interruptible(second(session, cluster, &again, targets)).await;
        common::verbs::node_flags::close(session, &again).await;
        report.nodes = seen??;
    }
    report.undo = change::undo_command(session, &plan)?;
    if let (true, Some(command)) = (is_text, &report.undo) {
        session.printer.data(&format!("undo: {command}\n\n"))?;
    }
    report.plan = Some(plan);
    report.outcome = Some(outcome);
    print(session, report, exit)
}

/// Looks at the cluster and at the hosts again.
async fn second(
    session: &Session,
    cluster: &Cluster,
    pods: &NodePods,
    targets: &[Target],
) -> Result<Vec<NodeLeftovers>, Failure> {
    let look = look::at_installation(session, cluster).await?;
    Ok(scan::all(session, pods, &look.snapshot, targets).await)
}

async fn plan(
    session: &Session,
    cluster: &Cluster,
    pods: &NodePods,
    flags: &LeftoversFlags,
    look: &Look,
    found: &[NodeLeftovers],
) -> Result<Plan, Failure> {
    let id = pods.options().run.clone();
    let target = target(cluster, look).await?;
    let backup = match &flags.backup_dir {
        _ if flags.no_backup => None,
        Some(directory) => Some(directory.clone()),
        None => Some(default_directory(&id.0)?),
    };
    let mut plan = Plan {
        id,
        made_by: session.made_by_verb("leftovers"),
        taken: look.snapshot.taken,
        steps: Vec::new(),
        max_failures: 1,
        left_out: Vec::new(),
        target,
    };
    for node in found {
        let nodes = &look.snapshot.nodes.items;
        let host = Host {
            name: &node.node,
            object: nodes.iter().find(|it| it.metadata.name == node.node),
            cluster_uid: &plan.target.cluster_uid,
            backup: backup.as_deref(),
        };
        plan.steps.extend(steps(&node.found, &host));
        let left = |(id, why): (&String, &String)| LeftOut {
            finding: format!("{id} on {}", node.node),
            why: why.clone(),
        };
        plan.left_out.extend(node.not_removable.iter().map(left));
    }
    Ok(plan)
}

/// Beside the journals of the runs.
fn default_directory(run: &str) -> Result<String, Failure> {
    let runs = journal::directory().map_err(change::internal)?;
    let beside = runs.parent().unwrap_or(&runs).join("backups").join(run);
    Ok(beside.to_string_lossy().into_owned())
}
