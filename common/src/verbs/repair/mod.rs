//! Repair: plan, consent, journal, the steps, and a second look.

mod apply;
mod hosts;
mod other_modes;
mod settle;
mod stuck;

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};

use super::Session;
use super::look::{self, Look};
use super::node_flags::{PodFlags, close};
use crate::calico::FelixConfiguration;
use crate::checks;
use crate::cli::{Exit, FailOn, Failure, Kind, OutputFormat};
use crate::cluster::Cluster;
use crate::collect::Which;
use crate::execute::{new_plan_id, rehearse};
use crate::findings::{Code, Finding};
use crate::node::pod::{NodePods, Op};
use crate::plan::{Answer, Order, Plan, PlanId, Rehearsed, Target, plan_for};
use crate::report::v1::FixReport;
use crate::report::{escape, json, plan as plan_text, rehearsal as rehearsal_text, yaml};
use crate::snapshot::{Known, Snapshot};
use apply::apply;
pub use apply::finish;
pub use hosts::Again;
pub use other_modes::OtherModes;
use other_modes::Seen;
pub use settle::tidy_after_others;
use settle::{nothing_to_do, settle};
pub use stuck::Stuck;

/// Flags of every verb that changes something.
#[derive(Args, Clone, Copy, Debug, PartialEq)]
pub struct ChangeFlags {
    /// Apply the plan without asking
    #[arg(short = 'y', long)]
    pub yes: bool,
    /// Print the plan and change nothing; with "server" the API server is asked whether it would accept it
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "client", default_value = "none", value_name = "WHERE")]
    pub dry_run: DryRun,
}

/// kubectl's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// Changes are made.
    None,
    /// The plan is printed.
    Client,
    /// The API server is asked, too.
    Server,
}

/// What is to be repaired, and how.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Only findings with one of these codes; empty means all.
    pub only: &'a [Code],
    /// Only on these nodes; none means everywhere.
    pub nodes: Option<&'a BTreeSet<String>>,
    /// Hosts that the user wants to be looked at, besides those that need it.
    pub hosts: Option<&'a Which>,
    /// Consent and dry run.
    pub change: ChangeFlags,
    /// How pods on nodes are made.
    pub pods: &'a PodFlags,
    /// What the user asked for, after the plugin's name: `fix`.
    pub verb: &'a str,
    /// The sentence when there is nothing to do.
    pub nothing: &'a str,
    /// What becomes of pods that hang in Terminating where nothing repairs the cause.
    pub stuck: Stuck<'a>,
    /// Whether what another mode of Calico left is removed as well; none means that nobody looks for it.
    pub other_modes: Option<OtherModes<'a>>,
}

impl Request<'_> {
    /// True when the finding is one that is asked about.
    fn is_about(&self, finding: &Finding) -> bool {
        // What is about no node was not limited away: nobody may see enough to judge any.
        let here = |nodes: &BTreeSet<String>| {
            finding.nodes.is_empty() || finding.nodes.iter().any(|it| nodes.contains(it))
        };
        (self.only.is_empty() || self.only.contains(&finding.code)) && self.nodes.is_none_or(here)
    }

    /// Where only some nodes are asked about, nothing else is judged.
    fn limit(&self, look: Look) -> Look {
        match self.nodes {
            Some(nodes) => look.limited_to(nodes),
            None => look,
        }
    }
}

/// Looks, plans, and repairs.
///
/// # Errors
/// When the cluster cannot be asked, when something else changes it at this moment, or when the journal cannot be kept.
pub async fn run(
    session: &Session,
    cluster: &Cluster,
    request: &Request<'_>,
) -> Result<Exit, Failure> {
    let look = match request.change.dry_run {
        DryRun::None => look::before_a_change(session, cluster).await?,
        DryRun::Client | DryRun::Server => look::at_cluster(session, cluster).await?,
    };
    let look = request.limit(look);
    if let Some(exit) = unreadable(session, &look)? {
        return Ok(exit);
    }
    let felix = other_modes::settings(session, cluster, request, &look).await?;
    let op = Op::Repair;
    let pods = request.pods.open(session, cluster, new_plan_id(), op, request.verb).await;
    // Boxed: it holds everything from the closer look to the last one.
    let ended = Box::pin(repair(session, cluster, request, (look, &felix), &pods)).await;
    close(session, &pods).await;
    ended
}

/// Prints the plan for what was seen in a bundle. `from` is what it is called.
///
/// # Errors
/// When stdout cannot be written.
pub fn show_for(
    session: &Session,
    look: &Look,
    from: String,
    request: &Request<'_>,
) -> Result<Exit, Failure> {
    // A bundle names no server: the plan shows where the data came from instead.
    let target = Target {
        cluster_uid: look.snapshot.cluster.uid.known().cloned().unwrap_or_default(),
        context: "none".to_owned(),
        cluster_name: from,
        server: "a bundle".to_owned(),
        user: "nobody".to_owned(),
    };
    show_only(session, &make_plan(session, look, new_plan_id(), target, request))
}

/// Looks more closely where that is needed, plans, and does what the flags say. The caller closes the pods.
async fn repair(
    session: &Session,
    cluster: &Cluster,
    request: &Request<'_>,
    (look, felix): (Look, &Known<Vec<FelixConfiguration>>),
    pods: &NodePods,
) -> Result<Exit, Failure> {
    let (look, nodes) = hosts::look_closer(session, cluster, request, look, pods).await?;
    let run = pods.options().run.clone();
    let target = target(cluster, &look).await?;
    let seen = Seen::on(session, request, pods, (&look.snapshot, felix), &nodes).await?;
    let mut plan = make_plan(session, &look, run, target, request);
    seen.add_to(&mut plan, request)?;
    if plan.steps.is_empty() && request.change.dry_run == DryRun::None {
        return settle(session, cluster, (look, &seen), plan, request).await;
    }
    if plan.steps.is_empty() {
        return nothing_to_do(session, (&look, &seen), &plan, request);
    }
    if request.other_modes.is_some() && nodes.is_empty() {
        session.printer.talk(UNSEEN_MODES);
    }
    match request.change.dry_run {
        DryRun::None => {
            let again = Again { nodes, pods: request.pods, verb: request.verb };
            apply(session, cluster, pods, &plan, request, &again).await
        }
        DryRun::Client | DryRun::Server => {
            rehearse_or_show(session, cluster, &plan, request.change.dry_run).await
        }
    }
}

/// What a dry run that makes no pod cannot tell.
const UNSEEN_MODES: &str =
    "What another mode or backend of Calico left is looked for on the nodes only: --probe does.";

/// Prints a plan that is not carried out. With [`DryRun::Server`] the API server is asked about each step, and a step that it
/// would refuse is exit code 6.
///
/// # Errors
/// When stdout cannot be written, or the user interrupts.
pub async fn rehearse_or_show(
    session: &Session,
    cluster: &Cluster,
    plan: &Plan,
    dry_run: DryRun,
) -> Result<Exit, Failure> {
    let said = rehearsal(session, cluster, plan, dry_run).await?;
    let exit = exit_of_rehearsal(said.as_deref());
    let mut report = FixReport::new(plan, if exit == Exit::Good { "planned" } else { exit.word() });
    report.rehearsal = said;
    print(session, &report)?;
    Ok(exit)
}

/// What the API server says to each step; none when it is not to be asked.
///
/// # Errors
/// When the user interrupts.
pub async fn rehearsal(
    session: &Session,
    cluster: &Cluster,
    plan: &Plan,
    dry_run: DryRun,
) -> Result<Option<Vec<Rehearsed>>, Failure> {
    if dry_run != DryRun::Server {
        return Ok(None);
    }
    look::interruptible(rehearse(cluster, plan, session.plugin)).await.map(Some)
}

/// The exit code of what the API server said.
pub fn exit_of_rehearsal(said: Option<&[Rehearsed]>) -> Exit {
    let refused = said.unwrap_or_default().iter().any(|it| it.answer == Answer::Refused);
    if refused { Exit::Declined } else { Exit::Good }
}

/// The codes that were named, each checked.
///
/// # Errors
/// When there is no such check.
pub fn codes(session: &Session, words: &[String]) -> Result<Vec<Code>, Failure> {
    words
        .iter()
        .map(|word| {
            // What is not diagnosed cannot be repaired either.
            let is_diagnosed = |code: &Code| checks::ALL.iter().any(|it| it.code == *code);
            checks::find(word).map(|check| check.code).filter(is_diagnosed).ok_or_else(|| {
                Failure::usage(format!("there is no check {word:?}"))
                    .hint(format!("list them: {} checks", session.doctor()))
            })
        })
        .collect()
}

fn make_plan(
    session: &Session,
    look: &Look,
    id: PlanId,
    target: Target,
    request: &Request<'_>,
) -> Plan {
    let (only, nodes) = (request.only, request.nodes);
    let made_by = session.made_by_verb(request.verb);
    let order = Order { id, made_by: &made_by, target, only, nodes };
    plan_for(order, &look.snapshot, &request.stuck.treated(&look.diagnosis))
}

/// Which cluster the plan is for. Without its identity no guard could hold, so nothing may be done.
///
/// # Errors
/// When the cluster does not tell its identity.
pub async fn target(cluster: &Cluster, look: &Look) -> Result<Target, Failure> {
    target_of(cluster, &look.snapshot).await
}

/// The same of what was seen without being judged.
///
/// # Errors
/// When the cluster does not tell its identity.
pub async fn target_of(cluster: &Cluster, snapshot: &Snapshot) -> Result<Target, Failure> {
    let Some(cluster_uid) = snapshot.cluster.uid.known().cloned() else {
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

/// Writes a plan, and what became of it, in the format that was asked for.
///
/// # Errors
/// When stdout cannot be written.
pub fn print(session: &Session, report: &FixReport) -> Result<(), Failure> {
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
            if let Some(said) = &report.rehearsal {
                text.push_str(&rehearsal_text(said, &session.text_options()));
            }
            text
        }
    };
    session.printer.data(&document)
}

/// The verdict over what was asked for.
fn remaining(look: &Look, request: &Request<'_>, plan: &Plan) -> Exit {
    let mut diagnosis = look.diagnosis.clone();
    diagnosis.roots.retain(|root| request.is_about(&root.finding));
    let exit = look.exit_of(&diagnosis, FailOn::Error);
    // Who names a node wants to be rid of everything there that could be removed: a warning, too. What was not there when the
    // plan was made counts as ever: the kubelet takes a minute to remove the sandbox of a pod that has just gone.
    let planned = |id: &str| {
        let resolved = plan.steps.iter().flat_map(|step| &step.resolves);
        resolved.chain(plan.left_out.iter().map(|it| &it.finding)).any(|it| it == id)
    };
    let is_left = diagnosis
        .findings()
        .any(|finding| finding.remedy.is_some() && planned(&finding.id.to_string()));
    if request.nodes.is_some() && is_left { exit.or(Exit::Findings) } else { exit }
}
