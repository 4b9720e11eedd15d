//! CAL-POD-004.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::sandboxes_of;
use crate::calico::veth;
use crate::checks::Context;
use crate::findings::{
    Cause, Code, Confidence, Evidence, Finding, Findings, Severity, Subject, SubjectKind,
};
use crate::plan::RemedyName;
use crate::snapshot::{HostFacts, Known, Link, Sandbox};

const CODE: Code = Code("CAL-POD-004");

/// An interface is made a moment before its sandbox is listed.
const PATIENCE: SignedDuration = SignedDuration::from_secs(120);

/// Names that are shown.
const SHOWN: usize = 8;

check! {
    /// # Interfaces or network namespaces of pods that no longer exist are left on a node
    ///
    /// ## What it detects
    /// Interfaces `cali…` that belong neither to a pod of the node nor to a sandbox of its container runtime, and more
    /// network namespaces in /run/netns than there are sandboxes. They cost memory, and Felix keeps looking at them;
    /// a new pod of the same name gets its interface anew. It is what removing containers behind the runtime's back leaves.
    ///
    /// ## How sure
    /// Likely. The name of an interface is a hash of its pod's namespace and name, so each one is compared with all pods
    /// of the node and all sandboxes. It needs a look at the host (`check --probe`). Interfaces of another prefix
    /// (interfacePrefix) and such as are younger than two minutes are not judged; of network namespaces only their number is.
    ///
    /// ## What it looks like
    /// `ip link` shows `cali241f3e498fa@if2` and `crictl pods` has no pod whose name gives 241f3e498fa
    ///
    /// ## What to do
    /// `kubectl calico-doctor fix CAL-POD-004` removes the interfaces, unless a process still lives at their other end. For a
    /// namespace, on the node: `umount /run/netns/cni-…` and removing that file. A reboot
    /// removes them all.
    ///
    /// ## What not to do
    /// Deleting all interfaces `cali*`: those of living pods are among them, and nothing brings those back but new pods.
    LEAKED_LINKS: "CAL-POD-004", "interfaces of pods that no longer exist", "pods", Warning,
    needs [Pods, Hosts], fix Ask, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    if !context.snapshot.pods.is_whole() {
        return;
    }
    for (node, host, sandboxes) in sandboxes_of(context, CODE, out) {
        let links = match &host.links {
            Known::Known(links) => leaked_links(context, node, host, sandboxes, links),
            Known::Absent => Vec::new(),
            Known::Unknown(gap) => {
                out.not_judged(CODE, node, gap.clone());
                Vec::new()
            }
        };
        let namespaces = surplus_namespaces(host, sandboxes);
        if !links.is_empty() || namespaces > 0 {
            out.report(finding(node, &links, namespaces));
        }
    }
}

fn leaked_links<'a>(
    context: &Context<'_>,
    node: &str,
    host: &HostFacts,
    sandboxes: &[Sandbox],
    links: &'a [Link],
) -> Vec<&'a Link> {
    let pods = context.snapshot.pods.items.iter().filter(|pod| pod.spec.node_name == node);
    let of_pods = pods.map(|pod| veth::of_pod(&pod.metadata.namespace, &pod.metadata.name));
    let of_sandboxes = sandboxes.iter().map(|it| veth::of_pod(&it.namespace, &it.name));
    let living: BTreeSet<String> = of_pods.chain(of_sandboxes).collect();
    let is_leaked = |link: &&Link| {
        link.kind == "veth"
            && veth::is_one(&link.name)
            && !living.contains(&link.name)
            && is_old(context, host, link)
    };
    links.iter().filter(is_leaked).collect()
}

/// An interface is as old as the namespace that its other end is in. Of one in no named namespace nothing is known.
fn is_old(context: &Context<'_>, host: &HostFacts, link: &Link) -> bool {
    let namespace = || {
        let name = host.namespace_ids.known()?.get(&link.peer_namespace?)?;
        host.network_namespaces.known()?.iter().find(|file| &file.name == name)
    };
    let seen = host.time.known().copied().unwrap_or(context.now);
    namespace()
        .and_then(|file| file.modified)
        .is_some_and(|made| seen.duration_since(made) >= PATIENCE)
}

/// By how much the CNI's network namespaces outnumber the sandboxes: host-network sandboxes have none, so there may be more.
fn surplus_namespaces(host: &HostFacts, sandboxes: &[Sandbox]) -> usize {
    let Known::Known(files) = &host.network_namespaces else { return 0 };
    files
        .iter()
        .filter(|file| file.name.starts_with("cni-"))
        .count()
        .saturating_sub(sandboxes.len())
}

fn finding(node: &str, links: &[&Link], namespaces: usize) -> Finding {
    let (key, title) = match links.len() {
        0 => ("namespaces", format!("network namespaces of no pod are left on {node}")),
        1 => ("links", format!("1 interface of no pod is left on {node}")),
        count => ("links", format!("{count} interfaces of no pod are left on {node}")),
    };
    let text = match namespaces {
        0 => "no pod of the node and no sandbox has an interface of such a name".to_owned(),
        1 => "at least 1 network namespace belongs to no sandbox".to_owned(),
        count => format!("at least {count} network namespaces belong to no sandbox"),
    };
    let names = links.iter().map(|link| format!("Link/{node}/{}", link.name));
    let subject = match links.len() {
        0 => Subject::nodes([node]),
        _ => Subject::of(SubjectKind::Object, names),
    };
    let mut finding = Finding::new(CODE, Severity::Warning, subject, title, Cause { key, text });
    finding.nodes = vec![node.to_owned()];
    // Of namespaces only the number is known.
    finding.remedy = (!links.is_empty()).then_some(RemedyName::RemoveLeakedLinks);
    finding.confidence = Confidence::Likely;
    if !links.is_empty() {
        let mut names: Vec<String> =
            links.iter().take(SHOWN).map(|link| link.name.clone()).collect();
        if links.len() > SHOWN {
            names.push(format!("and {} more", links.len() - SHOWN));
        }
        finding.evidence.push(Evidence::new(format!("{node}: ip link"), names.join(" ")));
    }
    finding
}
