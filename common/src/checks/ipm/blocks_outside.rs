//! CAL-IPM-010.

use std::collections::BTreeSet;

use super::{counted, lines, not_whole};
use crate::checks::Context;
use crate::findings::{Cause, Code, Evidence, Finding, Findings, Severity, Subject, SubjectKind};
use crate::ipam::{Block, Ledger, cidr};

const CODE: Code = Code("CAL-IPM-010");

check! {
    /// # Blocks of addresses do not fit their pool
    ///
    /// ## What it detects
    /// Blocks that lie in no pool: the pool was deleted, or its range was edited, while addresses were in use. Calico no longer
    /// translates what leaves them, nor encapsulates what goes to them. Blocks of another size than their pool makes: `blockSize`
    /// was edited, or a pool of that range existed before. New blocks can then overlap old ones. As information, disabled pools
    /// with addresses in use: a step of every migration to another pool.
    ///
    /// ## How sure
    /// Certain, once all pools were read.
    ///
    /// ## What it looks like
    /// `kubectl calico-ipam show` has a line `(in no pool)`
    ///
    /// ## What to do
    /// Make the pool again as it was (`cidr` and `blockSize`), disabled; replace the pods that have addresses of it; delete it
    /// when none is in use. `kubectl calico-ipam show --blocks` shows what is.
    ///
    /// ## What not to do
    /// Deleting blocks with kubectl: living pods lose their addresses with them. Editing `blockSize` once more.
    BLOCKS_OUTSIDE: "CAL-IPM-010", "blocks do not fit their pool", "address management", Warning,
    needs [Pools, Addresses], fix Manual, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let snapshot = context.snapshot;
    let ledger = Ledger::new(snapshot);
    // A pool whose range cannot be read may hold anything.
    if not_whole(&snapshot.ip_pools, "").is_none() && ledger.bad_pools.is_empty() {
        let orphans: Vec<&Block<'_>> = ledger.orphans().collect();
        if !orphans.is_empty() {
            out.report(outside(&orphans));
        }
        let odd: Vec<(&Block<'_>, u8)> =
            ledger.blocks.iter().filter_map(|it| Some((it, other_size(&ledger, it)?))).collect();
        if !odd.is_empty() {
            out.report(of_other_size(&ledger, &odd));
        }
    }
    for (pool, usage) in ledger.pools.iter().zip(ledger.pool_usage()) {
        if pool.object.spec.disabled && usage.counts.used > 0 {
            let count = usize::try_from(usage.counts.used).unwrap_or(usize::MAX);
            let used = counted(count, "address is", "addresses are");
            let name = pool.name();
            let title = format!("{used} in use of pool {name}, which is disabled");
            let text = "no new addresses are taken from it".to_owned();
            let cause = Cause { key: "disabled", text };
            let subject = Subject::of(SubjectKind::Object, [format!("IPPool/{name}")]);
            let mut finding = Finding::new(CODE, Severity::Info, subject, title, cause);
            let said = format!("{} used, in {} blocks", usage.counts.used, usage.blocks);
            finding.evidence.push(Evidence::new(format!("pool {name} ({})", pool.cidr), said));
            out.report(finding);
        }
    }
}

/// The prefix length that a block should have; none when it has that of any pool around it.
fn other_size(ledger: &Ledger<'_>, block: &Block<'_>) -> Option<u8> {
    let its = ledger.pool_of(block)?;
    let is = block.cidr.prefix_len();
    let fits = its.object.spec.block_prefix() == is
        || ledger.pools.iter().any(|pool| {
            cidr::overlap(&pool.cidr, &block.cidr) && pool.object.spec.block_prefix() == is
        });
    (!fits).then(|| its.object.spec.block_prefix())
}

fn outside(all: &[&Block<'_>]) -> Finding {
    let count = counted(all.len(), "block lies", "blocks lie");
    let used: u128 = all.iter().map(|it| it.counts.used).sum();
    let text = format!("{used} addresses of them are in use");
    let cause = Cause { key: "no-pool", text };
    let mut finding = finding(all, format!("{count} in no pool"), cause);
    finding.consequence =
        "what their pods send leaves untranslated, and what is sent to them not encapsulated"
            .to_owned();
    finding.evidence = lines(all, |it| {
        Evidence::new(
            format!("block {}", it.cidr),
            format!("{} used, {}", it.counts.used, whose(it)),
        )
    });
    finding
}

fn of_other_size(ledger: &Ledger<'_>, all: &[(&Block<'_>, u8)]) -> Finding {
    let count = counted(all.len(), "block has", "blocks have");
    let blocks: Vec<&Block<'_>> = all.iter().map(|(it, _)| *it).collect();
    let title = format!("{count} another size than their pool makes");
    let cause = Cause { key: "size", text: String::new() };
    let mut finding = finding(&blocks, title, cause);
    finding.consequence = "new blocks of the pool can overlap them".to_owned();
    finding.evidence = lines(all, |(it, must)| {
        let pool = ledger.pool_of(it).map_or("", |pool| pool.name());
        let said = format!("pool {pool} makes /{must}; {} used, {}", it.counts.used, whose(it));
        Evidence::new(format!("block {}", it.cidr), said)
    });
    finding
}

fn whose(it: &Block<'_>) -> String {
    match it.object.spec.affinity.as_deref() {
        Some(affinity) if !affinity.is_empty() => affinity.to_owned(),
        _ => "nobody's".to_owned(),
    }
}

fn finding(all: &[&Block<'_>], title: String, cause: Cause) -> Finding {
    let names = all.iter().map(|it| format!("IPAMBlock/{}", it.name()));
    let subject = Subject::of(SubjectKind::Object, names);
    let mut finding = Finding::new(CODE, Severity::Warning, subject, title, cause);
    let nodes: BTreeSet<&str> = all.iter().filter_map(|it| it.host()).collect();
    finding.nodes = nodes.into_iter().map(str::to_owned).collect();
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::ipm::{judged, keys};
    use crate::ipam::fixtures::{cluster, of_pod, pool};
    use crate::snapshot::{Coverage, Snapshot};

    fn within(range: &str) -> Snapshot {
        let mut it = cluster(&[of_pod("p", 1)]);
        it.ip_pools.items = vec![pool("p1", range)];
        it
    }

    #[test]
    fn blocks_outside_and_of_another_size_are_told() {
        let found = judged(&BLOCKS_OUTSIDE, &within("10.1.0.0/16")).found;
        assert_eq!(
            (found[0].cause.key, found[0].title.as_str()),
            ("no-pool", "1 block lies in no pool")
        );
        assert_eq!(found[0].evidence[0].excerpt, "1 used, host:n1");
        let mut size = within("10.0.0.0/16");
        size.ip_pools.items[0].spec.block_size = 28;
        let found = judged(&BLOCKS_OUTSIDE, &size).found;
        assert_eq!(found[0].evidence[0].excerpt, "pool p1 makes /28; 1 used, host:n1");
        let mut off = within("10.0.0.0/16");
        off.ip_pools.items[0].spec.disabled = true;
        let found = judged(&BLOCKS_OUTSIDE, &off).found;
        assert_eq!((found[0].cause.key, found[0].severity), ("disabled", Severity::Info));
    }

    #[test]
    fn what_fits_or_is_not_wholly_seen_is_silent() {
        assert_eq!(keys(&BLOCKS_OUTSIDE, &within("10.0.0.0/16")), (vec![], 0));
        let mut part = within("10.1.0.0/16");
        part.ip_pools.coverage = Coverage::Selected(vec!["x".into()]);
        assert_eq!(keys(&BLOCKS_OUTSIDE, &part), (vec![], 0));
        let mut unreadable = within("10.1.0.0/16");
        unreadable.ip_pools.items.push(pool("p2", "nonsense"));
        assert_eq!(keys(&BLOCKS_OUTSIDE, &unreadable), (vec![], 0));
        // A pool without an address in use is disabled for translation only.
        let mut empty = cluster(&[]);
        empty.ip_pools.items = vec![pool("p1", "10.0.0.0/16")];
        empty.ip_pools.items[0].spec.disabled = true;
        assert_eq!(keys(&BLOCKS_OUTSIDE, &empty), (vec![], 0));
    }
}
