//! `endpoint discover`.

use std::collections::BTreeSet;

use clap::Args;
use common::bpf::Endpoint;
use common::bpf::endpoint::discover;
use common::cli::{Exit, Failure};
use common::report::EndpointReport;
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
    #[command(flatten)]
    role: RoleFlags,
}

pub(super) async fn run(session: &Session, flags: &DiscoverFlags) -> Result<Exit, Failure> {
    if flags.role.print(session, "endpoint-discover", roles::discover)? {
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    let snapshot = observe::snapshot(session, &cluster).await?;
    // No node is asked: through calico-node, none could tell where its own programs go.
    let situation = observe::situation(session, &cluster, &snapshot, &BTreeSet::new()).await?;
    let server = &cluster.target_info().server;
    let found = discover(&situation, flags.api_endpoint.as_ref(), server);
    let exit = match (found.best(), found.gaps.is_empty()) {
        (Some(_), _) => Exit::Good,
        (None, true) => Exit::Findings,
        (None, false) => Exit::Incomplete,
    };
    print(session, EndpointReport::new(&snapshot, &found), exit)
}
