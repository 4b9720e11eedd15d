//! Metrics in Prometheus' text format, for a node exporter's textfile collector. Names and labels are those of
//! calico-kube-controllers where it has the same number; ours begin with `calico_ipam_`.

use std::collections::BTreeMap;

use crate::ipam::Ledger;

/// What kube-controllers writes for addresses that name no node.
const UNKNOWN_NODE: &str = "unknown_node";
/// … for blocks that belong to nobody.
const NO_AFFINITY: &str = "no_affinity";
/// … for blocks that lie in no pool.
const NO_POOL: &str = "no_ippool";

/// All metrics of a ledger.
pub fn metrics(ledger: &Ledger<'_>) -> String {
    let mut in_use: BTreeMap<(&str, &str), u128> = BTreeMap::new();
    let mut borrowed: BTreeMap<(&str, &str), u128> = BTreeMap::new();
    let mut blocks: BTreeMap<(&str, &str), u128> = BTreeMap::new();
    for block in &ledger.blocks {
        let pool = ledger.pool_of(block).map_or(NO_POOL, |it| it.name());
        *blocks.entry((pool, block.host().unwrap_or(NO_AFFINITY))).or_default() += 1;
        for it in block.allocations() {
            let node = it.node().unwrap_or(UNKNOWN_NODE);
            *in_use.entry((pool, node)).or_default() += 1;
            if it.node().is_some_and(|node| block.host() != Some(node)) {
                *borrowed.entry((pool, node)).or_default() += 1;
            }
        }
    }
    let usage = ledger.pool_usage();
    let pools = || ledger.pools.iter().zip(&usage);
    let of_pools = |value: &dyn Fn(&crate::ipam::PoolUsage) -> u128| {
        pools().map(|(pool, it)| (labels(&[("ippool", pool.name())]), value(it))).collect()
    };
    let by_node = |all: &BTreeMap<(&str, &str), u128>| {
        all.iter()
            .map(|((pool, node), it)| (labels(&[("ippool", pool), ("node", node)]), *it))
            .collect()
    };
    let namespaces = ledger.namespace_usage();
    let by_namespace: Vec<_> = namespaces
        .iter()
        .map(|(name, it)| (labels(&[("namespace", name)]), u128::from(*it)))
        .collect();
    [
        metric("ipam_allocations_in_use", "Addresses that somebody has", &by_node(&in_use)),
        metric(
            "ipam_allocations_borrowed",
            "Addresses that a node has from a block that is not its own",
            &by_node(&borrowed),
        ),
        metric("ipam_blocks", "Blocks", &by_node(&blocks)),
        metric(
            "ipam_ippool_size",
            "Addresses of a pool",
            &of_pools(&|it| it.size.unwrap_or(u128::MAX)),
        ),
        metric(
            "calico_ipam_pool_free",
            "Addresses of a pool that nobody has and that do not rest",
            &of_pools(&crate::ipam::PoolUsage::free),
        ),
        metric(
            "calico_ipam_pool_cooling",
            "Addresses of a pool that rest after they were given back",
            &of_pools(&|it| it.counts.cooling),
        ),
        metric(
            "calico_ipam_allocations_by_namespace",
            "Addresses that pods, virtual machines and Services of a namespace have",
            &by_namespace,
        ),
    ]
    .concat()
}

fn metric(name: &str, help: &str, samples: &Vec<(String, u128)>) -> String {
    let mut out = format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
    for (labels, value) in samples {
        out.push_str(&format!("{name}{{{labels}}} {value}\n"));
    }
    out
}

fn labels(all: &[(&str, &str)]) -> String {
    let one = |(name, value): &(&str, &str)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    };
    all.iter().map(one).collect::<Vec<_>>().join(",")
}
