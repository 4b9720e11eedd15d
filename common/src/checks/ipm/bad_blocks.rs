//! CAL-IPM-013.

use ipnet::IpNet;

use super::{counted, lines};
use crate::checks::Context;
use crate::findings::{Cause, Code, Evidence, Finding, Findings, Severity, Subject, SubjectKind};
use crate::ipam::{Block, Fault, Ledger, cidr};

const CODE: Code = Code("CAL-IPM-013");

check! {
    /// # Blocks of addresses are not as blocks must be
    ///
    /// ## What it detects
    /// Blocks that Calico's allocator cannot have left so: a range that makes no sense or does not fit the name, more or fewer
    /// entries than addresses, an address whose owner is not there, one that is free and taken at once or queued twice (it will
    /// be given out twice), and blocks that overlap. Lost addresses, and owners without an address, are warnings. Such things
    /// come from edits by hand, restored backups, and `kubectl patch --type=merge`, which cuts lists that hold nothing.
    ///
    /// ## How sure
    /// Certain: each block is compared with itself.
    ///
    /// ## What it looks like
    /// calico-node or the CNI plugin panics with `index out of range`; `calicoctl ipam check` counts invalid IPAMBlocks
    ///
    /// ## What to do
    /// Save the block (`kubectl get ipamblocks.crd.projectcalico.org NAME -o json`). Cordon its node, delete the node's pods, and
    /// let calico-kube-controllers release the block, or delete it once nothing of it is in use. Of overlapping blocks,
    /// empty the one whose size is not the pool's.
    ///
    /// ## What not to do
    /// Repairing it with `kubectl edit` or `jq`: its numbers are larger than they can keep, and the allocator writes meanwhile.
    BAD_BLOCKS: "CAL-IPM-013", "blocks are not as they must be", "address management", Error,
    needs [Addresses], fix Manual, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let ledger = Ledger::new(context.snapshot);
    let (mut bad, mut odd) = (Vec::new(), Vec::new());
    for (object, fault) in &ledger.bad_blocks {
        let its = Faulty { name: &object.metadata.name, node: None, said: fault.to_string() };
        bad.push(its);
    }
    for block in &ledger.blocks {
        let faults = block.faults();
        if faults.is_empty() {
            continue;
        }
        let list = if faults.iter().all(is_harmless) { &mut odd } else { &mut bad };
        list.push(Faulty { name: block.name(), node: block.host(), said: told(&faults) });
    }
    for (mut all, severity, key, text) in [
        (bad, Severity::Error, "invalid", "not as blocks must be"),
        (odd, Severity::Warning, "untidy", "untidy: addresses are lost, or owners have none"),
    ] {
        if !all.is_empty() {
            all.sort_by_key(|it| it.name);
            let title = format!("{} {text}", counted(all.len(), "block is", "blocks are"));
            out.report(finding(&all, severity, key, title));
        }
    }
    overlapping(&ledger, out);
}

/// A block, and what is wrong inside it.
struct Faulty<'a> {
    name: &'a str,
    node: Option<&'a str>,
    said: String,
}

/// What takes addresses from nobody.
fn is_harmless(it: &Fault) -> bool {
    matches!(it, Fault::Unused(_) | Fault::Lost(_))
}

/// The first few faults.
fn told(faults: &[Fault]) -> String {
    const FIRST: usize = 3;
    let mut all: Vec<String> = faults.iter().take(FIRST).map(ToString::to_string).collect();
    if faults.len() > FIRST {
        all.push(format!("and {} more faults", faults.len() - FIRST));
    }
    all.join("; ")
}

fn overlapping(ledger: &Ledger<'_>, out: &mut Findings) {
    let ranges: Vec<IpNet> = ledger.blocks.iter().map(|it| it.cidr).collect();
    let get = |place: usize| ledger.blocks.get(place);
    let pairs: Vec<(&Block<'_>, &Block<'_>)> = cidr::nested(&ranges)
        .into_iter()
        .filter_map(|(outer, inner)| Some((get(outer)?, get(inner)?)))
        .collect();
    if pairs.is_empty() {
        return;
    }
    let all: Vec<Faulty<'_>> = pairs
        .iter()
        .map(|(outer, inner)| {
            let whose = inner.object.spec.affinity.as_deref().unwrap_or("nobody");
            let said = format!("it lies in {} and is {whose}'s", outer.cidr);
            Faulty { name: inner.name(), node: inner.host(), said }
        })
        .collect();
    let title = match all.len() {
        1 => "2 blocks overlap".to_owned(),
        many => format!("{many} blocks lie in other ones"),
    };
    let mut finding = finding(&all, Severity::Error, "overlap", title);
    let outer = pairs.iter().filter_map(|(outer, _)| outer.host()).map(str::to_owned);
    finding.nodes.extend(outer);
    finding.nodes.sort();
    finding.nodes.dedup();
    finding.consequence =
        "addresses can be given out twice, and routes lead to two nodes".to_owned();
    out.report(finding);
}

fn finding(all: &[Faulty<'_>], severity: Severity, key: &'static str, title: String) -> Finding {
    let names = all.iter().map(|it| format!("IPAMBlock/{}", it.name));
    let subject = Subject::of(SubjectKind::Object, names);
    let cause = Cause { key, text: String::new() };
    let mut finding = Finding::new(CODE, severity, subject, title, cause);
    finding.nodes = all.iter().filter_map(|it| it.node).map(str::to_owned).collect();
    finding.nodes.sort();
    finding.nodes.dedup();
    finding.evidence = lines(all, |it| Evidence::new(format!("block {}", it.name), &it.said));
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calico::ipam::IpamBlock;
    use crate::checks::ipm::{judged, keys};
    use crate::ipam::fixtures::{block, cluster, of_pod};
    use crate::snapshot::Snapshot;

    fn with(change: fn(&mut IpamBlock)) -> Snapshot {
        let mut it = cluster(&[of_pod("p", 1), of_pod("q", 2)]);
        change(&mut it.addresses.blocks.items[0]);
        it
    }

    #[test]
    fn what_the_allocator_never_writes_is_told() {
        let taken = with(|it| it.spec.unallocated.push(0));
        let found = judged(&BAD_BLOCKS, &taken).found;
        assert_eq!((found[0].cause.key, found[0].severity), ("invalid", Severity::Error));
        assert_eq!(found[0].subject.names, ["IPAMBlock/10-0-0-0-26"]);
        assert!(found[0].evidence[0].excerpt.starts_with("address 0 is in the queue"));
        assert_eq!(keys(&BAD_BLOCKS, &with(|it| it.spec.cidr = "x".into())).0, ["invalid"]);
        // A merge patch: all that is null was cut away.
        let cut = with(|it| it.spec.allocations.retain(Option::is_some));
        assert_eq!(keys(&BAD_BLOCKS, &cut).0, ["invalid"]);
        let lost = with(|it| it.spec.unallocated.truncate(61));
        assert_eq!(keys(&BAD_BLOCKS, &lost).0, ["untidy"]);
    }

    /// calicoctl does not look for them.
    #[test]
    fn d9_overlapping_blocks_are_found() {
        let mut it = with(|_| ());
        it.addresses.blocks.items.push(block("10.0.0.32/28", &[]));
        let found = judged(&BAD_BLOCKS, &it).found;
        assert_eq!(found[0].title, "2 blocks overlap");
        assert_eq!(found[0].evidence[0].excerpt, "it lies in 10.0.0.0/26 and is host:n1's");
    }

    #[test]
    fn good_blocks_and_resting_addresses_and_tombstones_are_silent() {
        assert_eq!(keys(&BAD_BLOCKS, &with(|_| ())), (vec![], 0));
        let rests = |it: &mut IpamBlock| {
            let text = r#"{"releasedAt":"2026-07-12T11:59:00Z"}"#;
            it.spec.attributes[1] = serde_json::from_str(text).unwrap();
        };
        assert_eq!(keys(&BAD_BLOCKS, &with(rests)), (vec![], 0));
        let mut gone = with(|_| ());
        let mut its = block("10.0.0.32/28", &[]);
        its.spec.deleted = true;
        gone.addresses.blocks.items.push(its);
        assert_eq!(keys(&BAD_BLOCKS, &gone), (vec![], 0));
    }
}
