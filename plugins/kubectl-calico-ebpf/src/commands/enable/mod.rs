//! `enable`: eBPF on, and with `--disable-kube-proxy` kube-proxy off, with a proof of Services after each step.

mod guards;
pub(super) mod targets;

use std::time::Duration;

use clap::Args;
use common::bpf::endpoint::parse_endpoint;
use common::bpf::{Endpoint, Situation};
use common::cli::{Exit, Failure, Kind};
use common::cluster::Cluster;
use common::execute::{measure, new_plan_id};
use common::node::pod::Op;
use common::plan::ebpf::{Done, Ground, Objects, Wish, plan_enable};
use common::plan::{Plan, PlanId};
use common::verbs::change::{self, Manner};
use common::verbs::look::{self, Look};
use common::verbs::node_flags::PodFlags;
use common::verbs::repair::{self, ChangeFlags, DryRun};
use common::verbs::role::RoleFlags;
use common::verbs::{Session, alone};

use super::{endpoints, finish, ground};
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
    change: ChangeFlags,
    #[command(flatten)]
    pods: PodFlags,
    #[command(flatten)]
    role: RoleFlags,
}

/// How long the API server may be away, to start anew, before a step fails. The Lease lasts no longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);

pub(crate) async fn run(session: &Session, flags: &EnableFlags) -> Result<Exit, Failure> {
    if flags.role.print(session, "enable", roles::enable)? {
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    if flags.change.dry_run == DryRun::None {
        // What another run changes just now would be judged as if it were always so.
        look::interruptible(alone::must_be(session, &cluster)).await??;
    }
    let look = match ground::installation(session, &cluster).await? {
        Ok(look) => look,
        Err(exit) => return Ok(exit),
    };
    let situation = ground::situation(&cluster, &look).await?;
    let objects = ground::objects(&situation)?;
    let wish = wish(&cluster, &situation, flags)?;
    guards::requirements(session, &situation, &flags.force)?;
    guards::endpoint(session, &cluster, &situation, &wish.endpoint, &flags.force).await?;
    let plan =
        Box::pin(plan(session, &cluster, (&look, &situation, &objects), flags, &wish)).await?;
    if plan.steps.is_empty() {
        return finish::nothing(session, &plan, "eBPF is on, as it was wished for.");
    }
    if flags.change.dry_run != DryRun::None {
        return finish::dry_run(session, &cluster, &plan, flags.change.dry_run).await;
    }
    apply(session, &cluster, flags, &plan).await
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

async fn plan(
    session: &Session,
    cluster: &Cluster,
    (look, situation, objects): (&Look, &Situation<'_>, &Objects),
    flags: &EnableFlags,
    wish: &Wish,
) -> Result<Plan, Failure> {
    let run = new_plan_id();
    let target = repair::target(cluster, look).await?;
    let made_by = session.made_by_verb("enable");
    let proof = targets::proof(situation, objects, &run, &flags.service)?;
    let mut ground = Ground {
        run: &run,
        made_by: &made_by,
        target: &target,
        taken: look.snapshot.taken,
        objects,
        proof: &proof,
        per_node_seconds: flags.node_timeout,
        nodes: situation.nodes.len(),
        done: done(situation, objects, wish),
    };
    let plan = plan_enable(&ground, wish, Vec::new());
    if plan.steps.is_empty() || flags.change.dry_run != DryRun::None {
        return Ok(plan);
    }
    session.printer.talk(&format!(
        "Asking Services from every node as things are: a pod on each of {} nodes and a Service, in namespace {}, which are removed again.",
        situation.nodes.len(),
        proof.agent.namespace
    ));
    let asking = Box::pin(measure(cluster, &proof, session.plugin));
    let measured = match look::interruptible(asking).await {
        Ok(measured) => measured.map_err(|why| {
            Failure::new(Kind::Refused, format!("nothing was changed: {why}"))
                .hint("see what is wrong: kubectl calico-doctor")
        })?,
        Err(failure) => {
            clear(cluster, session, &run, &proof.agent.namespace).await;
            return Err(failure);
        }
    };
    ground.proof = &measured.proof;
    let mut plan = plan_enable(&ground, wish, measured.left_out);
    if let Some(seconds) = flags.step_timeout {
        give_up_after(&mut plan, seconds);
    }
    Ok(plan)
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
    let cleanup = objects.felix.at("/spec/bpfKubeProxyIptablesCleanupEnabled");
    Done {
        endpoint: written && used,
        coexistence: cleanup == Some(&false.into()),
        bpf: ground::is_on(situation),
        kube_proxy: ground::kube_proxy_is_off(situation, objects.kube_proxy.as_ref()),
    }
}

async fn apply(
    session: &Session,
    cluster: &Cluster,
    flags: &EnableFlags,
    plan: &Plan,
) -> Result<Exit, Failure> {
    let pods = flags.pods.open(session, cluster, plan.id.clone(), Op::Repair, "enable").await;
    let manner = Manner { take_back: !flags.no_rollback, patience: PATIENCE };
    let ended = change::apply_so(session, cluster, &pods, plan, flags.change.yes, manner).await?;
    match ended {
        Some(ended) => finish::ended(session, plan, ended),
        None => finish::declined(session, plan),
    }
}
