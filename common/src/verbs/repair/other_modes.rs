//! What another mode or backend of Calico left on nodes: looked for by a scan of the host, and removed by steps of the same plan.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt};

use crate::calico::FelixConfiguration;
use crate::cli::{Exit, Failure, Kind};
use crate::cluster::Cluster;
use crate::collect::felix_configurations;
use crate::execute::{journal, new_plan_id};
use crate::node;
use crate::node::pod::{NodePods, Op};
use crate::plan::{LeftOut, Plan};
use crate::report::NodeLeftovers;
use crate::residue::{
    FelixSettings, Host, ResidueFacts, ResidueId, Scope, Surroundings, lives_on, steps,
    take_inventory,
};
use crate::snapshot::{GapReason, Known, Snapshot};

use super::{DryRun, Request};
use crate::verbs::Session;
use crate::verbs::change;
use crate::verbs::look::{self, Look};
use crate::verbs::node_flags::close;

/// That other modes are looked for, and how.
#[derive(Clone, Copy, Debug)]
pub struct OtherModes<'a> {
    /// Directory on this machine in which what a node has is saved first; beside the journals when none is given.
    pub backup: Option<&'a str>,
}

/// What a scan begins with where a host has not the program that would show something.
const NO_PROGRAM: &str = "this host has no ";

/// What was seen of other modes.
#[derive(Debug, Default)]
pub(super) struct Seen {
    nodes: Vec<NodeLeftovers>,
}

/// Felix's settings, when they are needed. Nothing is changed by who may not see them.
///
/// # Errors
/// When the API server forbids to read them, and something was to be changed.
pub(super) async fn settings(
    session: &Session,
    cluster: &Cluster,
    request: &Request<'_>,
    look: &Look,
) -> Result<Known<Vec<FelixConfiguration>>, Failure> {
    if request.other_modes.is_none() {
        return Ok(Known::Absent);
    }
    let asking = felix_configurations(cluster, &look.snapshot);
    let stored = look::interruptible(asking).await?;
    match stored.gap().filter(|gap| gap.why == GapReason::Forbidden) {
        Some(gap) if request.change.dry_run == DryRun::None => {
            let what = format!(
                "nothing was changed, because you may not see what must be known before: {}",
                gap.detail
            );
            Err(Failure::new(Kind::Incomplete, what).hint(format!(
                "ask for the role that {} {} --print-rbac prints",
                session.program, request.verb
            )))
        }
        _ => Ok(stored),
    }
}

impl Seen {
    /// Scans those of `nodes` on which Calico lives, and whose host could be looked at before.
    ///
    /// # Errors
    /// When the user interrupts it.
    pub(super) async fn on(
        session: &Session,
        request: &Request<'_>,
        pods: &NodePods,
        (snapshot, stored): (&Snapshot, &Known<Vec<FelixConfiguration>>),
        nodes: &BTreeSet<String>,
    ) -> Result<Self, Failure> {
        if request.other_modes.is_none() {
            return Ok(Self::default());
        }
        let is_judged = |name: &&String| {
            snapshot.host(name).known().is_some() && lives_on(snapshot, name) == Known::Known(true)
        };
        let scans = nodes.iter().filter(is_judged).map(|name| {
            let felix = FelixSettings::of(snapshot, stored, name);
            one(session, pods, snapshot, felix, name)
        });
        let at_once = pods.options().max_parallel.max(1);
        let scans = stream::iter(scans).buffered(at_once).collect();
        let nodes = look::interruptible(scans).await?;
        session.printer.clear();
        Ok(Self { nodes })
    }

    /// Adds the removal of what was found, after everything that the plan does, and what stays, with the reason.
    ///
    /// # Errors
    /// When this machine has no place for what is saved.
    pub(super) fn add_to(&self, plan: &mut Plan, request: &Request<'_>) -> Result<(), Failure> {
        let Some(modes) = request.other_modes else { return Ok(()) };
        let backup = match modes.backup {
            Some(directory) => directory.to_owned(),
            None => beside_the_journals(&plan.id.0)?,
        };
        for node in &self.nodes {
            let host = Host {
                name: &node.node,
                // While Calico lives, what is at the Node object is in use.
                object: None,
                cluster_uid: &plan.target.cluster_uid,
                backup: Some(&backup),
            };
            let mut added = steps(&node.found, &host);
            if let (Some(first), Some(last)) = (added.first_mut(), plan.steps.last()) {
                first.after = vec![last.id.clone()];
            }
            plan.steps.append(&mut added);
            plan.left_out.extend(left_out(node));
        }
        plan.left_out.sort_by(|a, b| (&a.finding, &a.why).cmp(&(&b.finding, &b.why)));
        plan.left_out.dedup();
        Ok(())
    }

    /// What is there, and what could not be seen, as an exit code.
    pub(super) fn exit(&self) -> Exit {
        self.nodes.iter().fold(Exit::Good, |exit, node| {
            let left = if node.found.residues.is_empty() { Exit::Good } else { Exit::Findings };
            // Where a host lacks a program, nobody can look; it is said, and holds up nothing.
            let is_seen = node.error.is_none()
                && node.found.gaps.iter().all(|gap| gap.detail.starts_with(NO_PROGRAM));
            exit.or(left).or(if is_seen { Exit::Good } else { Exit::Incomplete })
        })
    }

    /// What is left, one line each.
    fn lines(&self) -> Vec<String> {
        let of = |node: &NodeLeftovers| {
            let name = node.node.clone();
            let error = node.error.iter().map(|why| format!("could not be scanned: {why}"));
            let left = node.found.residues.iter().map(|it| format!("left: {}", it.what));
            let lines: Vec<String> = error.chain(left).collect();
            lines.into_iter().map(move |line| format!("{name}: {line}"))
        };
        self.nodes.iter().flat_map(of).collect()
    }
}

/// Whether the plan removes anything that another mode left.
fn removes_any(plan: &Plan) -> bool {
    let ids = plan.steps.iter().flat_map(|step| &step.resolves);
    ids.into_iter().any(|id| ResidueId(id.clone()).kind().is_some())
}

/// Scans again, where the plan removed something: what is still there decides the exit code, and is said.
///
/// # Errors
/// When the user interrupts it.
pub(super) async fn again(
    session: &Session,
    cluster: &Cluster,
    request: &Request<'_>,
    look: &Look,
    plan: &Plan,
) -> Result<Exit, Failure> {
    if request.other_modes.is_none() || !removes_any(plan) {
        return Ok(Exit::Good);
    }
    let stored = settings(session, cluster, request, look).await?;
    let nodes = plan.steps.iter().filter_map(|step| step.node.clone()).collect();
    let pods = request.pods.open(session, cluster, new_plan_id(), Op::Inspect, request.verb).await;
    let seen = Seen::on(session, request, &pods, (&look.snapshot, &stored), &nodes).await;
    close(session, &pods).await;
    let seen = seen?;
    for line in seen.lines() {
        session.printer.talk(&crate::report::escape(&line));
    }
    Ok(seen.exit())
}

async fn one(
    session: &Session,
    pods: &NodePods,
    snapshot: &Snapshot,
    felix: FelixSettings,
    name: &str,
) -> NodeLeftovers {
    session.printer.live(&format!("  scanning {name}"));
    let scanned = async { node::scan(&pods.on(name).await?).await };
    let body = match scanned.await {
        Ok(body) => body,
        Err(error) => return NodeLeftovers::unseen(name, Scope::OtherMode, error.to_string()),
    };
    let facts = ResidueFacts::from_scan(name, &body);
    let around = Surroundings::of(snapshot, name, Scope::OtherMode, &[]);
    let around = around.told_by(&felix, snapshot, &facts);
    NodeLeftovers::new(name, Scope::OtherMode, take_inventory(&facts, &around))
}

/// What is not removed, and why.
fn left_out(node: &NodeLeftovers) -> Vec<LeftOut> {
    let entry = |what: String, why: &str| LeftOut {
        finding: format!("{what} on {}", node.node),
        why: why.to_owned(),
    };
    let stays = node.not_removable.iter().map(|(id, why)| entry(id.clone(), why));
    let undecided = node.found.undecided.iter().map(|it| entry(it.id.to_string(), &it.why));
    let unseen = node.found.gaps.iter().map(|gap| entry(gap.what.clone(), &gap.detail));
    let error = node.error.iter().map(|why| entry("what another mode left".to_owned(), why));
    stays.chain(undecided).chain(unseen).chain(error).collect()
}

fn beside_the_journals(run: &str) -> Result<String, Failure> {
    let runs = journal::directory().map_err(change::internal)?;
    let beside = runs.parent().unwrap_or(&runs).join("backups").join(run);
    Ok(beside.to_string_lossy().into_owned())
}
