//! `pods`: removes pods that finished and were left behind, and tells what keeps pods that hang in their deletion.

use clap::Args;
use common::cli::{Exit, Failure, Kind, OutputFormat};
use common::cluster::{Cluster, ListRequest, Page};
use common::execute::new_plan_id;
use common::node::pod::{NodePodOptions, NodePods, Op};
use common::plan::pods::{
    Choice, Flood, PodOrder, Stuck, WhyStuck, force_deletion_steps, is_overdue, plan_for_floods,
    why_stuck,
};
use common::plan::{Action, DEFAULT_PARALLEL, ObjectRef, Plan, PodRef, Target, describe};
use common::report::{
    PodsReport, json, number, outcome as outcome_text, plan as plan_text, pods as pods_text, yaml,
};
use common::slim::Pod;
use common::snapshot::Resource;
use common::verbs::repair::{ChangeFlags, DryRun};
use common::verbs::role::RoleFlags;
use common::verbs::undo::exit_of;
use common::verbs::{Session, change, look};
use jiff::Timestamp;
use serde::Deserialize;

use crate::roles;

#[derive(Args, Clone, Debug)]
pub(crate) struct PodsFlags {
    /// Only pods with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Only pods that are bound to this node
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Only pods of this owner: NAME or KIND/NAME
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,
    /// Only pods that ended for this reason: Evicted, ContainerStatusUnknown, OOMKilled …
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Also pods of Jobs
    #[arg(long)]
    jobs: bool,
    /// Also pods that no controller owns
    #[arg(long)]
    bare: bool,
    /// Also pods that ended well
    #[arg(long)]
    completed: bool,
    /// Instead: pods that hang in their deletion, with what keeps them; those of nodes that are gone can be forgotten
    #[arg(long, conflicts_with_all = ["jobs", "bare", "completed", "reason"])]
    stuck: bool,
    /// Deletions at a time
    #[arg(long, value_name = "N", default_value_t = DEFAULT_PARALLEL, value_parser = clap::value_parser!(u32).range(1..=200))]
    max_parallel: u32,
    #[command(flatten)]
    change: ChangeFlags,
    #[command(flatten)]
    role: RoleFlags,
}

pub(crate) async fn run(session: &Session, flags: &PodsFlags) -> Result<Exit, Failure> {
    let (name, rules): (_, fn() -> _) =
        if flags.stuck { ("pods-stuck", roles::stuck_pods) } else { ("pods", roles::pods) };
    if flags.role.print(session, name, rules)? {
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    let target = look::interruptible(target(&cluster)).await??;
    let order = PodOrder {
        id: new_plan_id(),
        made_by: session.made_by_verb("pods"),
        target,
        taken: cluster.now(),
        max_parallel: flags.max_parallel,
    };
    if flags.stuck {
        return hanging(session, &cluster, flags, order).await;
    }
    let flood = look::interruptible(finished(session, &cluster, flags, order.taken)).await??;
    let plan = plan_for_floods(order, &flood);
    let report = PodsReport::new(&plan, &flood, "planned");
    let (_, kept) = flood.counts();
    let nothing = match kept {
        0 => "no finished pods to remove".to_owned(),
        kept => format!("no finished pods to remove ({} kept)", number(kept)),
    };
    settle(session, &cluster, flags, report, &nothing, Exit::Good).await
}

/// Finished pods by owner and cause. One page is held at a time.
async fn finished(
    session: &Session,
    cluster: &Cluster,
    flags: &PodsFlags,
    now: Timestamp,
) -> Result<Flood, Failure> {
    let choice = Choice {
        jobs: flags.jobs,
        bare: flags.bare,
        completed: flags.completed,
        owner: flags.owner.clone(),
        reason: flags.reason.clone(),
    };
    let mut all = Flood::default();
    let phases: &[&str] = if flags.completed { &["Failed", "Succeeded"] } else { &["Failed"] };
    for phase in phases {
        let request = request(session, flags, Some(format!("status.phase={phase}")));
        let before = all.clone();
        each_pod(cluster, &request, |pod| match pod {
            Some(pod) => all.add(&pod, &choice, now),
            None => all = before.clone(),
        })
        .await?;
    }
    Ok(all)
}

/// Pods whose deletion hangs, and what keeps them.
async fn hanging(
    session: &Session,
    cluster: &Cluster,
    flags: &PodsFlags,
    order: PodOrder,
) -> Result<Exit, Failure> {
    let mut pods: Vec<Pod> = Vec::new();
    let about = |pod: &Pod| {
        let owner = common::plan::pods::Owner::of(pod);
        flags.owner.as_deref().is_none_or(|wanted| owner.is_called(wanted))
    };
    let request = request(session, flags, None);
    let listing = each_pod(cluster, &request, |pod| match pod {
        Some(pod) if is_overdue(&pod, order.taken) && about(&pod) => pods.push(pod),
        Some(_) => {}
        None => pods.clear(),
    });
    look::interruptible(listing).await??;
    let mut stuck = Vec::new();
    let mut is_whole = true;
    if !pods.is_empty() {
        let seen = look::at_cluster(session, cluster).await?;
        if flags.change.dry_run == DryRun::None {
            let verb = format!("{} pods --stuck", session.program);
            look::demand_all(session, &seen.snapshot, &verb)?;
        }
        is_whole = !look::tell_forbidden(session, &seen.snapshot);
        stuck.extend(pods.iter().map(|pod| Stuck {
            pod: pod_ref(pod),
            node: pod.spec.node_name.clone(),
            since: pod.metadata.deletion_timestamp.unwrap_or(order.taken),
            why: why_stuck(pod, &seen.snapshot, &seen.diagnosis),
        }));
    }
    stuck.sort_by(|a, b| a.pod.cmp(&b.pod));
    let plan = force_deletion_steps(order, &stuck);
    let left = stuck.iter().filter(|it| it.why != WhyStuck::NodeGone).count();
    let exit = if left > 0 { Exit::Findings } else { Exit::Good };
    let exit = if is_whole { exit } else { exit.or(Exit::Incomplete) };
    let report = PodsReport::new(&plan, &Flood::default(), "planned")
        .with_stuck(&stuck, |it| it.text(&session.program, session.doctor()));
    let nothing = match left {
        0 => "no pod hangs in its deletion".to_owned(),
        left => format!("{} hang; nothing can be done for them here", number(left)),
    };
    settle(session, cluster, flags, report, &nothing, exit).await
}

/// Shows what was found, and does with its plan what the flags say. `otherwise` is the exit code when that went well.
async fn settle(
    session: &Session,
    cluster: &Cluster,
    flags: &PodsFlags,
    mut report: PodsReport,
    nothing: &str,
    otherwise: Exit,
) -> Result<Exit, Failure> {
    let text = session.format == OutputFormat::Text;
    if text {
        session.printer.data(&pods_text(&report, session.verbose))?;
    }
    let plan = report.plan.clone();
    if plan.steps.is_empty() {
        report.verdict = otherwise.word();
        report.note = Some(nothing.to_owned());
        print(session, &report)?;
        return Ok(otherwise);
    }
    if flags.change.dry_run != DryRun::None {
        if flags.change.dry_run == DryRun::Server {
            rehearse(cluster, &plan).await?;
        }
        if text {
            session.printer.data(&plan_text(&plan, &session.text_options()))?;
        }
        print(session, &report)?;
        let is_whole = otherwise != Exit::Incomplete;
        return Ok(if is_whole { Exit::Good } else { otherwise });
    }
    // No node's host is touched: none of these pods is ever made.
    let pods = NodePods::new(cluster, NodePodOptions::new(plan.id.clone(), Op::Repair, Vec::new()));
    let applied = change::apply(session, cluster, &pods, &plan, flags.change.yes).await?;
    let exit = match &applied {
        None => Exit::Declined,
        Some(outcome) => exit_of(outcome.result).or(otherwise),
    };
    report.verdict = exit.word();
    report.outcome = applied;
    print(session, &report)?;
    Ok(exit)
}

fn print(session: &Session, report: &PodsReport) -> Result<(), Failure> {
    let document = match session.format {
        OutputFormat::Json => json(report),
        OutputFormat::Yaml => yaml(report),
        OutputFormat::Text => {
            let outcome = report.outcome.as_ref();
            let outcome = outcome.map(|it| outcome_text(it, &session.text_options()));
            let note = report.note.as_ref().map(|it| format!("{it}\n"));
            outcome.or(note).unwrap_or_default()
        }
    };
    session.printer.data(&document)
}

/// Asks the API server about one pod of each step: the others are of the same owner.
async fn rehearse(cluster: &Cluster, plan: &Plan) -> Result<(), Failure> {
    for step in &plan.steps {
        let Action::DeletePods { pods, grace_seconds, .. } = &step.action else { continue };
        let Some(pod) = pods.first() else { continue };
        cluster.delete_pod(pod, *grace_seconds, true).await.map_err(|error| {
            let what = format!("the API server would not {}", describe::action(&step.action));
            Failure::new(Kind::Refused, format!("{what}: {error}"))
        })?;
    }
    Ok(())
}

/// Which cluster the plan is for. Its identity is the uid of namespace kube-system.
async fn target(cluster: &Cluster) -> Result<Target, Failure> {
    let object = ObjectRef {
        group: String::new(),
        version: "v1".to_owned(),
        plural: "namespaces".to_owned(),
        namespace: String::new(),
        name: "kube-system".to_owned(),
    };
    let found = cluster.get_json(&object).await?;
    let uid = found.as_ref().and_then(|it| it.pointer("/metadata/uid")?.as_str());
    let Some(uid) = uid.filter(|uid| !uid.is_empty()) else {
        return Err(Failure::new(Kind::Access, "cannot tell which cluster this is")
            .hint("its identity is the uid of namespace kube-system, which has none"));
    };
    let info = cluster.target_info();
    let user = cluster.who_am_i().await.unwrap_or_else(|_| "unknown".to_owned());
    Ok(Target {
        cluster_uid: uid.to_owned(),
        context: info.context.clone(),
        cluster_name: info.cluster_name.clone(),
        server: info.server.clone(),
        user,
    })
}

fn request(session: &Session, flags: &PodsFlags, phase: Option<String>) -> ListRequest {
    let node = flags.node.as_ref().map(|node| format!("spec.nodeName={node}"));
    let fields: Vec<String> = phase.into_iter().chain(node).collect();
    ListRequest {
        namespace: session.connection.namespace.clone(),
        label_selector: flags.selector.clone(),
        field_selector: (!fields.is_empty()).then(|| fields.join(",")),
        ..ListRequest::all(Resource::new("pods", ""), "v1")
    }
}

/// Hands on every pod of the list; none when the list begins anew.
async fn each_pod(
    cluster: &Cluster,
    request: &ListRequest,
    mut take: impl FnMut(Option<Pod>) + Send,
) -> Result<(), Failure> {
    let mut odd = None;
    let mut page = |page: Page| {
        if page.is_first {
            take(None);
        }
        match serde_json::from_slice::<Items>(&page.body) {
            Ok(items) => items.items.unwrap_or_default().into_iter().for_each(|it| take(Some(it))),
            Err(error) => odd = Some(error),
        }
    };
    cluster.list(request, &mut page).await?;
    match odd {
        None => Ok(()),
        Some(error) => {
            Err(Failure::new(Kind::Internal, format!("a list of pods makes no sense: {error}")))
        }
    }
}

/// A page of pods; Go writes null for none.
#[derive(Deserialize)]
struct Items {
    #[serde(default = "Option::default")]
    items: Option<Vec<Pod>>,
}

fn pod_ref(pod: &Pod) -> PodRef {
    PodRef {
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
    }
}
