//! `endpoint discover`.

use std::collections::BTreeSet;

use clap::Args;
use common::bpf::Endpoint;
use common::bpf::endpoint::discover;
use common::cli::{Exit, Failure};
use common::collect::Which;
use common::collect::bpf::facts_of_hosts;
use common::execute::new_plan_id;
use common::node::pod::Op;
use common::report::EndpointReport;
use common::verbs::node_flags::{PodFlags, announce, close};
use common::verbs::role::RoleFlags;
use common::verbs::{Session, look};

use super::super::observe;
use super::{from_argument, print};
use crate::roles;

#[derive(Args, Clone, Debug)]
pub(super) struct DiscoverFlags {
    /// Judge this endpoint as well, as the first one
    #[arg(long, value_name = "HOST:PORT", value_parser = from_argument)]
    api_endpoint: Option<Endpoint>,
    /// Ask the nodes' hosts as well where their own programs find the API server; makes a pod on each
    #[arg(long)]
    probe: bool,
    #[command(flatten)]
    pods: PodFlags,
    #[command(flatten)]
    role: RoleFlags,
}

pub(super) async fn run(session: &Session, flags: &DiscoverFlags) -> Result<Exit, Failure> {
    let (name, rules): (_, fn() -> _) = if flags.probe {
        ("endpoint-discover-probe", roles::discover_from_hosts)
    } else {
        ("endpoint-discover", roles::discover)
    };
    if flags.role.print(session, name, rules)? {
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    let snapshot = observe::snapshot(session, &cluster).await?;
    // No calico-node is asked: none could tell where the node's own programs go.
    let mut situation = observe::situation(session, &cluster, &snapshot, &BTreeSet::new()).await?;
    if flags.probe {
        let nodes = observe::chosen(&snapshot, &Which::All);
        let pods =
            flags.pods.open(session, &cluster, new_plan_id(), Op::Inspect, "endpoint discover");
        let pods = pods.await;
        announce(session, &pods, &Which::All);
        let progress = observe::progress(session);
        let told = look::interruptible(Box::pin(facts_of_hosts(&pods, &nodes, &progress))).await;
        close(session, &pods).await;
        situation.nodes = told?;
    }
    let server = &cluster.target_info().server;
    let mut found = discover(&situation, flags.api_endpoint.as_ref(), server);
    found.gaps.extend(situation.nodes.values().filter_map(|it| it.gap().cloned()));
    let exit = match (found.best(), found.gaps.is_empty()) {
        (Some(_), _) => Exit::Good,
        (None, true) => Exit::Findings,
        (None, false) => Exit::Incomplete,
    };
    print(session, EndpointReport::new(&snapshot, &found), exit)
}
