//! What all verbs that change something begin with: a look at the cluster, and the objects that they change.

use common::bpf::{BpfFacts, NodeDataPlane, Situation};
use common::cli::{Exit, FailOn, Failure, Kind};
use common::cluster::Cluster;
use common::collect::bpf;
use common::execute::journal::Run;
use common::execute::mirror;
use common::plan::ebpf::{Missing, Object, Objects};
use common::snapshot::Known;
use common::verbs::look::{self, Look};
use common::verbs::{Session, earlier};
use serde_json::Value;

/// Looks at the installation. `Err(exit)` in the answer: nothing could be read, and that was said.
pub(crate) async fn installation(
    session: &Session,
    cluster: &Cluster,
) -> Result<Result<Look, Exit>, Failure> {
    let look = look::at_installation(session, cluster).await?;
    let exit = look.exit(FailOn::Error);
    if exit == Exit::Error {
        look.print(session, exit)?;
        return Ok(Err(exit));
    }
    Ok(Ok(look))
}

/// The journals that other machines left in the cluster, so that their runs can be gone on with from here. Whoever may not see them
/// has his own.
pub(crate) async fn adopt_runs(session: &Session, cluster: &Cluster) -> Result<(), Failure> {
    match look::interruptible(mirror::fetch(cluster)).await? {
        Ok(runs) => {
            for run in runs {
                session.printer.talk(&format!(
                    "Run {run} was begun on another machine and is not done: its journal was fetched from the cluster."
                ));
            }
        }
        Err(error) => session.printer.talk(&format!("note: journals of other machines: {error}")),
    }
    Ok(())
}

/// The run that a word means. "last" may be another plugin's: that one takes back and goes on with what it did.
pub(crate) async fn run_of_ours(
    session: &Session,
    cluster: &Cluster,
    word: &str,
) -> Result<Run, Failure> {
    let run = look::interruptible(earlier::find(session, cluster, word)).await??;
    let by = run.recorded.plan.made_by.split('/').next().unwrap_or_default().to_owned();
    if by == session.plugin {
        return Ok(run);
    }
    let what = format!("run {} is one of {by}", run.id());
    Err(Failure::new(Kind::Refused, what)
        .hint(format!("name one of {}: {} runs", session.plugin, session.program)))
}

/// Everything that plans are made from.
pub(crate) async fn situation<'a>(
    cluster: &Cluster,
    look: &'a Look,
) -> Result<Situation<'a>, Failure> {
    let asking = Box::pin(bpf::situation(cluster, &look.snapshot));
    look::interruptible(asking).await
}

/// The objects, or why there can be no plan.
pub(crate) fn objects(situation: &Situation<'_>) -> Result<Objects, Failure> {
    Objects::of(situation).map_err(|missing| match missing {
        Missing::Absent(what) => {
            Failure::new(Kind::Refused, format!("{what} does not exist in this cluster"))
                .hint("see how Calico is installed: kubectl calico-doctor")
        }
        Missing::Unread(gap) => Failure::new(
            Kind::Incomplete,
            format!("nothing was changed, because {} cannot be read: {}", gap.what, gap.detail),
        ),
    })
}

/// True when every node that runs calico-node, and at least one, shows this.
pub(crate) fn on_all(situation: &Situation<'_>, is: impl Fn(&BpfFacts) -> bool) -> bool {
    let shows = |facts: &Known<BpfFacts>| facts.known().is_some_and(&is);
    !situation.nodes.is_empty() && situation.nodes.values().all(shows)
}

/// Whether eBPF is on on every node.
pub(crate) fn is_on(situation: &Situation<'_>) -> bool {
    on_all(situation, |facts| facts.state() == Known::Known(NodeDataPlane::Bpf))
}

/// Whether kube-proxy wants no pods and has none. One that does not exist is away as well.
pub(crate) fn kube_proxy_is_off(situation: &Situation<'_>, kube_proxy: Option<&Object>) -> bool {
    let pods = situation.kube_proxy_pods();
    let none = pods.known().is_some_and(Vec::is_empty);
    let wants = |it: &Object| it.at("/status/desiredNumberScheduled").and_then(Value::as_i64);
    none && kube_proxy.is_none_or(|it| wants(it).unwrap_or_default() == 0)
}
