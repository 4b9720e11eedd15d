//! `kube-proxy status|off|on`.

use clap::{Args, Subcommand};
use common::bpf::Situation;
use common::bpf::kube_proxy::{KubeProxyWay, how_to_bring_back, how_to_disable};
use common::cli::{Exit, FailOn, Failure, Kind, OutputFormat};
use common::plan::ebpf::{Done, Ground, plan_kube_proxy_on};
use common::report::{KubeProxyReport, json, kube_proxy_text, way_text, yaml};
use common::verbs::repair::DryRun;
use common::verbs::role::RoleFlags;
use common::verbs::{Session, look};

use super::beginning::{self, Beginning, RunFlags, as_it_is};
use super::enable::kube_proxy_off;
use super::{finish, ground, status};
use crate::roles;

/// What to do about kube-proxy.
#[derive(Args, Clone, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct KubeProxyFlags {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Clone, Debug)]
enum Verb {
    /// Tells whether kube-proxy runs, whose it is, and how it is stopped
    Status(StatusFlags),
    /// Stops kube-proxy where eBPF is on on every node, proving Services after each step
    Off(kube_proxy_off::OffFlags),
    /// Starts kube-proxy again beside eBPF, and proves it with a new Service
    On(OnFlags),
}

#[derive(Args, Clone, Debug)]
struct StatusFlags {
    /// From which severity on an invariant that does not hold makes the run fail
    #[arg(long, value_enum, default_value_t = FailOn::Error, value_name = "SEVERITY")]
    fail_on: FailOn,
    #[command(flatten)]
    role: RoleFlags,
}

#[derive(Args, Clone, Debug)]
struct OnFlags {
    /// Seconds that a step may take on each node, beside two minutes for all
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    node_timeout: u64,
    #[command(flatten)]
    run: RunFlags,
}

pub(crate) async fn run(session: &Session, flags: &KubeProxyFlags) -> Result<Exit, Failure> {
    match &flags.verb {
        Verb::Status(flags) => Box::pin(show(session, flags)).await,
        Verb::Off(flags) => Box::pin(kube_proxy_off::run(session, flags)).await,
        Verb::On(flags) => Box::pin(on(session, flags)).await,
    }
}

/// Refuses where it is not for this tool to stop kube-proxy, before anything is changed; tells who may put it back.
pub(super) fn demand_way(session: &Session, situation: &Situation<'_>) -> Result<(), Failure> {
    let way = how_to_disable(situation);
    if let KubeProxyWay::DaemonSet { warnings } = &way {
        for warning in warnings {
            session.printer.talk(&format!("warning: {warning}"));
        }
    }
    let Some(why) = way_text(&way) else { return Ok(()) };
    Err(Failure::new(Kind::Refused, why).hint(format!(
        "switch eBPF on beside it: {} enable, without --disable-kube-proxy",
        session.program
    )))
}

async fn show(session: &Session, flags: &StatusFlags) -> Result<Exit, Failure> {
    if flags.role.print(session, "kube-proxy-status", roles::status)? {
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    let look = match ground::installation(session, &cluster).await? {
        Ok(look) => look,
        Err(exit) => return Ok(exit),
    };
    let situation = ground::situation(&cluster, &look).await?;
    let status = status::of(&situation)?;
    let mut report = KubeProxyReport::new(&situation, &status, &how_to_disable(&situation));
    let mut shown = status.invariants;
    shown.retain(|it| report.invariants.iter().any(|about| about.id == it.id));
    let mut exit = status::exit_of(&shown, flags.fail_on);
    if report.kube_proxy.serves.is_none() {
        exit = exit.or(Exit::Incomplete);
    }
    report.verdict = exit.word();
    session.printer.data(&match session.format {
        OutputFormat::Json => json(&report),
        OutputFormat::Yaml => yaml(&report),
        OutputFormat::Text => kube_proxy_text(&report, &session.text_options()),
    })?;
    Ok(exit)
}

async fn on(session: &Session, flags: &OnFlags) -> Result<Exit, Failure> {
    if flags.run.role.print(session, "kube-proxy-on", roles::enable)? {
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    let look = match ground::installation(session, &cluster).await? {
        Ok(look) => look,
        Err(exit) => return Ok(exit),
    };
    let situation = ground::situation(&cluster, &look).await?;
    let objects = ground::objects(&situation)?;
    let is_off = ground::kube_proxy_is_off(&situation, objects.kube_proxy.as_ref());
    if is_off {
        demand_way_back(&situation)?;
    }
    let made_by = session.made_by_verb("kube-proxy on");
    let seen = (&look, &situation, &objects);
    let beginning = Beginning::of(&cluster, seen, &[]).await?;
    let done = Done { endpoint: true, ..as_it_is(&situation, &objects) };
    let plan = plan_kube_proxy_on(&Ground {
        per_node_seconds: flags.node_timeout,
        ..beginning.ground(&made_by, seen, done)
    });
    if plan.steps.is_empty() {
        return finish::nothing(session, &cluster, &plan, "kube-proxy runs.").await;
    }
    if flags.run.change.dry_run != DryRun::None {
        return finish::dry_run(session, &cluster, &plan, flags.run.change.dry_run).await;
    }
    // kube-proxy that serves beside eBPF does no harm: nothing is gained by stopping it again.
    beginning::carry_out(session, &cluster, (&plan, "kube-proxy on"), &flags.run, false).await
}

/// Refuses where it is not for this tool to start kube-proxy.
fn demand_way_back(situation: &Situation<'_>) -> Result<(), Failure> {
    let why = match how_to_bring_back(situation) {
        KubeProxyWay::DaemonSet { .. } | KubeProxyWay::AlreadyOff => return Ok(()),
        KubeProxyWay::ByHand { kind, instruction_back, .. } => {
            format!("kube-proxy is the business of {kind} here. To start it: {instruction_back}")
        }
        KubeProxyWay::Impossible { why } => format!("kube-proxy cannot be started: {why}"),
    };
    Err(Failure::new(Kind::Refused, why))
}
