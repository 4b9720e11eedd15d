//! How many addresses are used, by pool, node and namespace.

use std::collections::BTreeMap;

use super::{Block, Counts, Ledger, cidr};

/// Use of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUsage {
    /// Addresses of the pool; none when the number does not fit (::/0).
    pub size: Option<u128>,
    /// Number of its blocks.
    pub blocks: usize,
    /// Sum of its blocks.
    pub counts: Counts,
}

impl PoolUsage {
    /// Addresses that nobody has, and that do not rest. Whether a node may take one is another matter.
    pub fn free(&self) -> u128 {
        let size = self.size.unwrap_or(u128::MAX);
        size.saturating_sub(self.counts.used).saturating_sub(self.counts.cooling)
    }
}

/// Use by a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeUsage {
    /// Blocks that belong to it.
    pub blocks: usize,
    /// Addresses of these blocks.
    pub counts: Counts,
    /// Addresses taken on it, wherever they are.
    pub taken: u64,
    /// Of these, those in blocks of others or of nobody.
    pub borrowed: u64,
}

impl Ledger<'_> {
    /// Use of every pool, in the order of the pools.
    pub fn pool_usage(&self) -> Vec<PoolUsage> {
        let mut all: Vec<PoolUsage> = self
            .pools
            .iter()
            .map(|pool| PoolUsage { size: cidr::size(&pool.cidr), ..PoolUsage::default() })
            .collect();
        for block in &self.blocks {
            if let Some(usage) = block.pool.and_then(|place| all.get_mut(place)) {
                usage.blocks += 1;
                usage.counts += block.counts;
            }
        }
        all
    }

    /// Blocks that lie in no pool.
    pub fn orphans(&self) -> impl Iterator<Item = &Block<'_>> {
        self.blocks.iter().filter(|block| block.pool.is_none())
    }

    /// Use of these, which are no pool's.
    pub fn orphan_usage(&self) -> PoolUsage {
        let mut usage = PoolUsage { size: Some(0), ..PoolUsage::default() };
        for block in self.orphans() {
            usage.blocks += 1;
            usage.counts += block.counts;
        }
        usage
    }

    /// Use by every node that has a block or took an address.
    pub fn node_usage(&self) -> BTreeMap<&str, NodeUsage> {
        let mut all: BTreeMap<&str, NodeUsage> = BTreeMap::new();
        for block in &self.blocks {
            if let Some(node) = block.host() {
                let usage = all.entry(node).or_default();
                usage.blocks += 1;
                usage.counts += block.counts;
            }
        }
        for (block, it) in self.allocations() {
            if let Some(node) = it.node() {
                let usage = all.entry(node).or_default();
                usage.taken += 1;
                usage.borrowed += u64::from(block.host() != Some(node));
            }
        }
        all
    }

    /// Addresses by namespace of pods, virtual machines and Services.
    pub fn namespace_usage(&self) -> BTreeMap<&str, u64> {
        let mut all = BTreeMap::new();
        for (_, it) in self.allocations() {
            if let Some(namespace) = it.owner().namespace().filter(|it| !it.is_empty()) {
                *all.entry(namespace).or_default() += 1;
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::calico::ipam::IpamBlock;
    use crate::ipam::fixtures::{block, cluster};
    use crate::ipam::{Fault, State};

    fn owner(n: usize) -> String {
        format!(
            r#"{{"handle_id":"h{n}","secondary":{{"node":"n1","namespace":"a","pod":"p{n}"}}}}"#
        )
    }

    #[test]
    fn what_rests_is_neither_used_nor_free() {
        let mut it = block("10.0.0.0/30", &[owner(0), owner(1)]);
        it.spec.attributes[1] =
            serde_json::from_str(r#"{"releasedAt":"2026-01-01T00:00:00Z"}"#).unwrap();
        let it = Block::new(&it).unwrap();
        let Counts { size, used, cooling, not_queued } = it.counts;
        assert_eq!((size, used, cooling, not_queued, it.counts.free()), (4, 1, 1, 2, 2));
        assert!(it.faults().is_empty());
        assert!(matches!(it.state(1), State::Cooling(_)));
        assert_eq!(it.state(3), State::Free(Some(1)));
    }

    #[test]
    fn blocks_of_no_pool_are_counted_in_both_families() {
        let mut it = cluster(&[owner(0)]);
        it.addresses.blocks.items.push(block("fd00::/122", &[owner(1), owner(2)]));
        let ledger = Ledger::new(&it);
        assert_eq!(ledger.orphan_usage().blocks, 2);
        assert_eq!(ledger.orphan_usage().counts.used, 3);
        let usage = ledger.node_usage()["n1"];
        assert_eq!((usage.blocks, usage.taken, usage.borrowed), (2, 3, 0));
        assert_eq!(ledger.namespace_usage()["a"], 3);
    }

    /// A block as the allocator could have left it: some addresses taken, some resting, the rest queued in any order.
    fn any_block() -> impl Strategy<Value = IpamBlock> {
        (26u8..=32, prop::collection::vec((0u8..3, any::<u32>()), 64)).prop_map(
            |(prefix, picks)| {
                let mut it = block(&format!("10.1.0.0/{prefix}"), &[]);
                let mut queue = Vec::new();
                for (ordinal, (pick, order)) in (0..it.spec.allocations.len()).zip(picks) {
                    let number = i64::try_from(ordinal).unwrap();
                    if pick == 0 {
                        queue.push((order, number));
                        continue;
                    }
                    it.spec.allocations[ordinal] = i64::try_from(it.spec.attributes.len()).ok();
                    let text = match pick {
                        1 => owner(ordinal),
                        _ => r#"{"releasedAt":"2026-01-01T00:00:00Z"}"#.to_owned(),
                    };
                    it.spec.attributes.push(serde_json::from_str(&text).unwrap());
                }
                queue.sort_unstable();
                it.spec.unallocated = queue.into_iter().map(|it| it.1).collect();
                it
            },
        )
    }

    proptest! {
        #[test]
        fn a_good_block_adds_up(object in any_block()) {
            let it = Block::new(&object).unwrap();
            prop_assert_eq!(it.faults(), vec![]);
            let Counts { size, used, cooling, not_queued } = it.counts;
            prop_assert_eq!(used + cooling + it.counts.free(), size);
            prop_assert_eq!(not_queued, used + cooling);
            let mut places: Vec<usize> = Vec::new();
            for ordinal in 0..object.spec.allocations.len() {
                if let State::Free(place) = it.state(ordinal) {
                    places.extend(place);
                }
            }
            places.sort_unstable();
            prop_assert_eq!(places, (0..object.spec.unallocated.len()).collect::<Vec<_>>());
        }

        #[test]
        fn one_wrong_number_is_always_noticed(object in any_block(), seed in any::<prop::sample::Index>(), to in -2i64..80) {
            let mut object = object;
            let queue = &mut object.spec.unallocated;
            prop_assume!(!queue.is_empty());
            let place = seed.index(queue.len());
            prop_assume!(queue[place] != to);
            queue[place] = to;
            prop_assert!(!Block::new(&object).unwrap().faults().is_empty());
        }

        #[test]
        fn no_numbers_make_it_panic(allocations in prop::collection::vec(prop::option::of(any::<i64>()), 0..80), queue in prop::collection::vec(any::<i64>(), 0..80)) {
            let mut object = block("10.1.0.0/26", &[owner(0)]);
            object.spec.allocations = allocations;
            object.spec.unallocated = queue;
            let it = Block::new(&object).unwrap();
            drop((it.faults(), it.allocations().count(), it.counts.free()));
        }
    }

    #[test]
    fn faults_are_told_by_name() {
        let faults = |change: fn(&mut IpamBlock)| {
            let mut object = block("10.1.0.0/30", &[owner(0)]);
            change(&mut object);
            Block::new(&object).unwrap().faults()
        };
        assert_eq!(faults(|_| ()), []);
        assert_eq!(faults(|it| it.metadata.name = "x".into()), [Fault::Name("10-1-0-0-30".into())]);
        assert_eq!(faults(|it| it.spec.allocations[0] = None), [Fault::Unused(0), Fault::Lost(1)]);
        let no_entry = [Fault::NoEntry { ordinal: 0, entry: 7 }, Fault::Unused(0)];
        assert_eq!(faults(|it| it.spec.allocations[0] = Some(7)), no_entry);
        assert_eq!(faults(|it| it.spec.unallocated.push(0)), [Fault::FreeAndTaken(0)]);
        assert_eq!(faults(|it| it.spec.unallocated.push(1)), [Fault::Twice(1)]);
        assert_eq!(faults(|it| it.spec.unallocated.push(-1)), [Fault::Outside(-1)]);
        let short = faults(|it| it.spec.allocations.truncate(3));
        assert_eq!(short, [Fault::Length { is: 3, must: 4 }, Fault::Outside(3)]);
    }
}
