//! CAL-ACC-003.

use std::collections::BTreeMap;

use crate::checks::Context;
use crate::checks::pod::said::place;
use crate::findings::{Cause, Code, Evidence, Finding, Findings, Severity, Subject};
use crate::snapshot::{Gap, GapReason, Known};

/// Nodes whose own words are quoted.
const QUOTED: usize = 5;

check! {
    /// # A node could not be looked at
    ///
    /// ## What it detects
    /// Nodes whose probe was asked for and did not come: calico-node does not run there, so that nothing could be asked
    /// through it; no pod of ours was admitted or started; or the API server does not reach the kubelet. What lies in files
    /// of such a node (credentials, configuration, binaries) is unknown, and no fault there is not good news.
    ///
    /// ## How sure
    /// Certain; the reason is quoted for each node. Nodes whose kubelet is silent are left out, since nothing on them answers
    /// and that is a fault of its own, and so are refusals by RBAC (CAL-ACC-002) and nodes that nobody asked.
    ///
    /// ## What it looks like
    /// `calico-node pod kube-system/calico-node-x2x7k does not run: Pending`
    /// `pods "kubectl-calico-..." is forbidden: violates PodSecurity "restricted:latest"`
    ///
    /// ## What to do
    /// calico-node does not run: `kubectl calico-doctor check --probe` looks through a pod of its own, which it deletes again.
    /// Not admitted: name a namespace that allows privileged pods. Nothing works: run the script that
    /// `kubectl calico-doctor check --print-script` prints on the node itself, and give its output to `--bundle`.
    ///
    /// ## What not to do
    /// Taking a webhook or a Pod Security level out of the way for the whole cluster, for the sake of one look.
    NODE_UNSEEN: "CAL-ACC-003", "a node could not be looked at", "access", Warning,
    needs [], fix Manual, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let mut groups: BTreeMap<&'static str, Vec<(&str, &Gap)>> = BTreeMap::new();
    for (node, facts) in &context.snapshot.hosts {
        let Known::Unknown(gap) = facts else { continue };
        if gap.why.is_failure() && gap.why != GapReason::Forbidden && should_answer(context, node) {
            groups.entry(class(gap)).or_default().push((node, gap));
        }
    }
    for (key, nodes) in groups {
        out.report(finding(key, &nodes));
    }
}

/// False for a node that left the cluster, and for one whose kubelet is silent.
fn should_answer(context: &Context<'_>, node: &str) -> bool {
    let known = context.snapshot.nodes.items.iter().any(|it| it.metadata.name == node);
    let silent = context.node_ready(node).is_some_and(|ready| ready.status == "Unknown");
    !silent && (known || !context.snapshot.nodes.is_whole())
}

/// The kind of obstacle; what is not known by its words is told by the reason alone.
fn class(gap: &Gap) -> &'static str {
    const CLASSES: [(&str, &[&str]); 7] = [
        ("calico-node-not-running", &["does not run"]),
        ("pod-security", &["admits no privileged pod", "violates PodSecurity"]),
        ("admission", &["denied the request", "was refused in namespace", "a webhook fails"]),
        ("quota", &["quota"]),
        ("image", &["image"]),
        ("exec", &["error dialing backend", "No agent available", "commands cannot be run"]),
        ("not-started", &["did not start within"]),
    ];
    let named = |words: &&[&str]| words.iter().any(|word| gap.detail.contains(word));
    match CLASSES.iter().find(|(_, words)| named(words)) {
        Some((class, _)) => class,
        None if gap.why == GapReason::TimedOut => "timed-out",
        None => "no-answer",
    }
}

fn finding(key: &'static str, nodes: &[(&str, &Gap)]) -> Finding {
    let names: Vec<&str> = nodes.iter().map(|(node, _)| *node).collect();
    let text = match key {
        "calico-node-not-running" => "calico-node does not run there, and nothing else was asked",
        "pod-security" => "no namespace that was tried admits a privileged pod",
        "admission" => "an admission webhook or policy does not let a pod be made",
        "quota" => "a quota leaves no room for a pod",
        "image" => "no image that a pod could run is there",
        "exec" => "the API server does not reach the kubelet, or refuses to run commands",
        "not-started" => "the pod that should have looked did not start in time",
        "timed-out" => "it did not answer in time",
        _ => "it did not answer",
    };
    let mut finding = Finding::new(
        Code("CAL-ACC-003"),
        Severity::Warning,
        Subject::nodes(names.iter().copied()),
        format!("{} could not be looked at", place(&names)),
        Cause { key, text: text.to_owned() },
    );
    let quoted = nodes.iter().take(QUOTED);
    finding.evidence = quoted.map(|(node, gap)| Evidence::new(*node, &gap.detail)).collect();
    finding
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn obstacles_are_told_apart_by_their_words() {
        let of = |why: GapReason, detail: &str| class(&Gap::new("nodes/n1/probe.txt", why, detail));
        let unreachable = |detail: &str| of(GapReason::Unreachable, detail);
        assert_eq!(
            unreachable("calico-node pod kube-system/x does not run: Pending"),
            "calico-node-not-running"
        );
        assert_eq!(
            unreachable("namespace a admits no privileged pod: violates PodSecurity \"baseline\""),
            "pod-security"
        );
        assert_eq!(unreachable("admission webhook \"x\" denied the request: no"), "admission");
        assert_eq!(unreachable("image a/b cannot be run on node n1: ErrImageNeverPull"), "image");
        assert_eq!(unreachable("error dialing backend: dial tcp: i/o timeout"), "exec");
        assert_eq!(unreachable("what"), "no-answer");
        assert_eq!(of(GapReason::TimedOut, "exec took longer than 20 s"), "timed-out");
    }
}
