//! CAL-CNI-003.

use std::collections::BTreeMap;

use super::other_networks::{calls_only_chained, delegates_to_calico, is_multus, living_owner};
use crate::calico::names::CONFLIST_NAME;
use crate::checks::Context;
use crate::checks::pod::kubelet_text::TextCause;
use crate::checks::pod::said::{place, quote, said};
use crate::findings::{Cause, Code, Confidence, Evidence, Finding, Findings, Severity, Subject};
use crate::plan::RemedyName;
use crate::snapshot::{ConfigurationProblem, Gap, GapReason, Known, NetworkConfiguration};

const CODE: Code = Code("CAL-CNI-003");

check! {
    /// # Another network plugin's configuration comes before Calico's
    ///
    /// ## What it detects
    /// Container runtimes take the first `*.conf`, `*.conflist` or `*.json` of /etc/cni/net.d, in the byte order of the
    /// names, as the pod network. On the nodes named, that is not Calico's: `05-cilium.conflist` and `10-aws.conflist`
    /// come before `10-calico.conflist`, `10-flannel.conflist` and `87-podman.conflist` after it, which only matters
    /// when Calico's own file is gone. New pods then get a network that nobody else knows, or none at all.
    ///
    /// ## How sure
    /// Certain when the directory was listed and the files could be read. Multus is meant to come first: it is left alone
    /// when it delegates to Calico, and not judged when that cannot be seen. Plugins that are chained after Calico's in
    /// the same file (istio-cni, linkerd-cni, cilium-cni, portmap) are no other network. Installs where another plugin
    /// makes the network and Calico only the policy have no configuration of Calico, and are left alone.
    ///
    /// ## What it looks like
    /// `plugin type="cilium-cni" failed (add): unable to connect to Cilium agent`
    /// `plugin type="flannel" failed (add): loadFlannelSubnetEnv failed: open /run/flannel/subnet.env: no such file or directory`
    /// Or nothing at all: pods run, with addresses of no pool of Calico.
    ///
    /// ## What to do
    /// `kubectl calico-doctor fix CAL-CNI-003` renames the file, so that nobody reads it, and deletes nothing. It does not
    /// do so where pods of the other plugin still run: decide first which of the two is to go, and uninstall it.
    ///
    /// ## What not to do
    /// Emptying /etc/cni/net.d, or removing the directory: Multus' and other plugins' files go with it, and containerd
    /// stops watching a directory that was removed.
    OTHER_NETWORK_FIRST: "CAL-CNI-003", "another network plugin's configuration comes first", "cni", Critical,
    needs [Nodes, Pods, Events, Install, Hosts], fix Ask, run
}

/// What stands before Calico's configuration, or in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// A configuration that no living plugin owns.
    Leftover,
    /// A configuration whose plugin runs on the node.
    InUse,
    /// A file that no runtime can use.
    Unusable,
    /// A configuration of plugins that only work behind another.
    OnlyChained,
    /// Calico's configuration is gone, and the runtime took the next one.
    InPlaceOfCalicos,
}

fn run(context: &Context<'_>, out: &mut Findings) {
    // Without an install of Calico, other plugins' files are nobody's business here.
    if context.snapshot.install.known().is_none() {
        return;
    }
    let mut groups: BTreeMap<(Fault, String, bool), Vec<&str>> = BTreeMap::new();
    for node in context.linux_nodes() {
        let name = node.metadata.name.as_str();
        match judge(context, name) {
            Known::Known((fault, file)) => {
                // Another repair is another finding.
                let restarts = context.calico_node_can_start(name).is_ok();
                let apart = fault == Fault::InPlaceOfCalicos && !restarts;
                groups.entry((fault, file.file.clone(), apart)).or_default().push(name);
            }
            Known::Absent => {}
            Known::Unknown(gap) => out.not_judged(CODE, name, gap),
        }
    }
    for ((fault, file, _), nodes) in groups {
        out.report(finding(context, fault, &file, &nodes));
    }
}

/// What is wrong with the order on `node`, and the file that comes first; absent when nothing is.
fn judge<'a>(context: &Context<'a>, node: &str) -> Known<(Fault, &'a NetworkConfiguration)> {
    let all = match context.configurations(node) {
        Known::Known(all) => all,
        Known::Absent => return Known::Absent,
        Known::Unknown(gap) => return Known::Unknown(gap),
    };
    let Some(first) = all.first().copied() else { return Known::Absent };
    if first.is_calico() || takes_calicos_by_name(context, node, &all) {
        return Known::Absent;
    }
    let has_calico = all.iter().any(|it| it.is_calico());
    if !has_calico && !lost_calicos(context, node) {
        return Known::Absent;
    }
    if let Some(ConfigurationProblem::NotRead(gap)) = &first.problem {
        return Known::Unknown(gap.clone());
    }
    if is_multus(first) {
        return if delegates_to_calico(first, &all) {
            Known::Absent
        } else {
            Known::Unknown(Gap::new(
                format!("nodes/{node}/probe.txt#conf-{}", first.file),
                GapReason::NotAsked,
                "Multus comes first, and to which network it delegates is not to be seen there",
            ))
        };
    }
    let fault = if !has_calico {
        Fault::InPlaceOfCalicos
    } else if first.problem.is_some() {
        Fault::Unusable
    } else if calls_only_chained(first) {
        Fault::OnlyChained
    } else if living_owner(context, node, first).is_some() {
        Fault::InUse
    } else {
        Fault::Leftover
    };
    Known::Known((fault, first))
}

/// True when the runtime is told the network's name (CRI-O's `cni_default_network`): the order of files is nothing to it then.
fn takes_calicos_by_name(context: &Context<'_>, node: &str, all: &[&NetworkConfiguration]) -> bool {
    let named =
        |name: &str| all.iter().any(|it| it.is_calico() && it.network.as_deref() == Some(name));
    context.runtime_files(node).iter().any(|it| it.default_network.as_deref().is_some_and(named))
}

/// True when `node` should have a configuration of Calico, as other nodes do, and calico-node is not on its way to write it.
fn lost_calicos(context: &Context<'_>, node: &str) -> bool {
    let elsewhere = |(name, facts): (&String, &Known<crate::snapshot::HostFacts>)| {
        let files = facts.known().and_then(|it| it.conflists.known());
        name != node && files.is_some_and(|all| all.iter().any(NetworkConfiguration::is_calico))
    };
    // Where the runtime takes nothing at all, the missing configuration is the fault, not what took its place.
    let is_ready = context.node_ready(node).is_some_and(|ready| ready.status == "True");
    let written = context.running_calico_node(node).is_some()
        || (context.calico_node_can_start(node).is_err() && context.has_had_a_network(node));
    is_ready && written && context.snapshot.hosts.iter().any(elsewhere)
}

fn finding(context: &Context<'_>, fault: Fault, file: &str, nodes: &[&str]) -> Finding {
    let mut texts = said(context, |cause| {
        matches!(
            cause,
            TextCause::OtherPlugin { .. }
                | TextCause::PluginMissing { .. }
                | TextCause::NotInitialized
                | TextCause::NoNetworkInfo
        )
    });
    let hangs = nodes.iter().any(|node| texts.contains_key(node));
    let at = place(nodes);
    let title = match fault {
        Fault::InPlaceOfCalicos => {
            format!("{file} has taken the place of Calico's CNI configuration on {at}")
        }
        Fault::Unusable => {
            format!("{file}, which makes no sense, comes before Calico's CNI configuration on {at}")
        }
        _ => format!("{file} comes before Calico's CNI configuration on {at}"),
    };
    let severity = match fault {
        Fault::InUse if !hangs => Severity::Error,
        _ => Severity::Critical,
    };
    let mut finding = Finding::new(
        CODE,
        severity,
        Subject::nodes(nodes.iter().copied()),
        title,
        cause(context, fault, file, nodes),
    );
    if fault == Fault::InUse {
        finding.confidence = Confidence::Likely;
    }
    finding.consequence = match (fault, hangs) {
        (_, true) => String::new(),
        (Fault::Unusable, _) => {
            "containerd refuses the whole directory the next time it reads it".to_owned()
        }
        _ => "pods that start there get another network than Calico's, or none".to_owned(),
    };
    for node in nodes {
        finding.evidence.push(order(context, node));
        finding.evidence.extend(quote(&texts.remove(node).unwrap_or_default()));
    }
    finding.remedy = remedy(context, fault, file, nodes);
    finding
}

fn cause(context: &Context<'_>, fault: Fault, file: &str, nodes: &[&str]) -> Cause {
    let first = nodes.iter().find_map(|node| {
        let all = context.configurations(node);
        all.known().and_then(|all| all.iter().find(|it| it.file == file).copied())
    });
    let plugins = first.map(|it| it.plugins.join(", ")).unwrap_or_default();
    let owner = || {
        let pod = nodes.iter().find_map(|node| living_owner(context, node, first?));
        pod.map(crate::slim::Pod::full_name).unwrap_or_default()
    };
    let (key, text) = match fault {
        Fault::Leftover => (
            "leftover",
            format!("it calls {plugins}; no pod of that plugin runs there, so it was left behind"),
        ),
        Fault::InUse => (
            "in-use",
            format!(
                "it calls {plugins}, and that plugin runs there ({}): two plugins are installed",
                owner()
            ),
        ),
        Fault::Unusable => (
            "unusable",
            "it is no network configuration, and the runtime reads it first".to_owned(),
        ),
        Fault::OnlyChained => (
            "only-chained",
            format!("it calls {plugins}, which only work behind another plugin, in its file"),
        ),
        Fault::InPlaceOfCalicos => (
            "calico-missing",
            format!(
                "Calico's own file is gone, and the runtime took the next one, which calls {plugins}"
            ),
        ),
    };
    Cause { key, text }
}

/// The files of a node in the order in which the runtime takes them.
fn order(context: &Context<'_>, node: &str) -> Evidence {
    let all = context.configurations(node);
    let files: Vec<String> = all
        .known()
        .into_iter()
        .flatten()
        .map(|it| {
            let what = match &it.problem {
                None => it.plugins.join(", "),
                Some(_) => "?".to_owned(),
            };
            format!("{} ({what})", it.file)
        })
        .collect();
    Evidence::new(format!("{node}: ls {}", context.config_dir()), files.join(" "))
}

fn remedy(context: &Context<'_>, fault: Fault, file: &str, nodes: &[&str]) -> Option<RemedyName> {
    match fault {
        // Whether the other plugin's pods run can only be told when all pods were seen.
        Fault::Leftover | Fault::Unusable if context.snapshot.pods.is_whole() => {
            Some(RemedyName::MoveAsideConfiguration)
        }
        // Written anew, Calico's file comes first again only before such a name.
        Fault::InPlaceOfCalicos if CONFLIST_NAME < file => {
            let first = nodes.first()?;
            context.rewriting(first, RemedyName::RestoreConflist).0
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{file, on_node};
    use super::*;

    const CALICO: &str = r#"{"name":"k8s-pod-network","plugins":[{"type":"calico"}]}"#;

    fn fault_of(files: &[(&str, &str)]) -> Known<(Fault, String)> {
        let snapshot = on_node("n1", files);
        let context = Context { snapshot: &snapshot, now: snapshot.taken };
        judge(&context, "n1").map(|(fault, file)| (fault, file.file.clone()))
    }

    #[test]
    fn what_comes_first_decides() {
        let cilium = r#"{"name":"cilium","plugins":[{"type":"cilium-cni"}]}"#;
        let leftover =
            fault_of(&[file("05-cilium.conflist", cilium), file("10-calico.conflist", CALICO)]);
        assert_eq!(leftover, Known::Known((Fault::Leftover, "05-cilium.conflist".into())));
        for after in [
            "10-flannel.conflist",
            "100-crio-bridge.conf",
            "99-loopback.conf",
            "87-podman.conflist",
        ] {
            let files = [file("10-calico.conflist", CALICO), file(after, r#"{"type":"bridge"}"#)];
            assert_eq!(fault_of(&files), Known::Absent, "{after}");
        }
        let broken = fault_of(&[file("00-x.conf", "{"), file("10-calico.conflist", CALICO)]);
        assert_eq!(broken, Known::Known((Fault::Unusable, "00-x.conf".into())));
        let chained = r#"{"plugins":[{"type":"linkerd-cni"}]}"#;
        let chained = fault_of(&[
            file("01-linkerd-cni.conflist", chained),
            file("10-calico.conflist", CALICO),
        ]);
        assert_eq!(chained, Known::Known((Fault::OnlyChained, "01-linkerd-cni.conflist".into())));
    }

    #[test]
    fn multus_may_come_first() {
        let multus = |text: &str| {
            fault_of(&[file("00-multus.conf", text), file("10-calico.conflist", CALICO)])
        };
        assert_eq!(
            multus(
                r#"{"type":"multus-shim","clusterNetwork":"/host/etc/cni/net.d/10-calico.conflist"}"#
            ),
            Known::Absent
        );
        assert_eq!(
            multus(
                r#"{"type":"multus","delegates":[{"name":"k8s-pod-network","plugins":[{"type":"calico"}]}]}"#
            ),
            Known::Absent
        );
        assert!(multus(r#"{"type":"multus","clusterNetwork":"other"}"#).gap().is_some());
    }

    #[test]
    fn our_own_file_and_chains_are_no_other_network() {
        let noop = r#"{"plugins":[{"type":"loopback"}]}"#;
        assert_eq!(
            fault_of(&[
                file("00-kubectl-calico-noop.conflist", noop),
                file("10-calico.conflist", CALICO)
            ]),
            Known::Absent
        );
        let chained = r#"{"plugins":[{"type":"calico"},{"type":"cilium-cni"}]}"#;
        assert_eq!(
            fault_of(&[file("05-cilium.conflist", chained), file("10-calico.conflist", CALICO)]),
            Known::Absent
        );
        // Calico for policy only: it has no file anywhere.
        assert_eq!(
            fault_of(&[file("10-aws.conflist", r#"{"plugins":[{"type":"aws-cni"}]}"#)]),
            Known::Absent
        );
    }
}
