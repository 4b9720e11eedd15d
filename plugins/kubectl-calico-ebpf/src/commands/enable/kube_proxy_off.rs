//! `kube-proxy off`: the last part of `enable --disable-kube-proxy`, for a cluster where eBPF is on on every node.

use clap::Args;
use common::bpf::status::{EbpfStatus, EndpointMode, Real};
use common::bpf::{Endpoint, Situation};
use common::cli::{Exit, Failure, Kind};
use common::plan::ebpf::{Done, Ground, Wish};
use common::snapshot::Known;
use common::verbs::repair::DryRun;
use common::verbs::{Session, look};

use super::super::beginning::{self, Beginning, RunFlags};
use super::super::{finish, ground, kube_proxy, status};
use super::{done, proven};
use crate::roles;

/// How to stop kube-proxy.
#[derive(Args, Clone, Debug)]
pub(in crate::commands) struct OffFlags {
    /// Leave things as they are when a step fails, instead of taking all of it back
    #[arg(long)]
    no_rollback: bool,
    /// Ask this Service as well, before and after each step (can be repeated)
    #[arg(long, value_name = "NAMESPACE/NAME")]
    service: Vec<String>,
    /// Watch for so many seconds that nobody puts kube-proxy back
    #[arg(long, value_name = "SECONDS", default_value_t = 90)]
    watch_kube_proxy: u64,
    /// Seconds that a step may take on each node, beside two minutes for all
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    node_timeout: u64,
    #[command(flatten)]
    run: RunFlags,
}

pub(in crate::commands) async fn run(session: &Session, flags: &OffFlags) -> Result<Exit, Failure> {
    if flags.run.role.print(session, "kube-proxy-off", roles::enable)? {
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    let look = match ground::installation(session, &cluster).await? {
        Ok(look) => look,
        Err(exit) => return Ok(exit),
    };
    let situation = ground::situation(&cluster, &look).await?;
    let objects = ground::objects(&situation)?;
    let endpoint = demand_ebpf(session, &situation, &status::of(&situation)?)?;
    kube_proxy::demand_way(session, &situation)?;
    let wish = Wish { endpoint, disable_kube_proxy: true, watch_seconds: flags.watch_kube_proxy };
    let made_by = session.made_by_verb("kube-proxy off");
    let seen = (&look, &situation, &objects);
    let beginning = Beginning::of(&cluster, seen, &flags.service).await?;
    // Without anything else to do, the flags of coexistence would be set to be reset at once.
    let done = Done { endpoint: true, bpf: true, ..done(&situation, &objects, &wish) };
    let ground =
        Ground { per_node_seconds: flags.node_timeout, ..beginning.ground(&made_by, seen, done) };
    if ground.done.kube_proxy {
        let nothing = common::plan::ebpf::plan_enable(&ground, &wish, Vec::new());
        return finish::nothing(session, &cluster, &nothing, "kube-proxy is off.").await;
    }
    let plan =
        Box::pin(proven(session, &cluster, &ground, &wish, flags.run.change.dry_run)).await?;
    if flags.run.change.dry_run != DryRun::None {
        return finish::dry_run(session, &cluster, &plan, flags.run.change.dry_run).await;
    }
    let about = (&plan, "kube-proxy off");
    beginning::carry_out(session, &cluster, about, &flags.run, !flags.no_rollback).await
}

/// Refuses unless eBPF serves on every node, and calico-node does without kube-proxy. Where it reaches the API server.
fn demand_ebpf(
    session: &Session,
    situation: &Situation<'_>,
    status: &EbpfStatus,
) -> Result<Endpoint, Failure> {
    let whole = format!("{} enable --disable-kube-proxy", session.program);
    let is_on = |real: &Real| matches!(real, Real::On | Real::WithoutCalico);
    let others: Vec<&str> = status
        .nodes
        .iter()
        .filter(|(_, node)| !is_on(&node.real) || !node.problems.is_empty())
        .map(|(name, _)| name.as_str())
        .collect();
    if !others.is_empty() || !ground::is_on(situation) {
        let count = others.len();
        let first = others.first().copied().unwrap_or("none was seen");
        let what = format!(
            "kube-proxy stays: eBPF is not on and in order on every node ({count} are not, e.g. {first})"
        );
        return Err(Failure::new(Kind::Refused, what)
            .hint(format!("see why: {} status --per-node", session.program))
            .hint(format!("go the whole way: {whole}")));
    }
    match &status.endpoint {
        Known::Known(way) if way.mode != EndpointMode::ClusterIp => {
            let used = way.written.clone().or_else(|| way.used.first().cloned());
            used.ok_or_else(|| Failure::new(Kind::Incomplete, "where calico-node reaches the API server is not known"))
        }
        Known::Unknown(gap) => Err(Failure::new(Kind::Incomplete, gap.detail.clone())),
        _ => Err(Failure::new(
            Kind::Refused,
            "kube-proxy stays: calico-node reaches the API server by its Service, which kube-proxy serves",
        )
        .hint(format!("go the whole way: {whole} --api-endpoint HOST:PORT"))),
    }
}
