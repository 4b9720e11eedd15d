//! CAL-WRK-001.

use jiff::SignedDuration;

use crate::checks::Context;
use crate::findings::{Cause, Code, Confidence, Evidence, Finding, Findings, Severity, Subject};
use crate::slim::{ContainerStatus, Event, Pod, StateDetail};
use crate::snapshot::{AgentHealth, Known};

const CODE: Code = Code("CAL-WRK-001");

/// A calico-node that started less than this ago may still be on its way: its readiness probe runs every 10 s, and
/// Felix needs its first synchronisation.
const STARTUP: SignedDuration = SignedDuration::from_secs(60);

check! {
    /// # calico-node is not ready on a node
    ///
    /// ## What it detects
    /// A calico-node pod that has been up for a minute and is not Ready, because Felix calls itself not ready, or
    /// because its container does not run. New policies, routes and pods' rules do not reach that node.
    ///
    /// ## How sure
    /// Felix is asked itself where the node could be probed; else the kubelet's events are quoted. Pods younger than a
    /// minute, pods being replaced, and nodes whose kubelet is silent (their status is history) are left out. The
    /// reverse proves little: calico-node stays Ready with a wrong CA, without CRDs, without binaries or conflist.
    ///
    /// ## What it looks like
    /// `calico/node is not ready: felix is not ready: readiness probe reporting 503`
    ///
    /// ## What to do
    /// Read what the pod says: `kubectl logs -n NAMESPACE POD -c calico-node --previous`
    ///
    /// ## What not to do
    /// Raising probe timeouts or deleting the pod again and again: it hides the reason and drops its log.
    NODE_NOT_READY: "CAL-WRK-001", "calico-node is not ready", "workloads", Error,
    needs [Nodes, Pods], fix Manual, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    for node in context.linux_nodes() {
        let alive = node.condition("Ready").is_some_and(|ready| ready.status != "Unknown");
        let name = node.metadata.name.as_str();
        let Some(pod) = context.snapshot.calico_node_on(name) else { continue };
        let over = pod.is_terminating() || pod.is_finished();
        if alive && !over && !pod.is_ready() && is_settled(context, pod) {
            out.report(finding(context, name, pod));
        }
    }
}

/// Old enough to be judged.
fn is_settled(context: &Context<'_>, pod: &Pod) -> bool {
    if is_being_prepared(pod) {
        return false;
    }
    let since = main_container(pod)
        .and_then(|it| it.state.running.as_ref())
        .and_then(|it| it.started_at)
        .or(pod.metadata.creation_timestamp);
    since.is_some_and(|since| context.now.duration_since(since) >= STARTUP)
}

/// True while images are pulled or init containers do their work, however long that takes, and nothing of it failed.
fn is_being_prepared(pod: &Pod) -> bool {
    let prepares = |it: &ContainerStatus| {
        it.state.waiting.as_ref().is_some_and(|state| {
            matches!(state.reason.as_str(), "PodInitializing" | "ContainerCreating")
        })
    };
    let failed = |it: &ContainerStatus| {
        it.state.waiting.is_some() && !prepares(it)
            || it.state.terminated.as_ref().is_some_and(|end| end.exit_code != Some(0))
    };
    main_container(pod).is_some_and(prepares)
        && !pod.status.init_container_statuses.iter().any(failed)
}

fn main_container(pod: &Pod) -> Option<&ContainerStatus> {
    let statuses = &pod.status.container_statuses;
    statuses.iter().find(|it| it.name == "calico-node").or_else(|| statuses.first())
}

fn finding(context: &Context<'_>, node: &str, pod: &Pod) -> Finding {
    let (cause, confidence, evidence) = reason(context, node, pod);
    let mut finding = Finding::new(
        CODE,
        Severity::Error,
        Subject::nodes([node]),
        format!("calico-node is not ready on {node}"),
        cause,
    );
    finding.confidence = confidence;
    finding.evidence.extend(evidence);
    finding
}

fn reason(context: &Context<'_>, node: &str, pod: &Pod) -> (Cause, Confidence, Option<Evidence>) {
    if let Some((container, waiting)) = waiting(pod) {
        let text = format!("its container {container} does not run: {}", waiting.reason);
        let evidence = (!waiting.message.is_empty())
            .then(|| Evidence::new(format!("pod {}", pod.full_name()), &waiting.message));
        return (Cause { key: "not-running", text }, Confidence::Certain, evidence);
    }
    if let Some(says) = felix_says(context, node) {
        let text = "Felix calls itself not ready".to_owned();
        let evidence = Evidence::new(format!("{node}: calico-node -felix-ready"), says);
        return (Cause { key: "felix", text }, Confidence::Certain, Some(evidence));
    }
    if let Some(event) = unhealthy(context, pod) {
        let text = "its readiness probe fails".to_owned();
        let evidence =
            Evidence::new(format!("event Unhealthy {}", pod.full_name()), &event.message);
        let felix = event.message.contains("felix is not ready");
        let key = if felix { "felix" } else { "readiness" };
        return (Cause { key, text }, Confidence::Likely, Some(evidence));
    }
    let text = "neither Felix nor an event says why".to_owned();
    (Cause { key: "not-known", text }, Confidence::Possible, None)
}

/// The container that keeps calico-node from running, and what it waits for: an init container that failed, if there is
/// one, because then the main container only waits for that.
fn waiting(pod: &Pod) -> Option<(&str, &StateDetail)> {
    fn of(status: &ContainerStatus) -> Option<(&str, &StateDetail)> {
        Some((&status.name, status.state.waiting.as_ref()?))
    }
    let inits = pod.status.init_container_statuses.iter();
    let failed = inits.filter_map(of).find(|(_, waiting)| waiting.reason != "PodInitializing");
    main_container(pod).and_then(of).map(|main| failed.unwrap_or(main))
}

fn felix_says(context: &Context<'_>, node: &str) -> Option<String> {
    let facts = context.snapshot.hosts.get(node)?.known()?;
    match facts.felix.known()? {
        AgentHealth { ready: Known::Known(false), says, .. } => Some(says.clone()),
        _ => None,
    }
}

fn unhealthy<'a>(context: &Context<'a>, pod: &Pod) -> Option<&'a Event> {
    let events = &context.snapshot.events.items;
    events
        .iter()
        .filter(|it| it.reason == "Unhealthy" && it.involved_object.uid == pod.metadata.uid)
        .max_by_key(|it| it.last_seen())
}
