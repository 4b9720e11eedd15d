//! CAL-CNI-001.

use jiff::SignedDuration;

use super::runtime_looks_elsewhere::configured_elsewhere;
use crate::calico::names::CONFLIST_NAME;
use crate::checks::Context;
use crate::findings::{Cause, Code, Confidence, Evidence, Finding, Findings, Severity, Subject};
use crate::plan::RemedyName;
use crate::slim::{Node, NodeCondition};
use crate::snapshot::{FileEntry, Gap, GapReason, Known};

const CODE: Code = Code("CAL-CNI-001");

/// The kubelet looks at its node every 10 s and reports at once what has changed; the runtime notices a file in less.
const REPORT: SignedDuration = SignedDuration::from_secs(20);

/// What containerd and CRI-O say when no configuration is loaded.
const SIGNATURES: [&str; 3] =
    ["cni plugin not initialized", "cni config uninitialized", "no networks found in"];

check! {
    /// # The CNI configuration is missing on a node
    ///
    /// ## What it detects
    /// The container runtime has no CNI configuration, so the node is NotReady, no pod can start, and none can stop.
    ///
    /// ## How sure
    /// Certain when the node was probed and /etc/cni/net.d holds no configuration, also before the kubelet says so. Likely when only the kubelet's
    /// condition says so. If the file is there and the runtime still says it is not, the runtime does not see it: that is
    /// said, and needs another repair. Nodes on which calico-node is still starting, and such as never had a pod network,
    /// are not judged: they never had the file.
    ///
    /// ## What it looks like
    /// `container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized`
    /// NetworkNotReady events are also emitted for healthy running pods of such a node: their traffic goes on.
    ///
    /// ## What to do
    /// `kubectl calico-doctor fix CAL-CNI-001`: it deletes the node's calico-node pod. Its successor needs no CNI to
    /// start, and its init container writes the file anew. Where calico-node cannot start, the file is written without
    /// it.
    ///
    /// ## What not to do
    /// Removing and recreating the directory /etc/cni/net.d: containerd stops watching it and stays blind until it is restarted.
    CONFLIST_MISSING: "CAL-CNI-001", "the CNI configuration is missing", "cni", Critical,
    needs [Nodes, Pods], fix Safe, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    for node in context.linux_nodes() {
        let name = node.metadata.name.as_str();
        let condition = uninitialized(node);
        if condition.is_none() && !is_bare(context, name) {
            continue;
        }
        // CAL-CNI-002 says which file makes no sense, or -003 when it is not Calico's; -005 where the runtime looks.
        if reads_nonsense_first(context, name) || configured_elsewhere(context, name).is_some() {
            continue;
        }
        if condition.is_some_and(|it| was_just_written(context, name, it)) {
            let why = "the configuration was written a moment ago, and the kubelet has not reported since";
            let what = format!("nodes/{name}/probe.txt#ls-cni-net.d");
            out.not_judged(CODE, name, Gap::new(what, GapReason::NotAsked, why));
            continue;
        }
        if context.running_calico_node(name).is_none() && !is_lost(context, name) {
            let why = "calico-node does not run there, so the file was perhaps never written";
            let what = format!("nodes/{name}/probe.txt");
            out.not_judged(CODE, name, Gap::new(what, GapReason::NotAsked, why));
            continue;
        }
        let mut finding = finding(context, name, condition);
        if finding.remedy.is_some() {
            let (remedy, why) = context.rewriting(name, RemedyName::RestoreConflist);
            finding.remedy = remedy;
            finding.evidence.extend(why.map(|why| Evidence::new(name, why)));
        }
        out.report(finding);
    }
}

/// True when the directory was listed and holds nothing that a runtime would load, while calico-node, whose init container
/// writes there, runs. The kubelet reports that only with its next status, up to ten seconds later.
fn is_bare(context: &Context<'_>, node: &str) -> bool {
    let listing = context.config_files(node).and_then(|facts| facts.cni_config_dir.as_ref());
    context.running_calico_node(node).is_some()
        && listing.known().is_some_and(|files| !files.iter().any(is_configuration))
}

/// True when pods had a network there, and calico-node will not come up to write the file again.
fn is_lost(context: &Context<'_>, node: &str) -> bool {
    context.calico_node_can_start(node).is_err() && context.has_had_a_network(node)
}

/// True when a configuration is younger than the kubelet's last report, and the next report is due any moment.
fn was_just_written(context: &Context<'_>, node: &str, condition: &NodeCondition) -> bool {
    let listing = context.config_files(node).and_then(|facts| facts.cni_config_dir.as_ref());
    let files = listing.known().into_iter().flat_map(|all| all.iter());
    let newest = files.filter(|it| is_configuration(it)).filter_map(|it| it.modified).max();
    let reported = condition.last_heartbeat_time.max(condition.last_transition_time);
    newest.is_some_and(|newest| {
        reported.is_some_and(|reported| reported < newest)
            && context.now.duration_since(newest) < REPORT
    })
}

/// True when the file that the runtime reads first is of no use to it: then it takes none of the others either.
fn reads_nonsense_first(context: &Context<'_>, node: &str) -> bool {
    let all = context.configurations(node);
    let first = all.known().and_then(|all| all.first());
    first.is_some_and(|it| it.problem.is_some() && it.is_read())
}

/// False when the directory was listed, and no configuration in it is Calico's.
fn has_calicos(context: &Context<'_>, node: &str) -> bool {
    let all = context.configurations(node);
    all.known().is_none_or(|all| all.iter().any(|it| it.is_calico()))
}

/// The Ready condition, when it says that the runtime has no network configuration.
fn uninitialized(node: &Node) -> Option<&NodeCondition> {
    let ready = node.condition("Ready")?;
    let named = SIGNATURES.iter().any(|text| ready.message.contains(text));
    (ready.status == "False" && named).then_some(ready)
}

fn finding(context: &Context<'_>, node: &str, condition: Option<&NodeCondition>) -> Finding {
    let listing = context.config_files(node).and_then(|facts| facts.cni_config_dir.as_ref());
    let (key, text, confidence) = match &listing {
        Known::Known(files) if files.iter().any(is_configuration) && has_calicos(context, node) => {
            (
                "not-loaded",
                "a configuration is there, but the container runtime does not see it".to_owned(),
                Confidence::Certain,
            )
        }
        Known::Known(_) | Known::Absent => (
            "missing",
            format!("/etc/cni/net.d holds no configuration of Calico; {CONFLIST_NAME} is gone"),
            Confidence::Certain,
        ),
        Known::Unknown(_) => (
            "missing",
            format!("the container runtime finds no CNI configuration, such as {CONFLIST_NAME}"),
            Confidence::Likely,
        ),
    };
    let title = match key {
        "not-loaded" => format!("the CNI configuration is not loaded on {node}"),
        _ => format!("the CNI configuration is missing on {node}"),
    };
    let mut finding =
        Finding::new(CODE, Severity::Critical, Subject::nodes([node]), title, Cause { key, text });
    finding.confidence = confidence;
    finding.remedy = (key == "missing").then_some(RemedyName::RestartCalicoNode);
    if let Known::Known(files) = listing {
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        finding.evidence.push(Evidence::new(format!("{node}: ls /etc/cni/net.d"), names.join(" ")));
    }
    let source = || format!("{node}: condition Ready");
    finding.evidence.extend(condition.map(|it| Evidence::new(source(), &it.message)));
    finding
}

/// What a container runtime would load.
fn is_configuration(file: &FileEntry) -> bool {
    [".conf", ".conflist", ".json"].iter().any(|end| file.name.ends_with(end))
}
