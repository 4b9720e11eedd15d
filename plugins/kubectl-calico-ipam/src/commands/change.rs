//! What verbs that change something do alike: look at everything, refuse where that would be wrong, show the plan, carry it out.

use clap::{Args, ValueEnum};
use common::cli::{Exit, Failure, Kind, OutputFormat};
use common::cluster::Cluster;
use common::collect::{Addresses, blocks_as_stored};
use common::execute::new_plan_id;
use common::ipam::leak::Judge;
use common::ipam::{Allocation, Holder, Ledger, Population};
use common::node::pod::Op;
use common::plan::ipam::{IpamApi, IpamOrder, obstacle};
use common::plan::{LeftOut, Plan, RunResult};
use common::report::outcome as outcome_text;
use common::report::v1::FixReport;
use common::snapshot::{Gap, Snapshot};
use common::verbs::node_flags::PodFlags;
use common::verbs::repair::{self, ChangeFlags, DryRun};
use common::verbs::role::RoleFlags;
use common::verbs::undo::exit_of;
use common::verbs::{Session, alone, change, look};

use super::observe;

/// What is not done unless it is wished for expressly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Force {
    /// A large part of a pool or of a node
    Many,
    /// Addresses that somebody uses, or may come back to
    InUse,
}

/// Flags of every verb that changes something.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunFlags {
    #[command(flatten)]
    pub(crate) change: ChangeFlags,
    /// Do what would be refused: a large part of a pool or node, or addresses in use
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    pub(crate) force: Vec<Force>,
    #[command(flatten)]
    pub(crate) role: RoleFlags,
}

/// All that is looked at before something is changed.
///
/// # Errors
/// When something cannot be read that must be known before, or others are at work.
pub(crate) async fn see(
    session: &Session,
    cluster: &Cluster,
    verb: &str,
) -> Result<Snapshot, Failure> {
    look::interruptible(alone::must_be(session, cluster)).await??;
    let snapshot = observe::at(session, cluster, Addresses::All, true).await?;
    look::demand_all(session, &snapshot, &format!("{} {verb}", session.program))?;
    match obstacle(&snapshot) {
        Ok(None) => Ok(snapshot),
        Ok(Some(why)) => {
            Err(Failure::new(Kind::Refused, format!("nothing was changed, because {why}")))
        }
        Err(gap) => Err(unseen(&gap)),
    }
}

/// Nothing is changed where something was not seen.
pub(crate) fn unseen(gap: &Gap) -> Failure {
    let what = format!(
        "nothing was changed, because not all was seen that must be known before: {}: {}",
        gap.what, gap.detail
    );
    Failure::new(Kind::Incomplete, what)
}

/// A judge of addresses.
///
/// # Errors
/// When not all pods or nodes were read: everything else would look leaked.
pub(crate) fn judge<'a>(
    snapshot: &Snapshot,
    population: &'a Population<'a>,
) -> Result<Judge<'a>, Failure> {
    Judge::new(snapshot, population).map_err(|gap| unseen(&gap))
}

/// What is to go, to be made into a plan.
pub(crate) struct Wanted<'a> {
    pub(crate) addresses: Vec<(&'a common::ipam::Block<'a>, Vec<common::plan::ipam::Going<'a>>)>,
    pub(crate) handles: Vec<&'a common::calico::ipam::IpamHandle>,
    pub(crate) left_out: Vec<LeftOut>,
}

/// The plan for it.
///
/// # Errors
/// When a block cannot be read.
pub(crate) async fn plan(
    session: &Session,
    cluster: &Cluster,
    (snapshot, ledger): (&Snapshot, &Ledger<'_>),
    verb: &str,
    wanted: Wanted<'_>,
) -> Result<Plan, Failure> {
    let api = IpamApi::of(snapshot);
    let names = wanted.addresses.iter().map(|(block, _)| block.name().to_owned());
    let names: Vec<String> = names.collect();
    let stored = look::interruptible(blocks_as_stored(cluster, &api, names)).await??;
    let settings = ledger.settings.known();
    let order = IpamOrder {
        id: new_plan_id(),
        made_by: &session.made_by_verb(verb),
        target: repair::target_of(cluster, snapshot).await?,
        taken: snapshot.taken,
        api,
        rest: settings.and_then(|it| it.ip_cooldown_seconds).unwrap_or_default() > 0,
        stored: &stored,
    };
    Ok(order.plan(wanted.addresses, &wanted.handles, wanted.left_out))
}

/// Shows the plan, asks, carries it out, and says how it ended.
///
/// # Errors
/// When a right is missing, another run goes on, or the journal cannot be kept.
pub(crate) async fn carry_out(
    session: &Session,
    cluster: &Cluster,
    plan: &Plan,
    flags: &RunFlags,
    verb: &str,
) -> Result<Exit, Failure> {
    if plan.steps.is_empty() {
        let mut report = FixReport::new(plan, Exit::Good.word());
        report.note = Some("there is nothing to do.\n".to_owned());
        repair::print(session, &report)?;
        return Ok(Exit::Good);
    }
    if flags.change.dry_run != DryRun::None {
        return repair::rehearse_or_show(session, cluster, plan, flags.change.dry_run).await;
    }
    // No host is worked on: no pod is ever made.
    let id = plan.id.clone();
    let pods = PodFlags::default().open(session, cluster, id, Op::Repair, verb).await;
    let applying = change::apply(session, cluster, &pods, plan, flags.change.yes);
    let Some(outcome) = Box::pin(applying).await? else {
        if session.format != OutputFormat::Text {
            repair::print(session, &FixReport::new(plan, Exit::Declined.word()))?;
        }
        return Ok(Exit::Declined);
    };
    ended(session, plan, outcome)
}

/// How a run ended, and what can be done about it.
///
/// # Errors
/// When stdout cannot be written, or the journal cannot be read.
pub(crate) fn ended(
    session: &Session,
    plan: &Plan,
    outcome: common::plan::Outcome,
) -> Result<Exit, Failure> {
    let exit = exit_of(outcome.result);
    let mut report = FixReport::new(plan, exit.word());
    report.undo = change::undo_command(session, plan)?;
    let goes_on = outcome.result != RunResult::Done;
    let next = format!("go on with it: {} resume {}", session.program, plan.id);
    report.note = goes_on.then_some(next);
    if session.format != OutputFormat::Text {
        report.outcome = Some(outcome);
        repair::print(session, &report)?;
        return Ok(exit);
    }
    session.printer.data(&outcome_text(&outcome, &session.text_options()))?;
    if let Some(note) = &report.note {
        session.printer.data(&format!("{note}\n"))?;
    }
    if let Some(command) = &report.undo {
        session.printer.data(&format!("undo: {command}\n"))?;
    }
    Ok(exit)
}

/// Who would show that an address is used; none for owners that nobody can be asked about.
pub(crate) fn holder(it: &Allocation<'_>, population: &Population<'_>) -> Option<Holder> {
    let node_exists = it.node().is_none_or(|node| population.nodes.contains_key(node));
    Holder::of(it, node_exists)
}
