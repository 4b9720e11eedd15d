//! `fix`: plan, consent, journal, repair, and a second look.

mod apply;
mod hosts;
mod settle;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use common::checks;
use common::cli::{Exit, FailOn, Failure, Kind, OutputFormat};
use common::cluster::Cluster;
use common::execute::new_plan_id;
use common::findings::Code;
use common::node::pod::{NodePods, Op};
use common::plan::{Action, Order, Plan, PlanId, Target, describe, plan_for};
use common::report::v1::FixReport;
use common::report::{escape, json, plan as plan_text, yaml};

use super::look::{self, Look};
use super::node_flags::{ProbeFlags, close};
use super::rbac;
use crate::Session;
use apply::apply;
pub(crate) use apply::finish;
pub(crate) use hosts::Again;
use settle::{nothing_to_do, settle};

#[derive(Args, Clone, Debug)]
pub(crate) struct FixFlags {
    /// Repair only findings with these codes; all of them if none is given
    #[arg(value_name = "CODE")]
    codes: Vec<String>,
    /// Apply the plan without asking
    #[arg(short = 'y', long)]
    yes: bool,
    /// Print the plan and change nothing; with "server" the API server is asked whether it would accept it
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "client", default_value = "none", value_name = "WHERE")]
    dry_run: DryRun,
    /// Plan for this bundle; goes with --dry-run only
    #[arg(long, value_name = "PATH", requires = "dry_run")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    probe: ProbeFlags,
    /// Print the smallest ClusterRole for this verb, and do nothing
    #[arg(long)]
    print_rbac: bool,
    /// With --print-rbac: bind the role to this user
    #[arg(long, value_name = "USER", requires = "print_rbac")]
    bind_to: Option<String>,
}

/// kubectl's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DryRun {
    None,
    Client,
    Server,
}

pub(crate) async fn run(session: &Session, flags: &FixFlags) -> Result<Exit, Failure> {
    if flags.print_rbac {
        session.printer.data(&rbac::role(rbac::Verb::Fix, flags.bind_to.as_deref()))?;
        return Ok(Exit::Good);
    }
    let only = codes(session, &flags.codes)?;
    if let Some(path) = &flags.bundle {
        if flags.dry_run != DryRun::Client {
            return Err(Failure::usage("a bundle cannot be repaired")
                .hint("--bundle goes with --dry-run: it prints the plan"));
        }
        let look = look::at_bundle(path)?;
        let plan = make_plan(&look, new_plan_id(), bundle_target(&look, path), &only);
        return show_only(session, &plan);
    }
    let cluster = look::connect(session).await?;
    let look = look::at_cluster(session, &cluster).await?;
    if let Some(exit) = unreadable(session, &look)? {
        return Ok(exit);
    }
    let pods = flags.probe.pods().open(session, &cluster, new_plan_id(), Op::Repair, "fix").await;
    // Boxed: it holds everything from the closer look to the last one.
    let ended = Box::pin(repair(session, &cluster, flags, &only, look, &pods)).await;
    close(session, &pods).await;
    ended
}

/// Looks more closely where that is needed, plans, and does what the flags say. The caller closes the pods.
async fn repair(
    session: &Session,
    cluster: &Cluster,
    flags: &FixFlags,
    only: &[Code],
    look: Look,
    pods: &NodePods,
) -> Result<Exit, Failure> {
    let (look, nodes) = hosts::look_closer(session, cluster, flags, only, look, pods).await?;
    let run = pods.options().run.clone();
    let plan = make_plan(&look, run, target(cluster, &look).await?, only);
    if plan.steps.is_empty() && flags.dry_run == DryRun::None {
        return settle(session, cluster, look, plan, only).await;
    }
    if plan.steps.is_empty() {
        return nothing_to_do(session, &look, &plan, only);
    }
    match flags.dry_run {
        DryRun::None => {
            let again = Again { nodes, pods: flags.probe.pods() };
            apply(session, cluster, pods, &plan, flags.yes, only, &again).await
        }
        DryRun::Client => show_only(session, &plan),
        DryRun::Server => {
            rehearse(cluster, &plan).await?;
            show_only(session, &plan)
        }
    }
}

/// Asks the API server whether it would accept each step, which it then does not carry out.
async fn rehearse(cluster: &Cluster, plan: &Plan) -> Result<(), Failure> {
    for step in &plan.steps {
        let Action::Delete { object, uid } = &step.action else { continue };
        cluster.delete(object, uid, true).await.map_err(|error| {
            let step = format!("the API server would not {}", describe::action(&step.action));
            Failure::new(Kind::Refused, format!("{step}: {error}"))
        })?;
    }
    Ok(())
}

/// The codes that were named, each checked.
fn codes(session: &Session, words: &[String]) -> Result<Vec<Code>, Failure> {
    words
        .iter()
        .map(|word| {
            checks::find(word).map(|check| check.code).ok_or_else(|| {
                Failure::usage(format!("there is no check {word:?}"))
                    .hint(format!("list them: {} checks", session.program))
            })
        })
        .collect()
}

fn make_plan(look: &Look, id: PlanId, target: Target, only: &[Code]) -> Plan {
    let order = Order {
        id,
        made_by: concat!("kubectl-calico-doctor/", env!("CARGO_PKG_VERSION")),
        target,
        only,
    };
    plan_for(order, &look.snapshot, &look.diagnosis)
}

/// Which cluster the plan is for. Without its identity no guard could hold, so nothing may be done.
async fn target(cluster: &Cluster, look: &Look) -> Result<Target, Failure> {
    let Some(cluster_uid) = look.snapshot.cluster.uid.known().cloned() else {
        return Err(Failure::new(Kind::Access, "cannot tell which cluster this is").hint(
            "reading namespace kube-system must be allowed: its uid identifies the cluster",
        ));
    };
    let info = cluster.target_info();
    let user = cluster.who_am_i().await.unwrap_or_else(|_| "unknown".to_owned());
    Ok(Target {
        cluster_uid,
        context: info.context.clone(),
        cluster_name: info.cluster_name.clone(),
        server: info.server.clone(),
        user,
    })
}

/// A bundle names no server: the plan shows where the data came from instead.
fn bundle_target(look: &Look, path: &Path) -> Target {
    Target {
        cluster_uid: look.snapshot.cluster.uid.known().cloned().unwrap_or_default(),
        context: "none".to_owned(),
        cluster_name: path.display().to_string(),
        server: "a bundle".to_owned(),
        user: "nobody".to_owned(),
    }
}

/// Without an answer of the API server there is nothing to plan: the report says so.
fn unreadable(session: &Session, look: &Look) -> Result<Option<Exit>, Failure> {
    let exit = look.exit(FailOn::Error);
    if exit != Exit::Error {
        return Ok(None);
    }
    look.print(session, exit)?;
    Ok(Some(exit))
}

fn show_only(session: &Session, plan: &Plan) -> Result<Exit, Failure> {
    print(session, &FixReport::new(plan, "planned"))?;
    Ok(Exit::Good)
}

pub(crate) fn print(session: &Session, report: &FixReport) -> Result<(), Failure> {
    let document = match session.format {
        OutputFormat::Json => json(report),
        OutputFormat::Yaml => yaml(report),
        OutputFormat::Text => {
            // A plan of nothing that leaves nothing out says nothing.
            let is_empty = report.plan.steps.is_empty() && report.plan.left_out.is_empty();
            let mut text = match &report.note {
                Some(note) if is_empty => {
                    format!("Context {}: {note}", escape(&report.plan.target.context))
                }
                Some(note) => plan_text(&report.plan, &session.text_options()) + note,
                None => plan_text(&report.plan, &session.text_options()),
            };
            if report.note.is_some() {
                text.push('\n');
            }
            text
        }
    };
    session.printer.data(&document)
}

/// The verdict over what was asked for.
fn remaining(look: &Look, only: &[Code]) -> Exit {
    let mut diagnosis = look.diagnosis.clone();
    if !only.is_empty() {
        diagnosis.roots.retain(|root| only.contains(&root.finding.code));
    }
    look.exit_of(&diagnosis, FailOn::Error)
}
