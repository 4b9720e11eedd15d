//! CAL-CNI-005.

use std::collections::BTreeMap;

use crate::calico::names::CNI_BINARIES;
use crate::checks::Context;
use crate::checks::pod::hanging::Hanging;
use crate::checks::pod::kubelet_text::TextCause;
use crate::checks::pod::said::{place, quote, said};
use crate::findings::{Cause, Code, Confidence, Evidence, Finding, Findings, Severity, Subject};
use crate::snapshot::{FileEntry, RuntimeConfig};

const CODE: Code = Code("CAL-CNI-005");

check! {
    /// # The container runtime looks for plugins in another directory
    ///
    /// ## What it detects
    /// The container runtime does not find Calico's plugins because it looks somewhere else than where calico-node's installer
    /// puts them: Debian's containerd looks in /usr/lib/cni, Fedora's in /usr/libexec/cni, and others have directories of
    /// their own. No pod can start or stop there, and writing the binaries again changes nothing. The same for the
    /// directory of network configurations.
    ///
    /// ## How sure
    /// Where the runtime looked stands in the kubelet's text, or in its configuration where a probe of the host read it; where
    /// the installer writes, in calico-node's DaemonSet (volumes cni-bin-dir and cni-net-dir), /opt/cni/bin and
    /// /etc/cni/net.d unless it says otherwise. Certain when the binaries were seen there, else likely. A runtime
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

/// On a node, where the runtime looks, and who says so.
struct Elsewhere<'a> {
    node: &'a str,
    /// For plugins, or for their configuration.
    key: &'static str,
    /// Where it looks.
    path: String,
    certain: bool,
    evidence: Vec<Evidence>,
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let texts = said(context, |cause| looked_in(context, cause).is_some());
    let mut groups: BTreeMap<(&'static str, String), Vec<Elsewhere<'_>>> = BTreeMap::new();
    for node in context.linux_nodes() {
        let name = node.metadata.name.as_str();
        let hanging = texts.get(name).map_or(&[] as &[Hanging<'_>], Vec::as_slice);
        let plugins = from_texts(context, name, hanging).or_else(|| configured(context, name));
        for one in plugins
            .into_iter()
            .chain(configured_elsewhere(context, name).map(|it| config(name, it)))
        {
            groups.entry((one.key, one.path.clone())).or_default().push(one);
        }
    }
    for ((key, path), nodes) in groups {
        out.report(finding(context, key, &path, nodes));
    }
}

/// Where the runtime looked for one of Calico's plugins, when that is not where they are.
fn looked_in<'a>(context: &Context<'_>, cause: &'a TextCause) -> Option<&'a str> {
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

fn from_texts<'a>(
    context: &Context<'_>,
    node: &'a str,
    hanging: &[Hanging<'_>],
) -> Option<Elsewhere<'a>> {
    let path = hanging.iter().find_map(|one| looked_in(context, &one.cause))?.to_owned();
    let seen = context.plugins(node);
    let there = |files: &&[FileEntry]| {
        CNI_BINARIES.iter().all(|name| files.iter().any(|file| file.name == *name))
    };
    let certain = seen.known().is_some_and(there);
    let mut evidence = quote(hanging);
    if certain {
        let source = format!("{node}: ls {}", context.bin_dir());
        evidence.push(Evidence::new(source, CNI_BINARIES.join(" ")));
    }
    Some(Elsewhere { node, key: "bin-dir", path, certain, evidence })
}

/// What the runtime's configuration says, when no pod hangs yet. Files that name no directory leave the usual one.
fn configured<'a>(context: &Context<'_>, node: &'a str) -> Option<Elsewhere<'a>> {
    let file = told(context, node, |it| &it.bin_dirs, |dir| context.looks_where_plugins_are(dir))?;
    let path = file.bin_dirs.join(" ");
    let evidence = vec![Evidence::new(format!("{node}: {}", file.file), &path)];
    Some(Elsewhere { node, key: "bin-dir", path, certain: false, evidence })
}

/// The runtime's configuration file, when it looks for network configurations elsewhere than calico-node writes them.
pub(super) fn configured_elsewhere<'a>(
    context: &Context<'a>,
    node: &str,
) -> Option<&'a RuntimeConfig> {
    let ours = context.config_dir();
    told(context, node, |it| &it.conf_dirs, |dir| dir.trim_end_matches('/') == ours)
}

fn config<'a>(node: &'a str, file: &RuntimeConfig) -> Elsewhere<'a> {
    let path = file.conf_dirs.join(" ");
    let evidence = vec![Evidence::new(format!("{node}: {}", file.file), &path)];
    Elsewhere { node, key: "conf-dir", path, certain: false, evidence }
}

/// The last file that names directories, when no file names one that is right.
fn told<'a>(
    context: &Context<'a>,
    node: &str,
    directories: impl Fn(&RuntimeConfig) -> &Vec<String>,
    is_right: impl Fn(&str) -> bool,
) -> Option<&'a RuntimeConfig> {
    let files = context.runtime_files(node);
    let right = files.iter().any(|it| directories(it).iter().any(|dir| is_right(dir)));
    files.into_iter().rfind(|it| !right && !directories(it).is_empty())
}

fn finding(
    context: &Context<'_>,
    key: &'static str,
    path: &str,
    all: Vec<Elsewhere<'_>>,
) -> Finding {
    let nodes: Vec<&str> = all.iter().map(|it| it.node).collect();
    let (what, text) = if key == "bin-dir" {
        (
            "CNI plugins",
            format!("calico-node's installer writes Calico's plugins to {}", context.bin_dir()),
        )
    } else {
        (
            "CNI configurations",
            format!("calico-node's installer writes Calico's to {}", context.config_dir()),
        )
    };
    let mut finding = Finding::new(
        CODE,
        Severity::Critical,
        Subject::nodes(nodes.iter().copied()),
        format!("the container runtime looks for {what} in {path} on {}", place(&nodes)),
        Cause { key, text },
    );
    if !all.iter().all(|it| it.certain) {
        finding.confidence = Confidence::Likely;
    }
    finding.evidence = all.into_iter().flat_map(|it| it.evidence).collect();
    finding
}
