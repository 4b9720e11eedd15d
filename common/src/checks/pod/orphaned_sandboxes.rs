//! CAL-POD-003.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::sandboxes_of;
use crate::calico::names::OURS;
use crate::calico::veth;
use crate::checks::Context;
use crate::findings::{Cause, Code, Evidence, Finding, Findings, Severity, Subject, SubjectKind};
use crate::plan::RemedyName;
use crate::snapshot::{HostFacts, Link, Sandbox};

const CODE: Code = Code("CAL-POD-003");

/// A kubelet that works removes the sandboxes of a deleted pod within seconds.
const PATIENCE: SignedDuration = SignedDuration::from_secs(120);

/// Sandboxes that are shown one by one.
const SHOWN: usize = 5;

check! {
    /// # Pod sandboxes are left on a node although their pods no longer exist
    ///
    /// ## What it detects
    /// Sandboxes that the container runtime of a node still holds, although the API knows no pod with their uid: their
    /// interfaces, addresses and sometimes processes live on. It happens when pods are deleted by force while CNI DEL
    /// fails, or while the kubelet is down.
    ///
    /// ## How sure
    /// Certain. It needs a look at the host (`check --probe`), and all pods of the cluster. Static pods are known by
    /// their manifest's hash, sandboxes younger than two minutes are left alone, and so are this tool's own. A sandbox
    /// that has stopped, and whose interface `cali…` is gone, holds nothing any more: the kubelet forgets it within a
    /// few minutes, and it is not reported.
    ///
    /// ## What it looks like
    /// `crictl pods` lists `web-1 shop NotReady`, and `kubectl get pod -n shop web-1` says NotFound
    ///
    /// ## What to do
    /// Repair first what makes CNI DEL fail: the kubelet then removes most of them by itself within a few minutes.
    /// `kubectl calico-doctor fix CAL-POD-003` stops and removes the others, exactly those that are listed.
    ///
    /// ## What not to do
    /// `crictl rmp -a -f` and `crictl ps -a -q | xargs crictl stopp`: the first also kills healthy pods, the second
    /// gives ids of containers to a command that wants ids of sandboxes. Removing records with `ctr` leaks the network
    /// namespace and the interface.
    ORPHANED_SANDBOXES: "CAL-POD-003", "sandboxes of pods that no longer exist", "pods", Warning,
    needs [Pods, Hosts], fix Ask, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    if !context.snapshot.pods.is_whole() {
        return;
    }
    let known = known_uids(context);
    for (node, host, sandboxes) in sandboxes_of(context, CODE, out) {
        let orphans: Vec<&Sandbox> =
            sandboxes.iter().filter(|it| is_orphan(context, host, &known, it)).collect();
        if !orphans.is_empty() {
            out.report(finding(context, node, host, &orphans));
        }
    }
}

/// Uids of all pods; those of static pods as the runtime knows them.
fn known_uids<'a>(context: &Context<'a>) -> BTreeSet<&'a str> {
    let hashes = ["kubernetes.io/config.hash", "kubernetes.io/config.mirror"];
    let pods = &context.snapshot.pods.items;
    pods.iter()
        .flat_map(|pod| {
            let annotations = &pod.metadata.annotations;
            let hashes = hashes.iter().filter_map(|key| annotations.get(*key));
            std::iter::once(&pod.metadata.uid).chain(hashes).map(String::as_str)
        })
        .collect()
}

fn is_orphan(
    context: &Context<'_>,
    host: &HostFacts,
    known: &BTreeSet<&str>,
    sandbox: &Sandbox,
) -> bool {
    // The uid of a static pod is a hash of its manifest: the API may know no mirror of a pod that is to live.
    let is_static = !sandbox.uid.contains('-');
    !known.contains(sandbox.uid.as_str())
        && !sandbox.uid.is_empty()
        && !is_static
        && sandbox.managed_by != OURS
        && !is_only_a_record(host, sandbox)
        && age(context, host, sandbox).is_some_and(|age| age >= PATIENCE)
}

/// What is left of a pod that was torn down: its processes and its interface are gone. Without a list of interfaces nobody
/// can tell, and a sandbox that cannot be torn down keeps its own.
fn is_only_a_record(host: &HostFacts, sandbox: &Sandbox) -> bool {
    let name = veth::of_pod(&sandbox.namespace, &sandbox.name);
    let has_no_link = |links: &Vec<Link>| !links.iter().any(|link| link.name == name);
    !sandbox.ready && host.links.known().is_some_and(has_no_link)
}

/// How long the sandbox had been there when the pods were listed: a pod made later is missing from the list.
fn age(context: &Context<'_>, host: &HostFacts, sandbox: &Sandbox) -> Option<SignedDuration> {
    let seen: Timestamp = host.time.known().copied().unwrap_or(context.now);
    let listed = context.snapshot.pods.at.unwrap_or(context.now);
    let since_listed = context.now.duration_since(listed).max(SignedDuration::ZERO);
    Some(seen.duration_since(sandbox.created?) - since_listed)
}

fn finding(context: &Context<'_>, node: &str, host: &HostFacts, orphans: &[&Sandbox]) -> Finding {
    let count = orphans.len();
    let what = if count == 1 { "sandbox is" } else { "sandboxes are" };
    let running: usize = orphans.iter().filter_map(|it| it.running).sum();
    let mut text =
        "the API knows no pod with their uid; interfaces and addresses live on".to_owned();
    if running > 0 {
        let word = if running == 1 { "container" } else { "containers" };
        text.push_str(&format!(", and {running} {word} still run"));
    }
    let mut finding = Finding::new(
        CODE,
        Severity::Warning,
        Subject::of(
            SubjectKind::Object,
            orphans.iter().map(|it| format!("Sandbox/{node}/{}", it.id)),
        ),
        format!("{count} pod {what} left on {node} without a pod"),
        Cause { key: "pod-gone", text },
    );
    finding.nodes = vec![node.to_owned()];
    finding.remedy = Some(RemedyName::FreeSandboxes);
    finding.evidence = evidence(context, node, host, orphans);
    finding
}

fn evidence(
    context: &Context<'_>,
    node: &str,
    host: &HostFacts,
    orphans: &[&Sandbox],
) -> Vec<Evidence> {
    let line = |it: &&&Sandbox| {
        let short: String = it.id.chars().take(13).collect();
        let state = if it.ready { "ready" } else { "not ready" };
        let minutes = age(context, host, it).map_or(0, |age| age.as_mins());
        format!("{}/{} (sandbox {short}, {state}, {minutes} min old)", it.namespace, it.name)
    };
    let mut shown: Vec<String> = orphans.iter().take(SHOWN).map(|it| line(&it)).collect();
    if orphans.len() > SHOWN {
        shown.push(format!("and {} more", orphans.len() - SHOWN));
    }
    vec![Evidence::new(format!("{node}: crictl pods"), shown.join(", "))]
}
