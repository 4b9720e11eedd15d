//! Which pods hang because their sandbox cannot be set up or torn down, and what the kubelet said about it.
//!
//! Hanging is judged by a pod's state. Events only explain it: FailedCreatePodSandBox is emitted once, so neither its
//! count nor its age proves anything, and events of pods that run or are gone say nothing about now.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::kubelet_text::{TextCause, classify, essence};
use crate::checks::Context;
use crate::checks::cni::credentials_rejected::{judge as judge_credentials, trusts_the_server};
use crate::findings::{Cause, Code, Confidence, Evidence, Finding, Findings, Severity, Subject};
use crate::plan::RemedyName;
use crate::slim::{Event, Pod};
use crate::snapshot::Known;

/// A pod being deleted may take this long past its grace period before one failed attempt counts as hanging.
/// The kubelet repeats a failed teardown about every 11 s, so a second failure counts at once.
const TEARDOWN_PATIENCE: SignedDuration = SignedDuration::from_secs(30);

/// A pod as young as this has had at most two attempts at its sandbox; a cause that no check has proven may be a hiccup.
const CREATION_PATIENCE: SignedDuration = SignedDuration::from_secs(20);

/// In which direction a pod hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::checks) enum Phase {
    /// It cannot start.
    Creating,
    /// It cannot stop.
    Terminating,
}

/// A pod that hangs, with the kubelet's newest word on why.
#[derive(Clone, Debug)]
pub(in crate::checks) struct Hanging<'a> {
    /// The pod.
    pub(in crate::checks) pod: &'a Pod,
    /// The event that says why.
    pub(in crate::checks) event: &'a Event,
    /// In which direction it hangs.
    pub(in crate::checks) phase: Phase,
    /// The cause that the text names.
    pub(in crate::checks) cause: TextCause,
}

/// All pods that hang on nodes whose kubelet is alive, sorted by node, namespace and name.
pub(in crate::checks) fn hanging<'a>(context: &Context<'a>) -> Vec<Hanging<'a>> {
    let events = newest_events(context);
    let mut all: Vec<_> = context
        .snapshot
        .pods
        .items
        .iter()
        .filter(|pod| kubelet_is_alive(context, &pod.spec.node_name))
        .filter_map(|pod| judge(context, pod, events.get(pod.metadata.uid.as_str())?))
        .collect();
    all.sort_by(|a, b| {
        let key = |it: &Hanging<'a>| (it.pod.spec.node_name.clone(), it.pod.full_name());
        key(a).cmp(&key(b))
    });
    all
}

/// The newest event per pod that speaks of its sandbox, by phase.
#[derive(Default)]
struct Said<'a> {
    creating: Option<&'a Event>,
    terminating: Option<&'a Event>,
}

fn newest_events<'a>(context: &Context<'a>) -> BTreeMap<&'a str, Said<'a>> {
    let mut said: BTreeMap<&str, Said<'_>> = BTreeMap::new();
    for event in &context.snapshot.events.items {
        let slot = said.entry(event.involved_object.uid.as_str()).or_default();
        let slot = match event.reason.as_str() {
            "FailedCreatePodSandBox" | "NetworkNotReady" => &mut slot.creating,
            "FailedKillPod" if event.message.contains("KillPodSandboxError") => {
                &mut slot.terminating
            }
            _ => continue,
        };
        if slot.is_none_or(|old| old.last_seen() < event.last_seen()) {
            *slot = Some(event);
        }
    }
    said
}

fn judge<'a>(context: &Context<'a>, pod: &'a Pod, said: &Said<'a>) -> Option<Hanging<'a>> {
    let (phase, event) = if cannot_start(pod) {
        let event = said.creating?;
        // It says nothing of the pod itself: once the node has its network, something else holds the pod up.
        let over = event.reason == "NetworkNotReady" && is_ready(context, &pod.spec.node_name);
        (!over).then_some((Phase::Creating, event))?
    } else {
        let event = said.terminating?;
        cannot_stop(context, pod, event).then_some((Phase::Terminating, event))?
    };
    Some(Hanging { pod, event, phase, cause: classify(&event.message) })
}

/// Bound to a node, and no container has got as far as having a sandbox.
fn cannot_start(pod: &Pod) -> bool {
    let waits = |reason: &str| matches!(reason, "ContainerCreating" | "PodInitializing" | "");
    !pod.is_terminating()
        && pod.status.phase == "Pending"
        && !pod.spec.host_network
        // It gets an address with its sandbox; releases before v1.29 do not set the condition.
        && pod.status.pod_ip.is_empty()
        && pod.condition("PodReadyToStartContainers").is_none_or(|it| it.status != "True")
        && pod
            .status
            .container_statuses
            .iter()
            .chain(&pod.status.init_container_statuses)
            .all(|it| it.state.waiting.as_ref().is_some_and(|state| waits(&state.reason)))
}

/// Deleted, due, and nothing of it runs any more: only the sandbox is left.
fn cannot_stop(context: &Context<'_>, pod: &Pod, event: &Event) -> bool {
    let Some(due) = pod.metadata.deletion_timestamp else { return false };
    let waited = context.now.duration_since(due);
    let again = event.count.unwrap_or(1) >= 2;
    pod.metadata.finalizers.is_empty()
        && !pod.spec.host_network
        && pod.status.container_statuses.iter().all(|it| it.state.running.is_none())
        && waited >= SignedDuration::ZERO
        && (again || waited >= TEARDOWN_PATIENCE)
}

/// A node whose kubelet is silent reports nothing: what its pods seem to do is history.
fn kubelet_is_alive(context: &Context<'_>, node: &str) -> bool {
    context.node_ready(node).is_some_and(|ready| ready.status != "Unknown")
}

fn is_ready(context: &Context<'_>, node: &str) -> bool {
    context.node_ready(node).is_some_and(|ready| ready.status == "True")
}

/// How a check words its findings.
pub(in crate::checks) struct Wording {
    /// The code.
    pub(in crate::checks) code: Code,
    /// What the pods are stuck in, as kubectl shows it.
    pub(in crate::checks) state: &'static str,
}

/// One finding per cause for the pods that hang in `phase`; per node and cause where the cause is a node's own.
pub(in crate::checks) fn report(
    context: &Context<'_>,
    out: &mut Findings,
    phase: Phase,
    wording: &Wording,
) {
    let mut groups: BTreeMap<(String, TextCause, String), Vec<Hanging<'_>>> = BTreeMap::new();
    for one in hanging(context).into_iter().filter(|it| it.phase == phase) {
        // Only of an unknown text does the wording tell faults apart.
        let text = match one.cause {
            TextCause::Unknown => essence(&one.event.message),
            _ => String::new(),
        };
        let node = if one.cause.is_of_one_node() { &one.pod.spec.node_name } else { "" };
        groups.entry((node.to_owned(), one.cause.clone(), text)).or_default().push(one);
    }
    for ((node, cause, _), pods) in groups {
        let mut finding = finding(&cause, &pods, wording);
        finding.remedy = remedy(context, phase, &cause, &pods);
        if is_disproved(context, &node, &cause) {
            let why = "that cause is gone now; the kubelet retries about every 11 s, so look again in a minute";
            finding.cause.text.insert_str(0, "when last told, ");
            soften(&mut finding, why);
        } else if may_be_a_hiccup(context, phase, &cause, &pods) {
            let why = "that was their first attempt; the kubelet retries about every 11 s, so look again in a minute";
            soften(&mut finding, why);
        }
        out.report(finding);
    }
}

/// An API server that is silent for so long does not come back by itself: its address may be one of an old control plane.
const API_PATIENCE: SignedDuration = SignedDuration::from_mins(10);

/// Pods that are gone but for their sandbox can be freed of it where nothing makes CNI DEL succeed again: without
/// Calico's CRDs, or with an API server that is gone for good. Other causes heal, and the kubelet then does it better: it
/// gives the addresses back as well.
fn remedy(
    context: &Context<'_>,
    phase: Phase,
    cause: &TextCause,
    pods: &[Hanging<'_>],
) -> Option<RemedyName> {
    let waited = |it: &Hanging<'_>| {
        let due = it.pod.metadata.deletion_timestamp;
        due.is_some_and(|due| context.now.duration_since(due) >= API_PATIENCE)
    };
    let cannot_succeed = match cause {
        TextCause::ResourceMissing => true,
        TextCause::ApiUnreachable { .. } => pods.iter().all(waited),
        _ => false,
    };
    (phase == Phase::Terminating && cannot_succeed).then_some(RemedyName::FreeSandboxes)
}

/// The kubelet says a cause once and never takes it back. True when the node shows that it no longer holds.
fn is_disproved(context: &Context<'_>, node: &str, cause: &TextCause) -> bool {
    match cause {
        TextCause::Unauthorized => judge_credentials(context, node) == Known::Absent,
        TextCause::CertificateNotTrusted => trusts_the_server(context, node),
        TextCause::PluginMissing { plugin, path } => {
            let facts = context.plugins(node);
            let there =
                facts.known().is_some_and(|files| files.iter().any(|file| &file.name == plugin));
            // A runtime that looks elsewhere does not see what is there now.
            there && context.looks_where_plugins_are(path)
                || context.calls(node, plugin) == Some(false)
        }
        TextCause::NotInitialized => is_ready(context, node),
        TextCause::DatastoreLocked => context.datastore_is_ready() == Some(true),
        TextCause::KubeconfigMissing => {
            let facts = context.config_files(node).and_then(|it| it.cni_kubeconfig.as_ref());
            facts.known().is_some()
        }
        TextCause::NodenameMissing => context.host_has_nodename(node),
        _ => false,
    }
}

/// Such pods are probably about to heal: no alarm, but no silence either.
fn soften(finding: &mut Finding, why: &str) {
    finding.severity = Severity::Warning;
    finding.confidence = Confidence::Possible;
    why.clone_into(&mut finding.consequence);
}

/// True when all these pods were made a moment ago, and nothing but the kubelet's word speaks for the cause. Causes
/// that lie in files of the node have a check of their own, which judges them by more than that.
fn may_be_a_hiccup(
    context: &Context<'_>,
    phase: Phase,
    cause: &TextCause,
    pods: &[Hanging<'_>],
) -> bool {
    let has_own_check = matches!(
        cause,
        TextCause::Unauthorized
            | TextCause::CertificateNotTrusted
            | TextCause::PluginMissing { .. }
            | TextCause::NotInitialized
    );
    phase == Phase::Creating && !has_own_check && pods.iter().all(|it| is_young(context, it))
}

/// True for a pod that cannot start and was made a moment ago.
pub(in crate::checks) fn is_young(context: &Context<'_>, it: &Hanging<'_>) -> bool {
    let created = it.pod.metadata.creation_timestamp;
    it.phase == Phase::Creating
        && created.is_some_and(|at| context.now.duration_since(at) < CREATION_PATIENCE)
}

fn finding(cause: &TextCause, pods: &[Hanging<'_>], wording: &Wording) -> Finding {
    let nodes: BTreeSet<&str> = pods.iter().map(|it| it.pod.spec.node_name.as_str()).collect();
    let place = match nodes.iter().collect::<Vec<_>>().as_slice() {
        [one] => (**one).to_owned(),
        many => format!("{} nodes", many.len()),
    };
    let count = pods.len();
    let plural = if count == 1 { "pod hangs" } else { "pods hang" };
    let mut finding = Finding::new(
        wording.code,
        Severity::Error,
        Subject::pods(pods.iter().map(|it| it.pod.full_name())),
        format!("{count} {plural} in {} on {place}", wording.state),
        Cause { key: cause.key(), text: cause.meaning().unwrap_or_default() },
    );
    finding.nodes = nodes.into_iter().map(str::to_owned).collect();
    if *cause == TextCause::Unknown {
        finding.confidence = Confidence::Possible;
    }
    finding.evidence = evidence(pods);
    finding
}

/// The kubelet's words, once per different text, with the pods that they are about.
fn evidence(pods: &[Hanging<'_>]) -> Vec<Evidence> {
    let mut texts: BTreeMap<String, Vec<&Hanging<'_>>> = BTreeMap::new();
    for one in pods {
        texts.entry(essence(&one.event.message)).or_default().push(one);
    }
    texts
        .into_iter()
        .filter_map(|(text, pods)| {
            let first = pods.first()?;
            let more = match pods.len() {
                1 => String::new(),
                n => format!(" (+{})", n - 1),
            };
            let source = format!("event {} {}{more}", first.event.reason, first.pod.full_name());
            Some(Evidence::new(source, text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::SnapshotBuilder;

    /// Whether a pod that hangs for so long in this phase is freed of its sandbox.
    fn is_freed(cause: &TextCause, minutes: i64, phase: Phase) -> bool {
        let now = jiff::Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1000);
        let snapshot = SnapshotBuilder::new().finish(now);
        let context = Context { snapshot: &snapshot, now };
        let mut pod = Pod::default();
        pod.metadata.deletion_timestamp = Some(now - SignedDuration::from_mins(minutes));
        let event = Event::default();
        let hangs = [Hanging { pod: &pod, event: &event, phase, cause: cause.clone() }];
        remedy(&context, phase, cause, &hangs) == Some(RemedyName::FreeSandboxes)
    }

    #[test]
    fn sandboxes_are_freed_only_where_nothing_else_helps() {
        let gone = TextCause::ApiUnreachable { server: "10.0.9.9:6443".to_owned() };
        assert!(is_freed(&TextCause::ResourceMissing, 1, Phase::Terminating));
        assert!(is_freed(&gone, 10, Phase::Terminating));
        assert!(!is_freed(&gone, 9, Phase::Terminating));
        assert!(!is_freed(&TextCause::Unauthorized, 99, Phase::Terminating));
        assert!(!is_freed(&TextCause::Hanging, 99, Phase::Terminating));
        assert!(!is_freed(&TextCause::ResourceMissing, 99, Phase::Creating));
    }
}
