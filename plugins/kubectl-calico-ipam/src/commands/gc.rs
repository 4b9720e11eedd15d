//! `gc`: releases what leaked, and deletes handles that nothing is held under.

use clap::{Args, Subcommand};
use common::cli::{Exit, Failure, Kind};
use common::ipam::{Ledger, Population};
use common::plan::ipam::{Going, Leaks, idle_handles};
use common::snapshot::Snapshot;
use common::verbs::{Session, look, rbac};

use super::change::{self, Force, RunFlags, Wanted};

/// What to collect; all of it when nothing is named.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct GcFlags {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    run: RunFlags,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// Addresses that nobody uses
    Ips(RunFlags),
    /// Handles that no address is held under
    Handles(RunFlags),
    /// Both, of one node
    Node(NodeFlags),
}

#[derive(Args, Clone, Debug)]
struct NodeFlags {
    /// The node; it need not exist any more
    #[arg(value_name = "NODE")]
    node: String,
    #[command(flatten)]
    run: RunFlags,
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
struct Scope<'a> {
    addresses: bool,
    handles: bool,
    node: Option<&'a str>,
    verb: &'static str,
}

pub(crate) async fn run(session: &Session, flags: &GcFlags) -> Result<Exit, Failure> {
    let all = Scope { addresses: true, handles: true, node: None, verb: "gc" };
    let (scope, run) = match &flags.what {
        None => (all, &flags.run),
        Some(What::Ips(run)) => (Scope { handles: false, verb: "gc ips", ..all }, run),
        Some(What::Handles(run)) => (Scope { addresses: false, verb: "gc handles", ..all }, run),
        Some(What::Node(it)) => (Scope { node: Some(&it.node), verb: "gc node", ..all }, &it.run),
    };
    if run.role.print(session, "gc", rbac::change_addresses)? {
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    let snapshot = change::see(session, &cluster, "gc").await?;
    let population = Population::new(&snapshot);
    let ledger = Ledger::new(&snapshot);
    let wanted = wanted(session, (&snapshot, &ledger, &population), scope, &run.force)?;
    let seen = (&snapshot, &ledger);
    let plan = change::plan(session, &cluster, seen, scope.verb, wanted).await?;
    change::carry_out(session, &cluster, &plan, run, scope.verb).await
}

fn wanted<'a>(
    session: &Session,
    (snapshot, ledger, population): (&'a Snapshot, &'a Ledger<'a>, &Population<'_>),
    scope: Scope<'_>,
    force: &[Force],
) -> Result<Wanted<'a>, Failure> {
    let mut wanted = Wanted { addresses: Vec::new(), handles: Vec::new(), left_out: Vec::new() };
    if scope.addresses {
        let judge = change::judge(snapshot, population)?;
        let leaks = Leaks::find(ledger, &judge, scope.node);
        let too_many = leaks.too_many(ledger, population);
        if let Some(first) = too_many.first().filter(|_| !force.contains(&Force::Many)) {
            let what = format!("nothing was changed, because {first}");
            return Err(Failure::new(Kind::Refused, what)
                .hint(format!("see what would go: {} gc --dry-run --force=many", session.program))
                .hint("if all of it is right: --force=many"));
        }
        wanted.left_out = leaks.left_out;
        for (block, here) in leaks.blocks {
            let with = |it| change::holder(&it, population).map(|holder| (it, holder));
            wanted
                .addresses
                .push((block, here.into_iter().filter_map(with).collect::<Vec<Going<'_>>>()));
        }
    }
    if scope.handles {
        wanted.handles = idle_handles(snapshot, scope.node);
    }
    Ok(wanted)
}
