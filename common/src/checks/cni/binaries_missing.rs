//! CAL-CNI-004.

use std::collections::{BTreeMap, BTreeSet};

use crate::calico::names::CNI_BINARIES;
use crate::checks::Context;
use crate::checks::pod::hanging::{Hanging, hanging};
use crate::checks::pod::kubelet_text::{TextCause, essence};
use crate::findings::{Cause, Code, Evidence, Finding, Findings, Severity, Subject};
use crate::plan::RemedyName;
use crate::snapshot::{FileEntry, Known};

const CODE: Code = Code("CAL-CNI-004");

check! {
    /// # CNI plugin binaries are missing on a node
    ///
    /// ## What it detects
    /// The container runtime does not find Calico's plugin (`calico`, `calico-ipam`) in its plugin directory: no pod
    /// can start or stop there. Node and calico-node stay Ready; neither looks at the binaries.
    ///
    /// ## How sure
    /// Certain. It rests on the listing of the plugin directory where a probe of the host holds one; else on the
    /// kubelet's texts about pods that hang now. calico-node's container cannot see that directory, so without hanging
    /// pods and without a probe of the host a missing binary stays unnoticed until the next pod starts.
    ///
    /// ## What it looks like
    /// `plugin type="calico" failed (add): failed to find plugin "calico" in path [/opt/cni/bin]`
    ///
    /// ## What to do
    /// `kubectl calico-doctor fix CAL-CNI-004`: it deletes the node's calico-node pod; the successor's init container
    /// copies the binaries anew. Where calico-node cannot start, they are copied from an image on the node, or from the
    /// release archive of the same version. Pods that hang heal by themselves within 20 s.
    ///
    /// ## What not to do
    /// Fetching binaries from the old cni-plugin repository, or of another version than the running Calico.
    BINARIES_MISSING: "CAL-CNI-004", "CNI plugin binaries are missing", "cni", Critical,
    needs [Nodes, Pods, Events], fix Safe, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let mut said: BTreeMap<&str, Vec<Hanging<'_>>> = BTreeMap::new();
    for one in hanging(context) {
        if is_ours(context, &one) {
            said.entry(one.pod.spec.node_name.as_str()).or_default().push(one);
        }
    }
    for node in context.linux_nodes() {
        let name = node.metadata.name.as_str();
        let texts = said.remove(name).unwrap_or_default();
        let finding = match context.plugins(name) {
            Known::Known(files) => from_listing(name, files, &texts),
            Known::Absent | Known::Unknown(_) => from_texts(name, &texts),
        };
        if let Some(mut finding) = finding {
            if finding.remedy.is_some() {
                let (remedy, why) = context.rewriting(name, RemedyName::RestoreBinaries);
                finding.remedy = remedy;
                finding.evidence.extend(why.map(|why| Evidence::new(name, why)));
            }
            out.report(finding);
        }
    }
}

/// False for a runtime that looks in another directory (CAL-CNI-005), for a plugin that only another network's
/// configuration asks for, because it comes first (CAL-CNI-003), and for one that nobody asks for any more.
fn is_ours(context: &Context<'_>, one: &Hanging<'_>) -> bool {
    let TextCause::PluginMissing { plugin, path } = &one.cause else { return false };
    if CNI_BINARIES.contains(&plugin.as_str()) {
        return context.looks_where_plugins_are(path);
    }
    let node = &one.pod.spec.node_name;
    let all = context.configurations(node);
    let first = all.known().and_then(|all| all.first());
    let of_another = first.is_some_and(|it| !it.is_calico() && it.plugins.contains(plugin));
    !of_another && context.calls(node, plugin) != Some(false)
}

fn from_listing(node: &str, files: &[FileEntry], texts: &[Hanging<'_>]) -> Option<Finding> {
    let is_there = |name: &str| files.iter().any(|file| file.name == name);
    let said = texts.iter().filter_map(|one| plugin(one).map(|(plugin, _)| plugin));
    let missing: BTreeSet<&str> =
        CNI_BINARIES.into_iter().chain(said).filter(|name| !is_there(name)).collect();
    if missing.is_empty() {
        return None;
    }
    let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
    let evidence = Evidence::new(format!("{node}: ls /opt/cni/bin"), names.join(" "));
    Some(finding(node, &missing, "/opt/cni/bin", [evidence].into_iter().chain(said_by(texts))))
}

fn from_texts(node: &str, texts: &[Hanging<'_>]) -> Option<Finding> {
    let (_, path) = texts.first().and_then(plugin)?;
    let missing = texts.iter().filter_map(|one| plugin(one).map(|(plugin, _)| plugin)).collect();
    Some(finding(node, &missing, path, said_by(texts)))
}

fn plugin<'a>(one: &'a Hanging<'_>) -> Option<(&'a str, &'a str)> {
    match &one.cause {
        TextCause::PluginMissing { plugin, path } => Some((plugin, path)),
        _ => None,
    }
}

/// One kubelet text is enough: they differ only in the pod.
fn said_by(texts: &[Hanging<'_>]) -> Option<Evidence> {
    let one = texts.first()?;
    let source = format!("event {} {}", one.event.reason, one.pod.full_name());
    Some(Evidence::new(source, essence(&one.event.message)))
}

fn finding(
    node: &str,
    missing: &BTreeSet<&str>,
    path: &str,
    evidence: impl IntoIterator<Item = Evidence>,
) -> Finding {
    let names: Vec<_> = missing.iter().copied().collect();
    let mut finding = Finding::new(
        CODE,
        Severity::Critical,
        Subject::nodes([node]),
        format!("CNI plugin binaries are missing on {node}"),
        Cause { key: "missing", text: format!("{} not found in {path}", names.join(", ")) },
    );
    // install-cni writes these two; others belong to another package.
    let ours = missing.iter().any(|name| CNI_BINARIES.contains(name));
    finding.remedy = ours.then_some(RemedyName::RestartCalicoNode);
    finding.evidence.extend(evidence);
    finding
}
