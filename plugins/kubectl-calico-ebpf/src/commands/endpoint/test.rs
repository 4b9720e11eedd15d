//! `endpoint test`.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use common::bpf::Endpoint;
use common::bpf::endpoint::{NodeProof, discover};
use common::cli::{Exit, Failure, Kind};
use common::cluster::Cluster;
use common::collect::Which;
use common::collect::bpf::{authority, prove, prove_from_here};
use common::execute::new_plan_id;
use common::node::pod::{NodePods, Op};
use common::report::{EndpointProof, EndpointReport};
use common::verbs::node_flags::{PodFlags, announce, close, nodes_named};
use common::verbs::role::RoleFlags;
use common::verbs::{Session, look};

use super::super::observe;
use super::{from_argument, print};
use crate::roles;

#[derive(Args, Clone, Debug)]
pub(super) struct TestFlags {
    /// The endpoint; the best one that is found when none is given
    #[arg(value_name = "HOST:PORT", value_parser = from_argument)]
    endpoint: Option<Endpoint>,
    /// Test from these nodes only (can be repeated)
    #[arg(long = "nodes", visible_alias = "node", value_name = "NODE", value_delimiter = ',')]
    nodes: Vec<String>,
    /// Test from nodes with these labels only
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Test from the nodes' hosts as well, which can tell who answers; makes a pod on each
    #[arg(long)]
    probe: bool,
    #[command(flatten)]
    pods: PodFlags,
    #[command(flatten)]
    role: RoleFlags,
}

pub(super) async fn run(session: &Session, flags: &TestFlags) -> Result<Exit, Failure> {
    let (name, rules): (_, fn() -> _) = if flags.probe {
        ("endpoint-test-probe", roles::test_from_hosts)
    } else {
        ("endpoint-test", roles::test)
    };
    if flags.role.print(session, name, rules)? {
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    let which = nodes_named(&cluster, &flags.nodes, flags.selector.as_deref());
    let which = look::interruptible(which).await??;
    let snapshot = observe::snapshot(session, &cluster).await?;
    let nodes = observe::chosen(&snapshot, &which);
    let none = BTreeSet::new();
    let situation = observe::situation(session, &cluster, &snapshot, &none).await?;
    let server = &cluster.target_info().server;
    let found = discover(&situation, flags.endpoint.as_ref(), server);
    let best = || found.best().map(|it| it.endpoint.clone());
    let Some(tested) = flags.endpoint.clone().or_else(best) else {
        return Err(Failure::new(Kind::NotFound, "no endpoint that can be used was found")
            .hint(format!("see why: {} endpoint discover", session.program)));
    };
    let what = (&tested, authority(&situation));
    let pods = hosts(session, &cluster, flags, &which).await;
    let progress = observe::progress(session);
    let options = session.connection.options();
    let work = async {
        let proofs = prove(&cluster, &snapshot, what, &nodes, pods.as_ref(), &progress);
        let here = prove_from_here(&options, what, &snapshot.cluster.uid);
        futures::join!(proofs, here)
    };
    let proven = look::interruptible(Box::pin(work)).await;
    if let Some(pods) = &pods {
        close(session, pods).await;
    }
    let (proofs, here) = proven?;
    let exit = exit_of(&proofs, &here);
    let mut report = EndpointReport::new(&snapshot, &found);
    report.endpoint = Some(tested.to_string());
    report.proofs =
        Some(proofs.iter().map(|(name, it)| (name.clone(), EndpointProof::of(it))).collect());
    report.from_here = Some(EndpointProof::of(&here));
    print(session, report, exit)
}

async fn hosts(
    session: &Session,
    cluster: &Cluster,
    flags: &TestFlags,
    which: &Which,
) -> Option<NodePods> {
    if !flags.probe {
        return None;
    }
    let pods = flags.pods.open(session, cluster, new_plan_id(), Op::Inspect, "endpoint test").await;
    announce(session, &pods, which);
    Some(pods)
}

/// A node from which it cannot be used is a finding. This machine counts only when it sees that it is the wrong one: nodes
/// may well reach what it does not.
fn exit_of(proofs: &BTreeMap<String, NodeProof>, here: &NodeProof) -> Exit {
    let wrong = if matches!(here, NodeProof::Failed { .. }) { Exit::Findings } else { Exit::Good };
    proofs.values().fold(wrong, |exit, proof| {
        exit.or(match proof {
            NodeProof::Proven { .. } | NodeProof::ConnectionOnly { .. } => Exit::Good,
            NodeProof::Failed { .. } => Exit::Findings,
            NodeProof::Unknown(_) => Exit::Incomplete,
        })
    })
}
