//! `sandboxes`: stops and removes the sandboxes of a node whose pods no longer exist, and nothing else.

use std::collections::BTreeSet;

use clap::Args;
use common::cli::{Exit, Failure};
use common::collect::Which;
use common::findings::Code;
use common::verbs::node_flags::{PodFlags, nodes_named};
use common::verbs::repair::{self, ChangeFlags, Request, Stuck};
use common::verbs::role::RoleFlags;
use common::verbs::{Session, look};

use crate::roles;

/// The check that names orphaned sandboxes.
const ORPHANED: [Code; 1] = [Code("CAL-POD-003")];

#[derive(Args, Clone, Debug)]
pub(crate) struct SandboxesFlags {
    /// The node
    #[arg(value_name = "NODE", required_unless_present = "print_rbac")]
    node: Option<String>,
    #[command(flatten)]
    change: ChangeFlags,
    #[command(flatten)]
    pods: PodFlags,
    #[command(flatten)]
    role: RoleFlags,
}

pub(crate) async fn run(session: &Session, flags: &SandboxesFlags) -> Result<Exit, Failure> {
    if flags.role.print(session, "sandboxes", roles::sandboxes)? {
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    let names: Vec<String> = flags.node.iter().cloned().collect();
    look::interruptible(nodes_named(&cluster, &names, None)).await??;
    let nodes: BTreeSet<String> = names.into_iter().collect();
    // Sandboxes are seen from the host only: without looking there, a dry run would have nothing to print.
    let hosts = Which::Listed(nodes.clone());
    let request = Request {
        only: &ORPHANED,
        nodes: Some(&nodes),
        hosts: Some(&hosts),
        change: flags.change,
        pods: &flags.pods,
        verb: "sandboxes",
        nothing: "There are no orphaned sandboxes.",
        stuck: Stuck::Left,
        other_modes: None,
    };
    repair::run(session, &cluster, &request).await
}
