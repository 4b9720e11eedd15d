//! CAL-IPM-006.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ipnet::IpNet;

use super::collector::Collector;
use super::{ARRIVAL, Nodes, WRITING, counted, is_fresh, lines, not_whole};
use crate::calico::ipam::{AffinityState, BlockAffinity};
use crate::checks::Context;
use crate::findings::{
    Cause, Code, Confidence, Evidence, Finding, Findings, Severity, Subject, SubjectKind,
};
use crate::ipam::{Block, Ledger, cidr};

const CODE: Code = Code("CAL-IPM-006");

check! {
    /// # Blocks of addresses belong to nodes that are gone, to two nodes, or to nobody's block
    ///
    /// ## What it detects
    /// A BlockAffinity says which node a block belongs to; Felix and BIRD make routes of it. Affinities of nodes that do not
    /// exist, whose block does not exist, that are stuck half made or half deleted for more than ten minutes (warning); two
    /// affinities for one range, and affinities whose block belongs to another node (error: packets for its pods go to the wrong
    /// node).
    ///
    /// ## How sure
    /// Certain of two affinities for one range. Otherwise likely: affinities, blocks and nodes are read one after another, so
    /// that what is younger than five minutes (nodes) or ten (blocks) is not judged. Blocks of LoadBalancers belong to no node.
    ///
    /// ## What it looks like
    /// Pods of one block time out from some nodes; `ip route` shows a block behind a node that does not exist, or two ways to it
    ///
    /// ## What to do
    /// Of nodes that do not exist: calico-kube-controllers deletes them, see that it runs (CAL-IPM-014). Else look which node
    /// has the pods of the block (`kubectl calico-ipam show --blocks`), and delete the affinity of the other one
    /// (`kubectl delete blockaffinities.crd.projectcalico.org NAME`): that of a block which is another node's holds no
    /// address.
    ///
    /// ## What not to do
    /// Deleting the affinity of a node that has pods in the block: nobody routes to them any more. Deleting the block.
    AFFINITIES: "CAL-IPM-006", "affinities of blocks do not fit", "address management", Error,
    needs [Addresses], fix Manual, run
}

/// What is wrong with affinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    TwoNodes,
    OtherNode,
    NodeGone,
    NoBlock,
    NobodysBlock,
    Stuck,
    Range,
}

impl Fault {
    fn key(self) -> &'static str {
        match self {
            Self::TwoNodes => "two-nodes",
            Self::OtherNode => "other-node",
            Self::NodeGone => "node-gone",
            Self::NoBlock => "no-block",
            Self::NobodysBlock => "unclaimed-block",
            Self::Stuck => "stuck",
            Self::Range => "range",
        }
    }

    /// Behind `3 affinities …`.
    fn title(self) -> &'static str {
        match self {
            Self::TwoNodes => "claim blocks that another node has claimed",
            Self::OtherNode => "of blocks that belong to another node",
            Self::NodeGone => "of nodes that do not exist",
            Self::NoBlock => "without a block",
            Self::NobodysBlock => "of blocks that belong to nobody",
            Self::Stuck => "stuck half made or half deleted",
            Self::Range => "of ranges that make no sense",
        }
    }

    fn consequence(self) -> &'static str {
        match self {
            Self::TwoNodes => "routes lead to two nodes, and a part of what pods send is lost",
            Self::OtherNode => "routes lead to the wrong node",
            Self::NoBlock => "routes lead to nowhere",
            Self::NodeGone | Self::NobodysBlock | Self::Stuck | Self::Range => "",
        }
    }

    fn is_error(self) -> bool {
        matches!(self, Self::TwoNodes | Self::OtherNode)
    }
}

/// Affinities with a fault, and what is to be said of each.
type Found<'a> = BTreeMap<Fault, Vec<(&'a BlockAffinity, String)>>;

fn run(context: &Context<'_>, out: &mut Findings) {
    let snapshot = context.snapshot;
    let listing = &snapshot.addresses.affinities;
    if let Some(gap) = not_whole(listing, "cluster/blockaffinities.crd.projectcalico.org.json") {
        out.not_judged(CODE, "", gap);
    }
    if let Some(gap) = not_whole(&snapshot.nodes, "cluster/nodes.json") {
        out.not_judged(CODE, "affinities of nodes that may be gone", gap);
    }
    let ledger = Ledger::new(snapshot);
    let look = Look {
        context,
        nodes: Nodes::of(snapshot),
        blocks: ledger.blocks.iter().map(|it| (it.cidr, it)).collect(),
        // What cannot be read may be the block that is looked for.
        knows_blocks: snapshot.addresses.blocks.is_whole() && ledger.bad_blocks.is_empty(),
    };
    let mut found = Found::new();
    let mut by_range: BTreeMap<IpNet, Vec<&BlockAffinity>> = BTreeMap::new();
    for it in listing.items.iter().filter(|it| !it.spec.deleted) {
        let Some(range) = cidr::parse(&it.spec.cidr) else {
            found.entry(Fault::Range).or_default().push((it, format!("{:?}", it.spec.cidr)));
            continue;
        };
        if it.spec.state == AffinityState::Confirmed {
            by_range.entry(range).or_default().push(it);
        }
        for (fault, said) in look.faults(it, &range) {
            found.entry(fault).or_default().push((it, said));
        }
    }
    for (range, all) in by_range.iter().filter(|(_, all)| all.len() > 1) {
        let names: Vec<&str> = all.iter().map(|it| it.spec.node.as_str()).collect();
        let said = format!("{range} is claimed by {}", names.join(" and "));
        let those = all.iter().map(|it| (*it, said.clone()));
        found.entry(Fault::TwoNodes).or_default().extend(those);
    }
    let outlook = Collector::of(context).outlook();
    for (fault, mut all) in found {
        all.sort_by_key(|(it, _)| &it.metadata.name);
        out.report(finding(fault, &all, &outlook));
    }
}

/// What affinities are compared with.
struct Look<'a> {
    context: &'a Context<'a>,
    nodes: Nodes<'a>,
    blocks: HashMap<IpNet, &'a Block<'a>>,
    knows_blocks: bool,
}

impl Look<'_> {
    fn faults(&self, it: &BlockAffinity, range: &IpNet) -> Vec<(Fault, String)> {
        let now = self.context.now;
        let mut all = Vec::new();
        let is_fresh_since = |limit| is_fresh(&it.metadata, now, limit);
        if is_host(it) && !self.nodes.may_exist(&it.spec.node) && !is_fresh_since(ARRIVAL) {
            all.push((Fault::NodeGone, format!("{range} of {}", it.spec.node)));
        }
        if is_fresh_since(WRITING) {
            return all;
        }
        match &it.spec.state {
            AffinityState::Confirmed => {}
            state => {
                let said = format!("{range} of {} is {}", it.spec.node, word(state));
                all.push((Fault::Stuck, said));
                return all;
            }
        }
        match self.blocks.get(range) {
            None if self.knows_blocks => {
                all.push((Fault::NoBlock, format!("no block {range} exists")));
            }
            Some(block) if !is_fresh(&block.object.metadata, now, WRITING) => {
                all.extend(against(it, block));
            }
            _ => {}
        }
        all
    }
}

/// False of what belongs to no node.
fn is_host(it: &BlockAffinity) -> bool {
    matches!(it.spec.kind.as_str(), "" | "host") && it.spec.node != "load-balancer"
}

fn word(state: &AffinityState) -> &str {
    match state {
        AffinityState::Confirmed => "confirmed",
        AffinityState::Pending => "pending",
        AffinityState::PendingDeletion => "pendingDeletion",
        AffinityState::Other(word) => word,
    }
}

/// What the block says of whose it is.
fn against(it: &BlockAffinity, block: &Block<'_>) -> Option<(Fault, String)> {
    if !is_host(it) {
        return None;
    }
    let node = &it.spec.node;
    if block.has_no_affinity() {
        let said = format!("{node} claims {}, and the block says that nobody does", block.cidr);
        return Some((Fault::NobodysBlock, said));
    }
    let its = block.object.spec.affinity.as_deref().unwrap_or_default();
    (block.host() != Some(node)).then(|| {
        let said = format!("{node} claims {}, and the block belongs to {its}", block.cidr);
        (Fault::OtherNode, said)
    })
}

fn finding(fault: Fault, all: &[(&BlockAffinity, String)], outlook: &str) -> Finding {
    let severity = if fault.is_error() { Severity::Error } else { Severity::Warning };
    let count = counted(all.len(), "affinity", "affinities");
    let verb = match (fault, all.len()) {
        (Fault::TwoNodes, _) => "",
        (_, 1) => "is ",
        _ => "are ",
    };
    let title = format!("{count} {verb}{}", fault.title());
    let names = all.iter().map(|(it, _)| format!("BlockAffinity/{}", it.metadata.name));
    let cause = Cause { key: fault.key(), text: String::new() };
    let subject = Subject::of(SubjectKind::Object, names);
    let mut finding = Finding::new(CODE, severity, subject, title, cause);
    let nodes: BTreeSet<&str> =
        all.iter().filter(|(it, _)| is_host(it)).map(|(it, _)| it.spec.node.as_str()).collect();
    finding.nodes = nodes.into_iter().map(str::to_owned).collect();
    finding.confidence =
        if fault == Fault::TwoNodes { Confidence::Certain } else { Confidence::Likely };
    finding.consequence = match fault {
        Fault::NodeGone => outlook.to_owned(),
        _ => fault.consequence().to_owned(),
    };
    finding.evidence =
        lines(all, |(it, said)| Evidence::new(format!("BlockAffinity {}", it.metadata.name), said));
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::ipm::{judged, keys};
    use crate::ipam::fixtures::{affinity, block, cluster, node};
    use crate::snapshot::{Coverage, Snapshot};

    /// n1 has a block, and its affinity.
    fn healthy() -> Snapshot {
        let mut it = cluster(&[]);
        it.nodes.items = vec![node("n1"), node("n2")];
        it.addresses.affinities.items = vec![affinity("n1", "10.0.0.0/26")];
        it
    }

    fn with(more: BlockAffinity) -> Snapshot {
        let mut it = healthy();
        it.addresses.affinities.items.push(more);
        it
    }

    /// calicoctl does not look at affinities at all.
    #[test]
    fn d9_affinities_are_checked() {
        assert_eq!(keys(&AFFINITIES, &healthy()), (vec![], 0));
        let mut gone = with(affinity("n9", "10.0.0.64/26"));
        let mut its = block("10.0.0.64/26", &[]);
        its.spec.affinity = Some("host:n9".into());
        gone.addresses.blocks.items.push(its);
        let found = judged(&AFFINITIES, &gone).found;
        assert_eq!(found[0].cause.key, "node-gone");
        assert_eq!(found[0].title, "1 affinity is of nodes that do not exist");
        assert_eq!(found[0].subject.names, ["BlockAffinity/n9-10-0-0-64-26"]);
        assert_eq!(found[0].nodes, ["n9"]);
        assert_eq!(keys(&AFFINITIES, &with(affinity("n1", "10.0.0.64/26"))).0, ["no-block"]);
        // Both claim it, and the block is n1's.
        let two = with(affinity("n2", "10.0.0.0/26"));
        assert_eq!(keys(&AFFINITIES, &two).0, ["two-nodes", "other-node"]);
        let mut other = healthy();
        other.addresses.blocks.items[0].spec.affinity = Some("host:n2".into());
        let found = judged(&AFFINITIES, &other).found;
        assert_eq!((found[0].cause.key, found[0].severity), ("other-node", Severity::Error));
        other.addresses.blocks.items[0].spec.affinity = None;
        assert_eq!(keys(&AFFINITIES, &other).0, ["unclaimed-block"]);
        let mut stuck = healthy();
        stuck.addresses.affinities.items[0].spec.state = AffinityState::PendingDeletion;
        assert_eq!(keys(&AFFINITIES, &stuck).0, ["stuck"]);
        assert_eq!(keys(&AFFINITIES, &with(affinity_of("x"))).0, ["range"]);
    }

    fn affinity_of(range: &str) -> BlockAffinity {
        let mut it = affinity("n1", "10.0.0.64/26");
        it.spec.cidr = range.into();
        it
    }

    #[test]
    fn what_is_young_or_virtual_or_not_wholly_seen_is_silent() {
        let made = Some("2026-07-12T11:58:00Z".parse().unwrap());
        let mut joins = affinity("n9", "10.0.0.64/26");
        joins.metadata.creation_timestamp = made;
        joins.spec.state = AffinityState::Pending;
        assert_eq!(keys(&AFFINITIES, &with(joins)), (vec![], 0));
        let mut virtuals = affinity("load-balancer", "10.0.0.64/26");
        virtuals.spec.kind = "virtual".into();
        let mut balancer = with(virtuals);
        let mut its = block("10.0.0.64/26", &[]);
        its.spec.affinity = Some("virtual:load-balancer".into());
        balancer.addresses.blocks.items.push(its);
        assert_eq!(keys(&AFFINITIES, &balancer), (vec![], 0));
        let mut part = with(affinity("n9", "10.0.0.64/26"));
        part.nodes.coverage = Coverage::Selected(vec!["x".into()]);
        part.addresses.blocks.coverage = Coverage::Selected(vec!["x".into()]);
        assert_eq!(keys(&AFFINITIES, &part), (vec![], 1));
        // A tombstone, and a claim that is being given up while another node makes its own.
        let mut changes = with(affinity("n2", "10.0.0.0/26"));
        changes.addresses.affinities.items[1].spec.deleted = true;
        assert_eq!(keys(&AFFINITIES, &changes), (vec![], 0));
        // The block was given back and claimed anew between the two lists.
        let mut anew = healthy();
        anew.addresses.blocks.items[0].spec.affinity = Some("host:n2".into());
        anew.addresses.blocks.items[0].metadata.creation_timestamp = made;
        assert_eq!(keys(&AFFINITIES, &anew), (vec![], 0));
    }
}
