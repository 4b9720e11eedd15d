//! Pools as grids of cells, each a few neighbouring blocks: where addresses are, and where there is room.

use std::collections::BTreeMap;

use super::{Block, Counts, Ledger, Pool, cidr};

/// Above so many places for blocks, a grid of all of them would be empty but for a few cells.
const MOST_PLACES: u128 = 1 << 18;

/// A pool as a grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolMap {
    /// Place of the pool in the ledger.
    pub pool: usize,
    /// Places for blocks that one cell stands for; none when each cell is one block that exists, because there is room for too
    /// many.
    pub places_per_cell: Option<u128>,
    /// The cells, in the order of their addresses.
    pub cells: Vec<Cell>,
}

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// First address.
    pub first: String,
    /// Blocks that exist in it.
    pub blocks: usize,
    /// Their numbers.
    pub counts: Counts,
}

impl Ledger<'_> {
    /// Every pool as a grid of at most `cells` cells.
    pub fn map(&self, cells: usize) -> Vec<PoolMap> {
        let mut by_pool: BTreeMap<usize, Vec<&Block<'_>>> = BTreeMap::new();
        for block in &self.blocks {
            if let Some(place) = block.pool {
                by_pool.entry(place).or_default().push(block);
            }
        }
        let of = |(place, pool): (usize, &Pool<'_>)| {
            let mut blocks = by_pool.remove(&place).unwrap_or_default();
            blocks.sort_by_key(|block| block.cidr.network());
            pool_map(place, pool, &blocks, u128::try_from(cells.max(1)).unwrap_or(1))
        };
        self.pools.iter().enumerate().map(of).collect()
    }
}

fn pool_map(place: usize, pool: &Pool<'_>, blocks: &[&Block<'_>], cells: u128) -> PoolMap {
    let prefix = pool.object.spec.block_prefix();
    let bits = u32::from(prefix.saturating_sub(pool.cidr.prefix_len()));
    let places = 1u128.checked_shl(bits).unwrap_or(u128::MAX);
    if places > MOST_PLACES {
        let cell = |block: &&Block<'_>| Cell {
            first: block.cidr.network().to_string(),
            blocks: 1,
            counts: block.counts,
        };
        return PoolMap {
            pool: place,
            places_per_cell: None,
            cells: blocks.iter().map(cell).collect(),
        };
    }
    // A power of two, as everything here is.
    let per_cell = places.div_ceil(cells).next_power_of_two();
    let block_size =
        1u128.checked_shl(u32::from(pool.cidr.max_prefix_len().saturating_sub(prefix)));
    let cell_size = per_cell.saturating_mul(block_size.unwrap_or(u128::MAX));
    let first = |number: u128| {
        cidr::address(&pool.cidr, number.saturating_mul(cell_size))
            .map(|it| it.to_string())
            .unwrap_or_default()
    };
    let mut all: Vec<Cell> = (0..places.div_ceil(per_cell))
        .map(|number| Cell { first: first(number), ..Cell::default() })
        .collect();
    for block in blocks {
        let ordinal = cidr::ordinal(&pool.cidr, block.cidr.network()).unwrap_or_default();
        let number = usize::try_from(ordinal / cell_size).unwrap_or(usize::MAX);
        if let Some(cell) = all.get_mut(number) {
            cell.blocks += 1;
            cell.counts += block.counts;
        }
    }
    PoolMap { pool: place, places_per_cell: Some(per_cell), cells: all }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calico::IpPool;
    use crate::ipam::fixtures::{block, cluster};
    use crate::snapshot::Snapshot;

    fn with_pool(range: &str, blocks: &[&str]) -> Snapshot {
        let mut it = cluster(&[]);
        let mut pool = IpPool::default();
        pool.metadata.name = "p".into();
        pool.spec.cidr = range.into();
        it.ip_pools.items = vec![pool];
        let owner = r#"{"secondary":{"node":"n1"}}"#.to_owned();
        it.addresses.blocks.items =
            blocks.iter().map(|cidr| block(cidr, std::slice::from_ref(&owner))).collect();
        it
    }

    #[test]
    fn cells_are_where_their_blocks_are() {
        let it = with_pool("10.0.0.0/20", &["10.0.15.192/26", "10.0.0.64/26", "10.0.0.0/26"]);
        let map = &Ledger::new(&it).map(32)[0];
        assert_eq!((map.places_per_cell, map.cells.len()), (Some(2), 32));
        let used: Vec<_> = map.cells.iter().map(|it| it.blocks).collect();
        assert_eq!((used[0], used[31], used.iter().sum::<usize>()), (2, 1, 3));
        assert_eq!(map.cells[31].first, "10.0.15.128");
        assert_eq!(map.cells[0].counts.used, 2);
        // Never more than asked for.
        assert!((1..70).all(|most| Ledger::new(&it).map(most)[0].cells.len() <= most));
    }

    #[test]
    fn a_pool_without_end_shows_the_blocks_that_exist() {
        let it = with_pool("fd00::/64", &["fd00::40/122", "fd00::/122"]);
        let map = &Ledger::new(&it).map(32)[0];
        assert_eq!((map.places_per_cell, map.cells.len()), (None, 2));
        assert_eq!(map.cells[1].first, "fd00::40");
    }
}
