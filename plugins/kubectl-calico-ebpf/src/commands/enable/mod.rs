//! `enable`: eBPF on, and with `--disable-kube-proxy` kube-proxy off, with a proof of Services after each step.

mod guards;
pub(super) mod kube_proxy_off;
pub(super) mod targets;

use std::time::Duration;

use clap::Args;
use common::bpf::endpoint::parse_endpoint;
use common::bpf::{Endpoint, Situation};
use common::cli::{Exit, Failure, Kind};
use common::cluster::Cluster;
use common::collect::Which;
use common::execute::{measure, new_plan_id};
use common::node::pod::Op;
use common::plan::ebpf::{Done, Ground, Objects, Wish, plan_enable};
use common::plan::{Plan, PlanId};
use common::verbs::look::{self, Look};
use common::verbs::node_flags::{announce, close};
use common::verbs::repair::DryRun;
use common::verbs::{Session, alone};

use super::beginning::{self, Beginning, RunFlags, as_it_is};
use super::{endpoints, finish, ground, kube_proxy};
use crate::roles;

/// How to take a cluster to eBPF.
#[derive(Args, Clone, Debug)]
pub(crate) struct EnableFlags {
    /// Stop kube-proxy once eBPF serves every node, proven with a new Service
    #[arg(long)]
    disable_kube_proxy: bool,
    /// Where calico-node is to reach the API server without kube-proxy, instead of what is found
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_endpoint)]
    api_endpoint: Option<Endpoint>,
    /// Leave things as they are when a step fails, instead of taking all of it back
    #[arg(long)]
    no_rollback: bool,
    /// Go on although this requirement is not met, by its name in preflight, or "endpoint" (can be repeated)
    #[arg(long, value_name = "REQUIREMENT", value_parser = guards::name)]
    force: Vec<String>,
    /// Ask this Service as well, before and after each step (can be repeated)
    #[arg(long, value_name = "NAMESPACE/NAME")]
    service: Vec<String>,
    /// Watch for so many seconds that nobody puts kube-proxy back
    #[arg(long, value_name = "SECONDS", default_value_t = 90)]
    watch_kube_proxy: u64,
    /// Seconds that a step may take on each node, beside two minutes for all
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    node_timeout: u64,
    /// Give a step up after so many seconds, however long it may usually take. For tests: a fault is to be seen soon
    #[arg(long, value_name = "SECONDS", hide = true)]
    step_timeout: Option<u64>,
    #[command(flatten)]
    run: RunFlags,
}

/// How long the API server may be away, to start anew, before a step fails. The Lease lasts no longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);

pub(crate) async fn run(session: &Session, flags: &EnableFlags) -> Result<Exit, Failure> {
    if flags.run.role.print(session, "enable", roles::enable)? {
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    if flags.run.change.dry_run == DryRun::None {
        // What another run changes just now would be judged as if it were always so.
        look::interruptible(alone::must_be(session, &cluster)).await??;
    }
    let look = match ground::installation(session, &cluster).await? {
        Ok(look) => look,
        Err(exit) => return Ok(exit),
    };
    let situation = ground::situation(&cluster, &look).await?;
    let objects = ground::objects(&situation)?;
    if flags.disable_kube_proxy {
        kube_proxy::demand_way(session, &situation)?;
    }
    let wish = wish(&cluster, &situation, flags)?;
    guards::requirements(session, &situation, &flags.force)?;
    endpoint_is_proven(session, &cluster, (&situation, &wish.endpoint), flags).await?;
    let plan =
        Box::pin(plan(session, &cluster, (&look, &situation, &objects), flags, &wish)).await?;
    if plan.steps.is_empty() {
        let note = "eBPF is on, as it was wished for.";
        return finish::nothing(session, &cluster, &plan, note).await;
    }
    if flags.run.change.dry_run != DryRun::None {
        return finish::dry_run(session, &cluster, &plan, flags.run.change.dry_run).await;
    }
    beginning::carry_out(session, &cluster, (&plan, "enable"), &flags.run, !flags.no_rollback).await
}

fn wish(
    cluster: &Cluster,
    situation: &Situation<'_>,
    flags: &EnableFlags,
) -> Result<Wish, Failure> {
    Ok(Wish {
        endpoint: endpoints::choose(cluster, situation, flags.api_endpoint.as_ref())?,
        disable_kube_proxy: flags.disable_kube_proxy,
        watch_seconds: flags.watch_kube_proxy,
    })
}

/// Asks the nodes about the endpoint. A dry run makes no pods for that.
async fn endpoint_is_proven(
    session: &Session,
    cluster: &Cluster,
    about: (&Situation<'_>, &Endpoint),
    flags: &EnableFlags,
) -> Result<(), Failure> {
    if flags.run.change.dry_run != DryRun::None {
        return guards::endpoint(session, cluster, about, &flags.force, None).await;
    }
    let pods = flags.run.pods.open(session, cluster, new_plan_id(), Op::Inspect, "enable").await;
    announce(session, &pods, &Which::Listed(about.0.nodes.keys().cloned().collect()));
    let proven = guards::endpoint(session, cluster, about, &flags.force, Some(&pods)).await;
    close(session, &pods).await;
    proven
}

async fn plan(
    session: &Session,
    cluster: &Cluster,
    (look, situation, objects): (&Look, &Situation<'_>, &Objects),
    flags: &EnableFlags,
    wish: &Wish,
) -> Result<Plan, Failure> {
    let made_by = session.made_by_verb("enable");
    let beginning = Beginning::of(cluster, (look, situation, objects), &flags.service).await?;
    let ground = Ground {
        per_node_seconds: flags.node_timeout,
        ..beginning.ground(&made_by, (look, situation, objects), done(situation, objects, wish))
    };
    let mut plan = proven(session, cluster, &ground, wish, flags.run.change.dry_run).await?;
    if let Some(seconds) = flags.step_timeout {
        give_up_after(&mut plan, seconds);
    }
    Ok(plan)
}

/// The plan for what this ground holds, with proofs of what answers now.
async fn proven(
    session: &Session,
    cluster: &Cluster,
    ground: &Ground<'_>,
    wish: &Wish,
    dry_run: DryRun,
) -> Result<Plan, Failure> {
    let plan = plan_enable(ground, wish, Vec::new());
    if plan.steps.is_empty() || dry_run != DryRun::None {
        return Ok(plan);
    }
    let proof = ground.proof;
    session.printer.talk(&format!(
        "Asking Services from every node as things are: a pod on each of {} nodes and a Service, in namespace {}, which are removed again.",
        ground.nodes,
        proof.agent.namespace
    ));
    let asking = Box::pin(measure(cluster, proof, session.plugin));
    let measured = match look::interruptible(asking).await {
        Ok(measured) => measured.map_err(|why| {
            Failure::new(Kind::Refused, format!("nothing was changed: {why}"))
                .hint("see what is wrong: kubectl calico-doctor")
        })?,
        Err(failure) => {
            clear(cluster, session, ground.run, &proof.agent.namespace).await;
            return Err(failure);
        }
    };
    let ground = Ground { proof: &measured.proof, ..ground.clone() };
    Ok(plan_enable(&ground, wish, measured.left_out))
}

/// The way back keeps its time: to give it up early is to leave the cluster in between.
fn give_up_after(plan: &mut Plan, seconds: u64) {
    for verification in plan.steps.iter_mut().flat_map(|step| &mut step.verify) {
        verification.within_seconds = verification.within_seconds.min(seconds);
    }
}

/// A measurement that was given up leaves pods and a Service.
async fn clear(cluster: &Cluster, session: &Session, run: &PlanId, namespace: &str) {
    if let Err(error) = common::execute::clear_proof(cluster, namespace, run, session.plugin).await
    {
        session.printer.talk(&format!("warning: {error}"));
    }
}

fn done(situation: &Situation<'_>, objects: &Objects, wish: &Wish) -> Done {
    let written = objects.endpoint_map.as_ref().is_some_and(|map| {
        let port = wish.endpoint.port.to_string();
        map.text("/data/KUBERNETES_SERVICE_HOST") == Some(wish.endpoint.host.as_str())
            && map.text("/data/KUBERNETES_SERVICE_PORT") == Some(port.as_str())
    });
    let used = ground::on_all(situation, |facts| facts.endpoint.known() == Some(&wish.endpoint));
    Done { endpoint: written && used, ..as_it_is(situation, objects) }
}
