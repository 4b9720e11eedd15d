//! `leftovers`: what Calico left on nodes where it is not installed; finds it, and removes it.

mod offline;
mod remove;
mod scan;

use clap::Args;
use common::cli::{Exit, Failure, OutputFormat};
use common::execute::new_plan_id;
use common::node::RESIDUES_SCRIPT;
use common::node::pod::Op;
use common::report::{LeftoversReport, NodeLeftovers, json, leftovers, yaml};
use common::verbs::node_flags::{PodFlags, close, nodes_named};
use common::verbs::repair::ChangeFlags;
use common::verbs::role::RoleFlags;
use common::verbs::{Session, look};
use ipnet::IpNet;

use crate::roles;

#[derive(Args, Clone, Debug)]
pub(crate) struct LeftoversFlags {
    /// The nodes; all when none is named
    #[arg(value_name = "NODE", conflicts_with = "scan")]
    names: Vec<String>,
    /// Nodes with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "scan")]
    selector: Option<String>,
    /// Remove what was found, after a plan and a question; only where Calico is not installed
    #[arg(long, conflicts_with = "scan")]
    remove: bool,
    /// Print the script that scans; with --scan, the script that removes what the scan shows
    #[arg(long)]
    print_script: bool,
    /// Read what the script printed on a machine that has left its cluster ("-" is standard input)
    #[arg(long, value_name = "FILE")]
    scan: Option<String>,
    /// A range of addresses that pods had, where the IP pools are gone (can be repeated)
    #[arg(long = "pool", value_name = "CIDR")]
    pools: Vec<IpNet>,
    /// Directory on this machine in which what a node has is saved before it is removed
    #[arg(long, value_name = "DIRECTORY", requires = "remove")]
    backup_dir: Option<String>,
    /// Save nothing before it is removed
    #[arg(long, requires = "remove", conflicts_with = "backup_dir")]
    no_backup: bool,
    #[command(flatten)]
    change: ChangeFlags,
    #[command(flatten)]
    pods: PodFlags,
    #[command(flatten)]
    role: RoleFlags,
}

pub(crate) async fn run(session: &Session, flags: &LeftoversFlags) -> Result<Exit, Failure> {
    let (name, rules): (_, fn() -> _) = if flags.remove {
        ("leftovers-remove", roles::removing_leftovers)
    } else {
        ("leftovers", roles::leftovers)
    };
    if flags.role.print(session, name, rules)? {
        return Ok(Exit::Good);
    }
    if let Some(file) = &flags.scan {
        return offline::run(session, flags, file);
    }
    if flags.print_script {
        session.printer.data(RESIDUES_SCRIPT)?;
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    let which = look::interruptible(nodes_named(&cluster, &flags.names, flags.selector.as_deref()))
        .await??;
    let look = look::at_installation(session, &cluster).await?;
    if flags.remove {
        let verb = format!("{} leftovers --remove", session.program);
        look::demand_all(session, &look.snapshot, &verb)?;
    }
    let targets = scan::targets(&look.snapshot, &which, &flags.pools)?;
    if flags.remove {
        scan::check(session, &cluster, &look.snapshot, &targets)?;
    }
    let op = if flags.remove { Op::Repair } else { Op::Inspect };
    let pods = flags.pods.open(session, &cluster, new_plan_id(), op, "leftovers").await;
    let place = format!("context {}", cluster.target_info().context);
    // Boxed: it holds everything from the first scan to the last one.
    let work = async {
        let found =
            look::interruptible(scan::all(session, &pods, &look.snapshot, &targets)).await?;
        if flags.remove {
            remove::run(session, (&cluster, &pods), flags, &look, &targets, found).await
        } else {
            // What is Calico's on a node is judged by what the cluster says.
            let is_whole = !look::tell_forbidden(session, &look.snapshot);
            let exit = if is_whole { Exit::Good } else { Exit::Incomplete };
            print(session, LeftoversReport::new(place, found, ""), exit)
        }
    };
    let ended = Box::pin(work).await;
    close(session, &pods).await;
    ended
}

/// The exit code of what was found: residues are errors, and what was not seen may be one.
fn exit_of(nodes: &[NodeLeftovers]) -> Exit {
    nodes.iter().fold(Exit::Good, |exit, node| {
        let left = if node.found.residues.is_empty() { Exit::Good } else { Exit::Findings };
        let is_seen = node.found.gaps.is_empty() && node.error.is_none();
        exit.or(left).or(if is_seen { Exit::Good } else { Exit::Incomplete })
    })
}

/// Writes the report in the format that was asked for. `exit` is what the run came to besides what is left.
fn print(session: &Session, mut report: LeftoversReport, exit: Exit) -> Result<Exit, Failure> {
    let exit = exit.or(exit_of(&report.nodes));
    report.verdict = exit.word();
    let document = match session.format {
        OutputFormat::Json => json(&report),
        OutputFormat::Yaml => yaml(&report),
        OutputFormat::Text => leftovers(&report, &session.text_options()),
    };
    session.printer.data(&document)?;
    Ok(exit)
}
