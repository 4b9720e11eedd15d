//! What must hold before anything is changed: the requirements of eBPF, and that every node reaches the API server by the
//! endpoint. Each can be overridden by its name, and no other.

use std::collections::BTreeMap;

use common::bpf::endpoint::NodeProof;
use common::bpf::requirements::{self, Grade, Judgement, Subject};
use common::bpf::{Endpoint, Situation};
use common::cli::{Failure, Kind};
use common::cluster::Cluster;
use common::collect::{Quiet, bpf};
use common::node::pod::NodePods;
use common::report::escape;
use common::verbs::Session;
use common::verbs::look;

/// The name by which the proof of the endpoint is overridden.
const ENDPOINT: &str = "endpoint";
/// Reasons that are told; more are counted.
const TOLD: usize = 8;

/// A requirement's name, as `--force` takes it.
pub(super) fn name(word: &str) -> Result<String, String> {
    let is_known = word == ENDPOINT || requirements::ALL.iter().any(|it| it.id == word);
    if is_known {
        return Ok(word.to_owned());
    }
    Err(format!("{word:?} is no requirement; kubectl calico-ebpf preflight -v lists them"))
}

/// Refuses where a requirement is not met, or an essential one could not be judged.
pub(super) fn requirements(
    session: &Session,
    situation: &Situation<'_>,
    forced: &[String],
) -> Result<(), Failure> {
    let all = requirements::judge(situation);
    let stands = |it: &&Judgement| match &it.grade {
        Grade::Blocker => true,
        Grade::Unknown(_) => it.requirement.essential,
        _ => false,
    };
    let (overridden, refused): (Vec<_>, Vec<_>) =
        all.iter().filter(stands).partition(|it| forced.iter().any(|id| id == it.requirement.id));
    for it in overridden {
        session.printer.talk(&escape(&format!("overridden by --force: {}", line(it))));
    }
    let Some(first) = refused.first() else { return Ok(()) };
    let told: Vec<String> = refused.iter().take(TOLD).map(|it| line(it)).collect();
    let more = match refused.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let what = format!("nothing was changed, because {}{more}", told.join("; "));
    let mut failure = Failure::new(Kind::Refused, what);
    if !first.remedy.is_empty() {
        failure = failure.hint(first.remedy.clone());
    }
    Err(failure.hint(format!(
        "see all requirements: {} preflight; override one by its name: --force={}",
        session.program, first.requirement.id
    )))
}

fn line(it: &Judgement) -> String {
    let on = match &it.subject {
        Subject::Cluster => String::new(),
        Subject::Node(node) => format!(" on {node}"),
    };
    format!("{}{on}: {}", it.requirement.id, it.reason)
}

/// Refuses an endpoint that a node does not reach, that another one answers at than the cluster's API server, or that nobody
/// could try. Who answers is told from the nodes' hosts, through `pods`; without them a connection is all that is asked for.
pub(super) async fn endpoint(
    session: &Session,
    cluster: &Cluster,
    (situation, endpoint): (&Situation<'_>, &Endpoint),
    forced: &[String],
    pods: Option<&NodePods>,
) -> Result<(), Failure> {
    let nodes = situation.nodes.keys().cloned().collect();
    let authority = bpf::authority(situation);
    let asking = Box::pin(bpf::prove(
        cluster,
        situation.snapshot,
        (endpoint, authority),
        &nodes,
        pods,
        &Quiet,
    ));
    let proofs = look::interruptible(asking).await?;
    let bad = complaints(&proofs);
    if bad.is_empty() {
        return Ok(());
    }
    let what = format!("{endpoint} is not proven from every node: {}", bad.join("; "));
    if forced.iter().any(|it| it == ENDPOINT) {
        session.printer.talk(&escape(&format!("overridden by --force: {what}")));
        return Ok(());
    }
    Err(Failure::new(Kind::Refused, format!("nothing was changed, because {what}"))
        .hint(format!("see what the cluster knows: {} endpoint discover", session.program))
        .hint("name another one: --api-endpoint HOST:PORT"))
}

fn complaints(proofs: &BTreeMap<String, NodeProof>) -> Vec<String> {
    let bad = proofs.iter().filter(|(_, proof)| !proof.is_accepted());
    let mut all: Vec<String> = bad
        .map(|(node, proof)| match proof {
            NodeProof::Failed { says, .. } => format!("{node}: {says}"),
            NodeProof::Unknown(gap) => format!("{node}: {}", gap.detail),
            NodeProof::Proven { .. } | NodeProof::ConnectionOnly { .. } => node.clone(),
        })
        .collect();
    let more = all.len().saturating_sub(TOLD);
    all.truncate(TOLD);
    if more > 0 {
        all.push(format!("and {more} more nodes"));
    }
    all
}
