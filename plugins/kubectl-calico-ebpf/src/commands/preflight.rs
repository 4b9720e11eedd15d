//! `preflight`: whether a cluster and its nodes have what the eBPF data plane needs. Changes nothing.

use std::collections::BTreeSet;

use clap::Args;
use common::bpf::requirements::{self, Grade, Judgement, Subject};
use common::cli::{Exit, FailOn, Failure, OutputFormat};
use common::cluster::Cluster;
use common::collect::Which;
use common::collect::bpf::load_test;
use common::execute::new_plan_id;
use common::node::pod::Op;
use common::report::{PreflightReport, json, preflight, yaml};
use common::verbs::node_flags::{PodFlags, announce, close, nodes_named};
use common::verbs::role::RoleFlags;
use common::verbs::{Session, look};

use super::observe;
use crate::roles;

#[derive(Args, Clone, Debug)]
pub(crate) struct PreflightFlags {
    /// Judge these nodes only (can be repeated)
    #[arg(long = "nodes", visible_alias = "node", value_name = "NODE", value_delimiter = ',')]
    nodes: Vec<String>,
    /// Judge nodes with these labels only
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Load and attach a program that does nothing on each node, in a network namespace of its own; makes a pod there
    #[arg(long)]
    load_test: bool,
    /// From which severity on the exit code says so
    #[arg(long, value_enum, default_value_t = FailOn::Error, value_name = "SEVERITY")]
    fail_on: FailOn,
    #[command(flatten)]
    pods: PodFlags,
    #[command(flatten)]
    role: RoleFlags,
}

pub(crate) async fn run(session: &Session, flags: &PreflightFlags) -> Result<Exit, Failure> {
    let (name, rules): (_, fn() -> _) = if flags.load_test {
        ("preflight-load-test", roles::load_test)
    } else {
        ("preflight", roles::preflight)
    };
    if flags.role.print(session, name, rules)? {
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    let which = nodes_named(&cluster, &flags.nodes, flags.selector.as_deref());
    let which = look::interruptible(which).await??;
    let snapshot = observe::snapshot(session, &cluster).await?;
    let nodes = observe::chosen(&snapshot, &which);
    let situation = observe::situation(session, &cluster, &snapshot, &nodes).await?;
    let mut judgements = requirements::judge(&situation);
    if flags.load_test {
        judgements.extend(loaded(session, &cluster, flags, &nodes).await?);
    }
    if let Which::Listed(names) = &which {
        judgements = requirements::limited_to(judgements, names);
    }
    let exit = exit_of(&judgements, flags.fail_on);
    let report = PreflightReport::new(&situation, &judgements, &nodes, exit.word());
    session.printer.data(&match session.format {
        OutputFormat::Json => json(&report),
        OutputFormat::Yaml => yaml(&report),
        OutputFormat::Text => preflight(&report, &session.text_options()),
    })?;
    Ok(exit)
}

/// What the nodes' kernels say to a program, by pods that are deleted before this ends.
async fn loaded(
    session: &Session,
    cluster: &Cluster,
    flags: &PreflightFlags,
    nodes: &BTreeSet<String>,
) -> Result<Vec<Judgement>, Failure> {
    let pods = flags.pods.open(session, cluster, new_plan_id(), Op::Inspect, "preflight").await;
    announce(session, &pods, &Which::Listed(nodes.clone()));
    let progress = observe::progress(session);
    let tested = look::interruptible(Box::pin(load_test(&pods, nodes, &progress))).await;
    close(session, &pods).await;
    let judged = tested?
        .into_iter()
        .map(|(name, loaded)| requirements::judge_load(Subject::Node(name), &loaded));
    Ok(judged.collect())
}

/// Blockers are findings; what must be known and is not makes the whole incomplete.
fn exit_of(judgements: &[Judgement], fail_on: FailOn) -> Exit {
    judgements.iter().fold(Exit::Good, |exit, it| {
        exit.or(match it.grade {
            Grade::Blocker => Exit::Findings,
            Grade::Warning if fail_on == FailOn::Warning => Exit::Warnings,
            Grade::Unknown(_) if it.is_missing() => Exit::Incomplete,
            _ => Exit::Good,
        })
    })
}
