//! `endpoint test`.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use common::bpf::Endpoint;
use common::bpf::endpoint::{NodeProof, Stage, discover};
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
    let candidate = found.candidates.iter().find(|it| it.endpoint == tested);
    let is_rejected = candidate.is_some_and(|it| it.rejected.is_some());
    let exit = exit_of(&proofs, &here, is_rejected);
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

/// A node from which it cannot be used is a finding, and so is an endpoint that cannot be right. This machine may be in
/// another network, where another host has that address: that counts only when the cluster's authority vouched for it. Who
/// answers the nodes is then not known, unless they proved it themselves.
fn exit_of(proofs: &BTreeMap<String, NodeProof>, here: &NodeProof, is_rejected: bool) -> Exit {
    let is_proven = |it: &NodeProof| matches!(it, NodeProof::Proven { .. });
    let from_here = match here {
        NodeProof::Failed { stage: Stage::Answer, .. } => Exit::Findings,
        NodeProof::Failed { .. } if !proofs.values().all(is_proven) => Exit::Incomplete,
        _ => Exit::Good,
    };
    let start = if is_rejected { Exit::Findings } else { from_here };
    proofs.values().fold(start, |exit, proof| {
        exit.or(match proof {
            NodeProof::Proven { .. } | NodeProof::ConnectionOnly { .. } => Exit::Good,
            NodeProof::Failed { .. } => Exit::Findings,
            NodeProof::Unknown(_) => Exit::Incomplete,
        })
    })
}

#[cfg(test)]
mod tests {
    use common::snapshot::{Gap, GapReason};

    use super::*;

    fn failed(stage: Stage) -> NodeProof {
        NodeProof::Failed { stage, says: String::new() }
    }

    fn of(node: NodeProof, here: &NodeProof) -> Exit {
        let proofs = BTreeMap::from([
            ("node1".to_owned(), node),
            ("node2".to_owned(), NodeProof::Proven { version: None }),
        ]);
        exit_of(&proofs, here, false)
    }

    #[test]
    fn nodes_decide_and_this_machine_only_where_it_is_sure() {
        let proven = || NodeProof::Proven { version: None };
        let connection = || NodeProof::ConnectionOnly { why: String::new() };
        let unknown = NodeProof::Unknown(Gap::new("x", GapReason::Unreachable, ""));
        assert_eq!(of(connection(), &proven()), Exit::Good);
        assert_eq!(of(proven(), &unknown), Exit::Good);
        assert_eq!(of(unknown.clone(), &proven()), Exit::Incomplete);
        assert_eq!(of(failed(Stage::Connection), &proven()), Exit::Findings);
        assert_eq!(of(proven(), &failed(Stage::Certificate)), Exit::Good, "another network");
        assert_eq!(of(connection(), &failed(Stage::Certificate)), Exit::Incomplete);
        assert_eq!(of(proven(), &failed(Stage::Answer)), Exit::Findings, "another cluster");
        assert_eq!(exit_of(&BTreeMap::new(), &proven(), true), Exit::Findings);
    }
}
