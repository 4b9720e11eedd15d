//! CAL-CNI-005.

use std::collections::{BTreeMap, BTreeSet};

use crate::calico::names::{CNI_BIN_DIR, CNI_BINARIES};
use crate::checks::Context;
use crate::checks::pod::hanging::Hanging;
use crate::checks::pod::kubelet_text::TextCause;
use crate::checks::pod::said::{place, quote, said};
use crate::findings::{Cause, Code, Confidence, Evidence, Finding, Findings, Severity, Subject};

const CODE: Code = Code("CAL-CNI-005");

check! {
    /// # The container runtime looks for plugins in another directory
    ///
    /// ## What it detects
    /// The container runtime does not find Calico's plugins because it looks somewhere else than where calico-node's installer
    /// puts them: Debian's containerd looks in /usr/lib/cni, Fedora's in /usr/libexec/cni, and others have directories of
    /// their own. No pod can start or stop there, and writing the binaries again changes nothing.
    ///
    /// ## How sure
    /// Where the runtime looked stands in the kubelet's text; where the installer writes, in calico-node's DaemonSet (volume
    /// cni-bin-dir), /opt/cni/bin unless it says otherwise. Certain when the binaries were seen there, else likely. A runtime
    /// that looks in several directories is right as long as one of them is it. Two directories of k3s count as one:
    /// its names change with every release.
    ///
    /// ## What it looks like
    /// `plugin type="calico" failed (add): failed to find plugin "calico" in path [/usr/lib/cni]`
    ///
    /// ## What to do
    /// Make the two agree: `bin_dir` (containerd 2: `bin_dirs`) in /etc/containerd/config.toml or `plugin_dirs` of CRI-O, then
    /// restart the runtime, which leaves containers running; or the installer's directory: the DaemonSet's hostPath, with
    /// the operator `spec.cni.binDir` of the Installation.
    ///
    /// ## What not to do
    /// Copying or linking the binaries into the other directory: the next upgrade of Calico leaves the old ones there.
    RUNTIME_LOOKS_ELSEWHERE: "CAL-CNI-005", "the container runtime looks for plugins elsewhere", "cni", Critical,
    needs [Nodes, Pods, Events], fix Manual, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let texts = said(context, |cause| elsewhere(context, cause).is_some());
    let mut groups: BTreeMap<String, Vec<&Hanging<'_>>> = BTreeMap::new();
    for one in texts.values().flatten() {
        if let Some(path) = elsewhere(context, &one.cause) {
            groups.entry(path.to_owned()).or_default().push(one);
        }
    }
    for (path, hanging) in groups {
        out.report(finding(context, &path, &hanging));
    }
}

/// Where the runtime looked for one of Calico's plugins, when that is not where they are.
fn elsewhere<'a>(context: &Context<'_>, cause: &'a TextCause) -> Option<&'a str> {
    match cause {
        TextCause::PluginMissing { plugin, path }
            if CNI_BINARIES.contains(&plugin.as_str())
                && !context.looks_where_plugins_are(path) =>
        {
            Some(path)
        }
        _ => None,
    }
}

/// The binaries that the probe saw on `node`; it lists the usual directory only.
fn seen(context: &Context<'_>, node: &str) -> Option<Evidence> {
    let facts = context.snapshot.host(node).and_then(|it| it.cni_bin_dir.as_ref());
    let files = facts.known().filter(|_| context.bin_dir() == CNI_BIN_DIR)?;
    let there = CNI_BINARIES.iter().all(|name| files.iter().any(|file| file.name == *name));
    let source = format!("{node}: ls {CNI_BIN_DIR}");
    there.then(|| Evidence::new(source, CNI_BINARIES.join(" ")))
}

fn finding(context: &Context<'_>, path: &str, hanging: &[&Hanging<'_>]) -> Finding {
    let nodes: BTreeSet<&str> = hanging.iter().map(|it| it.pod.spec.node_name.as_str()).collect();
    let nodes: Vec<&str> = nodes.into_iter().collect();
    let ours = context.bin_dir();
    let mut finding = Finding::new(
        CODE,
        Severity::Critical,
        Subject::nodes(nodes.iter().copied()),
        format!("the container runtime looks for CNI plugins in {path} on {}", place(&nodes)),
        Cause {
            key: "bin-dir",
            text: format!("calico-node's installer writes Calico's plugins to {ours}"),
        },
    );
    let seen: Vec<Evidence> = nodes.iter().filter_map(|node| seen(context, node)).collect();
    if seen.len() < nodes.len() {
        finding.confidence = Confidence::Likely;
    }
    finding.evidence = quote(hanging.iter().copied());
    finding.evidence.extend(seen);
    finding
}
