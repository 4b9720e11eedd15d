//! CAL-IPM-001.

use ipnet::IpNet;

use super::lower;
use crate::checks::Context;
use crate::findings::{Cause, Code, Evidence, Finding, Findings, Severity, Subject, SubjectKind};
use crate::ipam::{Ledger, Pool, PoolUsage, cidr};

const CODE: Code = Code("CAL-IPM-001");

/// Per cent of a pool that are taken.
const WARNING: u128 = 85;
const ERROR: u128 = 95;

check! {
    /// # A pool of addresses is full, or nearly
    ///
    /// ## What it detects
    /// 85 per cent (warning) or 95 per cent (error) of a pool's addresses are taken: somebody has them, they rest after they
    /// were given back (cooldown), or a reservation (IPReservation) keeps them. Without a free address no pod that takes one
    /// of this pool can start.
    ///
    /// ## How sure
    /// Certain: every address is counted. Pools that nobody takes addresses from (disabled, or for no node) are not
    /// judged, nor is a pool of one single address, which is made to be full. One step less bad are pools of LoadBalancers and
    /// such that must be asked for by name; only told are pools beside which another one, open to all pods, has room. A pool can
    /// run dry for a single node before it is full: blocks belong to nodes.
    ///
    /// ## What it looks like
    /// `failed to request IPv4 addresses: Assigned 0 out of 1 requested IPv4 addresses; No IPs available in pools: [10.0.0.0/24]`
    ///
    /// ## What to do
    /// `kubectl calico-ipam top namespaces` shows who has the addresses. Leaked ones (CAL-IPM-005) come back when
    /// calico-kube-controllers runs. Else add a pool beside this one, inside the cluster's range of pod addresses; pods take
    /// addresses from both.
    ///
    /// ## What not to do
    /// Editing `cidr` or `blockSize` of the pool: blocks of the old shape stay, and overlap with the new ones.
    POOL_FULL: "CAL-IPM-001", "a pool of addresses is full, or nearly", "address management", Error,
    needs [Pools, Addresses], fix Manual, run
}

/// A pool, and how much of it is taken.
struct Fill<'a> {
    pool: &'a Pool<'a>,
    usage: PoolUsage,
    size: u128,
    /// Free, but reserved.
    reserved: u128,
}

impl Fill<'_> {
    fn taken(&self) -> u128 {
        let counts = &self.usage.counts;
        counts.used.saturating_add(counts.cooling).saturating_add(self.reserved).min(self.size)
    }

    fn per_cent(&self) -> u128 {
        self.taken().saturating_mul(100) / self.size.max(1)
    }
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let ledger = Ledger::new(context.snapshot);
    let reserved = reserved(context, &ledger);
    let usages = ledger.pool_usage().into_iter().zip(reserved);
    let all: Vec<Fill<'_>> = ledger
        .pools
        .iter()
        .zip(usages)
        .filter_map(|(pool, (usage, reserved))| {
            Some(Fill { pool, usage, size: usage.size?, reserved })
        })
        .collect();
    for fill in all.iter().filter(|it| is_used(it.pool) && it.size > 1) {
        let worst = match fill.per_cent() {
            it if it >= ERROR => Severity::Error,
            it if it >= WARNING => Severity::Warning,
            _ => continue,
        };
        let spare = spare(&all, fill);
        let severity = match spare {
            Some(_) => Severity::Info,
            None if is_by_name(fill.pool) => lower(worst),
            None => worst,
        };
        out.report(finding(fill, severity, spare));
    }
}

/// Whether anybody takes addresses from it.
pub(super) fn is_used(pool: &Pool<'_>) -> bool {
    // The operator disables pools by a selector.
    !pool.object.spec.disabled && pool.object.spec.node_selector.trim() != "!all()"
}

/// Whether pods may take addresses from it.
pub(super) fn is_for_pods(pool: &Pool<'_>) -> bool {
    let uses = &pool.object.spec.allowed_uses;
    uses.is_empty() || uses.iter().any(|it| it == "Workload")
}

/// Whether only some of what needs an address takes it from there, because it was told to.
fn is_by_name(pool: &Pool<'_>) -> bool {
    !is_for_pods(pool) || pool.object.spec.assignment_mode == "Manual"
}

/// Whether every pod takes addresses from it.
fn is_for_all(pool: &Pool<'_>) -> bool {
    let is_open = |selector: &str| matches!(selector.trim(), "" | "all()");
    let spec = &pool.object.spec;
    is_used(pool)
        && !is_by_name(pool)
        && is_open(&spec.node_selector)
        && is_open(&spec.namespace_selector)
}

/// Another pool that everybody may take addresses from instead.
fn spare<'a>(all: &'a [Fill<'a>], full: &Fill<'_>) -> Option<&'a Fill<'a>> {
    let is_v4 = |it: &Fill<'_>| it.pool.cidr.network().is_ipv4();
    let is_spare =
        |it: &&Fill<'_>| is_v4(it) == is_v4(full) && it.per_cent() < WARNING && is_for_all(it.pool);
    is_for_all(full.pool).then(|| all.iter().find(is_spare)).flatten()
}

/// Of every pool, addresses that nobody has and nobody will get.
fn reserved(context: &Context<'_>, ledger: &Ledger<'_>) -> Vec<u128> {
    let all = context.snapshot.addresses.reservations.items.iter();
    let all: Vec<IpNet> =
        all.flat_map(|it| &it.spec.reserved_cidrs).filter_map(|it| cidr::parse(it)).collect();
    let inside = |pool: &Pool<'_>| {
        let common = all.iter().filter(|it| cidr::overlap(it, &pool.cidr));
        let common = common.map(|it| if pool.cidr.contains(it) { *it } else { pool.cidr });
        IpNet::aggregate(&common.collect())
    };
    let ranges: Vec<Vec<IpNet>> = ledger.pools.iter().map(inside).collect();
    let sizes = ranges.iter().map(|it| it.iter().filter_map(cidr::size).sum());
    let mut sizes: Vec<u128> = sizes.collect();
    if all.is_empty() {
        return sizes;
    }
    for (block, it) in ledger.allocations() {
        let Some(pool) = block.pool else { continue };
        if ranges.get(pool).is_some_and(|all| all.iter().any(|net| net.contains(&it.address)))
            && let Some(size) = sizes.get_mut(pool)
        {
            *size = size.saturating_sub(1);
        }
    }
    sizes
}

fn finding(fill: &Fill<'_>, severity: Severity, spare: Option<&Fill<'_>>) -> Finding {
    let name = fill.pool.name();
    let free = fill.size - fill.taken();
    let (key, title) = match free {
        0 => ("full", format!("pool {name} is full")),
        _ => ("nearly-full", format!("pool {name} is {} % full", fill.per_cent())),
    };
    let left = match free {
        0 => "no address is left".to_owned(),
        1 => "1 address is left".to_owned(),
        many => format!("{many} addresses are left"),
    };
    let text = format!("{left} of {} in {}", fill.size, fill.pool.cidr);
    let subject = Subject::of(SubjectKind::Object, [format!("IPPool/{name}")]);
    let mut finding = Finding::new(CODE, severity, subject, title, Cause { key, text });
    finding.consequence = match spare {
        Some(it) => format!("new pods take addresses from pool {}", it.pool.name()),
        None if !is_for_pods(fill.pool) => "Services stay without an address".to_owned(),
        None => "without a free address new pods stay ContainerCreating".to_owned(),
    };
    let counts = &fill.usage.counts;
    let mut said = format!("{} used", counts.used);
    for (count, word) in [(counts.cooling, "resting"), (fill.reserved, "reserved")] {
        if count > 0 {
            said.push_str(&format!(", {count} {word}"));
        }
    }
    said.push_str(&format!(" of {}, in {} blocks", fill.size, fill.usage.blocks));
    finding.evidence.push(Evidence::new(format!("pool {name} ({})", fill.pool.cidr), said));
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::ipm::judged;
    use crate::ipam::fixtures::{cluster, of_pod, pool};
    use crate::snapshot::Snapshot;

    /// A pool of one block with so many of 64 addresses taken.
    fn filled(count: usize) -> Snapshot {
        let owners: Vec<String> = (0..count).map(|it| of_pod("p", it)).collect();
        let mut it = cluster(&owners);
        it.ip_pools.items = vec![pool("p1", "10.0.0.0/26")];
        it
    }

    fn severities(snapshot: &Snapshot) -> Vec<(Severity, &'static str)> {
        let found = judged(&POOL_FULL, snapshot).found;
        found.iter().map(|it| (it.severity, it.cause.key)).collect()
    }

    #[test]
    fn full_pools_are_told_by_degree() {
        assert_eq!(severities(&filled(54)), []);
        assert_eq!(severities(&filled(55)), [(Severity::Warning, "nearly-full")]);
        assert_eq!(severities(&filled(61)), [(Severity::Error, "nearly-full")]);
        assert_eq!(severities(&filled(64)), [(Severity::Error, "full")]);
    }

    #[test]
    fn what_rests_or_is_reserved_is_not_free() {
        let mut it = filled(50);
        let spec = &mut it.addresses.blocks.items[0].spec;
        spec.attributes[49] =
            serde_json::from_str(r#"{"releasedAt":"2026-07-12T11:59:00Z"}"#).unwrap();
        let reserved = r#"{"spec":{"reservedCIDRs":["10.0.0.48/28","10.0.0.56/29"]}}"#;
        it.addresses.reservations.items = vec![serde_json::from_str(reserved).unwrap()];
        let found = judged(&POOL_FULL, &it).found;
        let said = "49 used, 1 resting, 15 reserved of 64, in 1 blocks";
        assert_eq!(found[0].evidence[0].excerpt, said);
        assert_eq!(found[0].cause.key, "full");
    }

    #[test]
    fn pools_that_nobody_misses_are_silent_or_less_bad() {
        let mut off = filled(64);
        off.ip_pools.items[0].spec.disabled = true;
        assert_eq!(severities(&off), []);
        let mut operators = filled(64);
        operators.ip_pools.items[0].spec.node_selector = "!all()".into();
        assert_eq!(severities(&operators), []);
        let mut services = filled(64);
        services.ip_pools.items[0].spec.allowed_uses = vec!["LoadBalancer".into()];
        assert_eq!(severities(&services), [(Severity::Warning, "full")]);
        let mut two = filled(64);
        two.ip_pools.items.push(pool("p2", "10.1.0.0/16"));
        assert_eq!(severities(&two), [(Severity::Info, "full")]);
        two.ip_pools.items[1].spec.node_selector = "has(gpu)".into();
        assert_eq!(severities(&two), [(Severity::Error, "full")]);
    }
}
