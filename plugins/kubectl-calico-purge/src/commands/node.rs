//! `node`: removes what is stale on nodes, by the remedies that `calico-doctor fix` has as well, and lets calico-node
//! install itself anew.

use std::collections::BTreeSet;

use clap::Args;
use common::cli::{Exit, Failure, Kind};
use common::cluster::Cluster;
use common::collect::Which;
use common::findings::Code;
use common::verbs::node_flags::{PodFlags, nodes_named};
use common::verbs::repair::{self, ChangeFlags, Request};
use common::verbs::role::RoleFlags;
use common::verbs::{Session, look, rbac};

#[derive(Args, Clone, Debug)]
pub(crate) struct NodeFlags {
    /// The nodes
    #[arg(value_name = "NAME", required_unless_present_any = ["selector", "print_rbac"])]
    names: Vec<String>,
    /// Nodes with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
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
    if flags.role.print(session, "node", rbac::fix)? {
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    let nodes = look::interruptible(nodes(&cluster, flags)).await??;
    let hosts = Which::Listed(nodes.clone());
    let only = stale();
    let request = Request {
        only: &only,
        nodes: Some(&nodes),
        hosts: Some(&hosts),
        change: flags.change,
        pods: &flags.pods,
        verb: "node",
    };
    repair::run(session, &cluster, &request).await
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
