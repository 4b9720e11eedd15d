//! CAL-IPM-005.

use std::collections::{BTreeMap, BTreeSet};

use super::collector::Collector;
use super::{ARRIVAL, counted, is_fresh, lines, not_whole, span};
use crate::checks::Context;
use crate::findings::{
    Cause, Code, Confidence, Evidence, Finding, Findings, Severity, Subject, SubjectKind,
};
use crate::ipam::leak::{Judge, Reason, Verdict};
use crate::ipam::{Allocation, Block, Ledger, Owner, Population};

const CODE: Code = Code("CAL-IPM-005");

check! {
    /// # Addresses are leaked
    ///
    /// ## What it detects
    /// Addresses that are allocated to pods, tunnels or Services that no longer have them: the node is gone, the pod is gone or
    /// has finished, its sandbox is another one by now, the Service is gone. Nobody shows the address anywhere: no pod's status
    /// or annotations, networks of Multus included, no tunnel of a node, no Service.
    ///
    /// ## How sure
    /// Certain of nodes that do not exist. Otherwise likely: lists are read one after another, and an address that was given
    /// back between two of them looks the same; what is still told by a second look is so. What was taken less than 15 minutes
    /// ago (or `leakGracePeriod`, if that is longer) is not judged. Windows' own addresses, those of stopped virtual machines,
    /// tunnels of living nodes and whatever says of nobody whose it is are never called leaked. Without all pods and nodes
    /// nothing is.
    ///
    /// ## What it looks like
    /// `kubectl calico-ipam ip 192.168.135.10` shows an owner that does not exist
    ///
    /// ## What to do
    /// calico-kube-controllers collects them by itself; see that it runs (CAL-IPM-014). It frees those of nodes that are gone
    /// within minutes. `kubectl calico-ipam gc ips` releases them at once: it shows first what would go, and why, and asks.
    ///
    /// ## What not to do
    /// Freeing from a list that is minutes old: an address may have been given out again since. Deleting blocks with kubectl:
    /// living pods lose theirs with them.
    ADDRESSES_LEAKED: "CAL-IPM-005", "addresses are leaked", "address management", Warning,
    needs [Addresses, Pods, Nodes], fix Manual, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let snapshot = context.snapshot;
    let population = Population::new(snapshot);
    let judge = match Judge::new(snapshot, &population) {
        Ok(judge) => judge,
        Err(gap) => return out.not_judged(CODE, "", gap),
    };
    let ledger = Ledger::new(snapshot);
    let mut leaks: BTreeMap<Reason, Vec<Allocation<'_>>> = BTreeMap::new();
    let (mut all, mut services) = (0, false);
    for (block, it) in ledger.allocations() {
        all += 1;
        services |= matches!(it.owner(), Owner::Service { .. });
        match judge.judge(&it) {
            Verdict::Leaked(Reason::NodeGone) if is_arriving(context, block) => {}
            Verdict::Leaked(reason) => leaks.entry(reason).or_default().push(it),
            Verdict::Used | Verdict::Young(..) | Verdict::Kept(_) => {}
        }
    }
    if services && let Some(gap) = not_whole(&snapshot.addresses.services, "cluster/services.json")
    {
        out.not_judged(CODE, "addresses of Services", gap);
    }
    let outlook = if leaks.is_empty() { String::new() } else { Collector::of(context).outlook() };
    for (reason, mut found) in leaks {
        found.sort_by_key(|it| it.address);
        let mut finding = finding(context, reason, &found, all);
        finding.consequence.clone_from(&outlook);
        out.report(finding);
    }
}

/// A node takes its first block when it joins, which may have been after all nodes were listed.
fn is_arriving(context: &Context<'_>, block: &Block<'_>) -> bool {
    is_fresh(&block.object.metadata, context.now, ARRIVAL)
}

fn finding(context: &Context<'_>, reason: Reason, found: &[Allocation<'_>], all: usize) -> Finding {
    let count = counted(found.len(), "address is", "addresses are");
    let whose = match reason {
        Reason::NodeGone => "of nodes that do not exist",
        Reason::PodGone => "of pods that do not exist",
        Reason::OtherSandbox => "of earlier sandboxes of pods",
        Reason::PodFinished => "of pods that have finished",
        Reason::ServiceGone => "of Services that do not have them",
    };
    let per_cent = found.len().saturating_mul(100).div_ceil(all.max(1));
    let oldest = found.iter().filter_map(|it| it.entry.secondary.taken()).min();
    let oldest = match oldest {
        Some(at) => format!(", the oldest was taken {} ago", span(context.now.duration_since(at))),
        None => String::new(),
    };
    let text = format!("{per_cent} % of {all} allocated addresses{oldest}");
    let names = found.iter().map(|it| format!("Address/{}", it.address));
    let mut finding = Finding::new(
        CODE,
        Severity::Warning,
        Subject::of(SubjectKind::Object, names),
        format!("{count} leaked: {whose}"),
        Cause { key: reason.key(), text },
    );
    let nodes: BTreeSet<&str> = found.iter().filter_map(Allocation::node).collect();
    finding.nodes = nodes.into_iter().map(str::to_owned).collect();
    finding.confidence = match reason {
        Reason::NodeGone => Confidence::Certain,
        _ => Confidence::Likely,
    };
    finding.evidence = lines(found, |it| line(it, reason));
    finding
}

fn line(it: &Allocation<'_>, reason: Reason) -> Evidence {
    let owner = match it.owner() {
        Owner::Pod { namespace, name } => format!("pod {namespace}/{name}"),
        Owner::Tunnel { tunnel, .. } => tunnel.word().to_owned(),
        Owner::Service { namespace, name } => format!("Service {namespace}/{name}"),
        Owner::VirtualMachine { namespace, name } => format!("machine {namespace}/{name}"),
        Owner::Windows => "Windows".to_owned(),
        Owner::Unknown => "nobody that is known".to_owned(),
    };
    let node = it.node().map(|node| format!(" on {node}")).unwrap_or_default();
    let taken = match it.entry.secondary.taken() {
        Some(at) => format!(", taken {at:.0}"),
        None => String::new(),
    };
    let handle = it.entry.handle().unwrap_or("no handle");
    let said = format!("{owner}{node}{taken}: {} ({handle})", reason.text());
    Evidence::new(format!("address {}", it.address), said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::ipm::{judged, keys};
    use crate::ipam::fixtures::{cluster, node, of_pod, pod};
    use crate::snapshot::{Coverage, Snapshot};

    fn three() -> Snapshot {
        let tunnel = r#"{"handle_id":"vxlan-tunnel-addr-n9","secondary":{"type":"vxlanTunnelAddress","node":"n9"}}"#;
        let mut it = cluster(&[of_pod("lives", 1), of_pod("gone", 2), tunnel.to_owned()]);
        it.nodes.items = vec![node("n1")];
        it.pods.items = vec![pod("lives", "10.0.0.0", None)];
        it
    }

    #[test]
    fn leaks_are_told_by_reason() {
        let found = judged(&ADDRESSES_LEAKED, &three()).found;
        let told: Vec<_> = found
            .iter()
            .map(|it| (it.cause.key, it.subject.names.join(" "), it.nodes.join(" ")))
            .collect();
        let is = |key, name: &str, node: &str| (key, name.to_owned(), node.to_owned());
        let node_gone = is("node-gone", "Address/10.0.0.2", "n9");
        assert_eq!(told, [node_gone, is("pod-gone", "Address/10.0.0.1", "n1")]);
        assert!(found[1].cause.text.starts_with("34 % of 3 allocated addresses, the oldest"));
        let said = &found[1].evidence[0].excerpt;
        assert!(said.starts_with("pod a/gone on n1, taken 2026-01-01T00:00:00Z: its pod does"));
        assert!(found[0].consequence.starts_with("nobody collects them: there is no Deployment"));
    }

    #[test]
    fn many_leaks_are_named_but_not_all_shown() {
        let owners: Vec<String> = (0..30).map(|it| of_pod("gone", it)).collect();
        let mut it = cluster(&owners);
        it.nodes.items = vec![node("n1")];
        let found = judged(&ADDRESSES_LEAKED, &it).found;
        assert_eq!((found[0].subject.names.len(), found[0].evidence.len()), (30, 11));
        assert_eq!(found[0].evidence[10].excerpt, "20 more");
    }

    #[test]
    fn what_is_young_or_not_wholly_seen_is_silent() {
        let mut it = three();
        // A node that joined while the lists were read.
        let made = "2026-07-12T11:58:00Z".parse().unwrap();
        it.addresses.blocks.items[0].metadata.creation_timestamp = Some(made);
        assert_eq!(keys(&ADDRESSES_LEAKED, &it), (vec!["pod-gone"], 0));
        it.addresses.blocks.items[0].spec.attributes[1].secondary.timestamp =
            Some("2026-07-12 11:50:00 +0000 UTC".into());
        assert_eq!(keys(&ADDRESSES_LEAKED, &it), (vec![], 0));
        let mut part = three();
        part.pods.coverage = Coverage::Selected(vec!["namespace=a".into()]);
        assert_eq!(keys(&ADDRESSES_LEAKED, &part), (vec![], 1));
        let service = r#"{"secondary":{"type":"LoadBalancer","namespace":"a","service":"s","timestamp":"2026-01-01 00:00:00 +0000 UTC"}}"#;
        let mut services = cluster(&[service.to_owned()]);
        services.addresses.services.coverage = Coverage::None;
        assert_eq!(keys(&ADDRESSES_LEAKED, &services), (vec![], 1));
    }
}
