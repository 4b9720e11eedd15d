//! `node`: removes what is stale on nodes, by the remedies that `calico-doctor fix` has as well, and lets calico-node
//! install itself anew.

use std::collections::BTreeSet;

use clap::Args;
use common::cli::{Exit, Failure, Kind};
use common::cluster::Cluster;
use common::collect::Which;
use common::findings::Code;
use common::verbs::node_flags::{PodFlags, nodes_named};
use common::verbs::repair::{self, ChangeFlags, DryRun, OtherModes, Request, Stuck};
use common::verbs::role::RoleFlags;
use common::verbs::{Session, look};

use super::all_state::{self, AllStateFlags};
use crate::roles;

#[derive(Args, Clone, Debug)]
pub(crate) struct NodeFlags {
    /// The nodes
    #[arg(value_name = "NAME", required_unless_present_any = ["selector", "print_rbac"])]
    names: Vec<String>,
    /// Nodes with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Stop and remove the sandboxes of pods that hang in Terminating also where the cause cannot be repaired from here, or is
    /// repaired and they still hang; their addresses stay allocated
    #[arg(long)]
    free_stuck: bool,
    /// With --dry-run: look at the hosts as well, through privileged pods that are deleted when they were used
    #[arg(long, requires = "dry_run")]
    probe: bool,
    /// Directory on this machine in which what a node has is saved before it is removed
    #[arg(long, value_name = "DIR")]
    backup: Option<String>,
    #[command(flatten)]
    all_state: AllStateFlags,
    #[command(flatten)]
    change: ChangeFlags,
    #[command(flatten)]
    pods: PodFlags,
    #[command(flatten)]
    role: RoleFlags,
}

/// All that may be stale on a node. Effects are named beside their causes: where a cause cannot be repaired from here, they
/// are treated by themselves.
fn stale() -> Vec<Code> {
    common::checks::ALL.iter().map(|check| check.code).collect()
}

pub(crate) async fn run(session: &Session, flags: &NodeFlags) -> Result<Exit, Failure> {
    let everything = flags.all_state.is_wanted();
    let (name, rules): (_, fn() -> _) =
        if everything { ("node-all-state", roles::all_state) } else { ("node", roles::node) };
    if flags.role.print(session, name, rules)? {
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    let nodes = look::interruptible(nodes(&cluster, flags)).await??;
    if everything {
        let request = all_state::Request {
            nodes: &nodes,
            flags: &flags.all_state,
            backup: flags.backup.as_deref(),
            change: flags.change,
            pods: &flags.pods,
        };
        return Box::pin(all_state::run(session, &cluster, &request)).await;
    }
    let hosts = Which::Listed(nodes.clone());
    // A dry run makes no pod unless it is told to.
    let looks_at_hosts = flags.probe || flags.change.dry_run == DryRun::None;
    let only = stale();
    let command = freeing(session, flags);
    let request = Request {
        only: &only,
        nodes: Some(&nodes),
        hosts: looks_at_hosts.then_some(&hosts),
        change: flags.change,
        pods: &flags.pods,
        verb: "node",
        nothing: if looks_at_hosts {
            "There is nothing stale."
        } else {
            "Nothing stale is to be seen without looking at the hosts; what another mode or backend of Calico left is looked for \
             there, too (--probe does)."
        },
        stuck: if flags.free_stuck { Stuck::Freed } else { Stuck::Told(&command) },
        other_modes: Some(OtherModes { backup: flags.backup.as_deref() }),
    };
    repair::run(session, &cluster, &request).await
}

/// The command that frees what still hangs in the end.
fn freeing(session: &Session, flags: &NodeFlags) -> String {
    let mut words = vec![session.program.clone(), "node".to_owned()];
    words.extend(flags.names.iter().cloned());
    words.extend(flags.selector.iter().map(|it| format!("-l '{it}'")));
    words.push("--free-stuck".to_owned());
    words.join(" ")
}

/// The nodes that are meant, by name.
async fn nodes(cluster: &Cluster, flags: &NodeFlags) -> Result<BTreeSet<String>, Failure> {
    match nodes_named(cluster, &flags.names, flags.selector.as_deref()).await? {
        Which::Listed(nodes) => Ok(nodes),
        Which::All | Which::Unreachable => {
            Err(Failure::new(Kind::Usage, "which node?").hint("name it: node NAME"))
        }
    }
}
