//! Whether a pod on a node can get an address, by which way, and if not, why: the allocator's own order of tries.

use std::collections::BTreeMap;

use super::{Ledger, Pool, cidr};
use crate::calico::ipam::{DEFAULT_MAX_BLOCKS, IpamConfigSpec};
use crate::calico::selector::Selector;
use crate::slim::{Node, Pod};

/// Annotation of a node with labels that only Calico knows, as JSON; the node's own win.
const CALICO_LABELS: &str = "projectcalico.org/labels";
/// Annotations of a pod with the pools that it wants, as a JSON list of names or ranges.
const WANTED_POOLS: [&str; 2] =
    ["cni.projectcalico.org/ipv4pools", "cni.projectcalico.org/ipv6pools"];

/// Family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    fn of(pool: &Pool<'_>) -> Self {
        if pool.cidr.addr().is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// How a pod gets its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From a block of the node.
    OwnBlock,
    /// From a block that the node makes.
    NewBlock,
    /// From a block of another node.
    Borrow,
    /// Not at all.
    None(Obstacle),
}

/// Why a pod gets no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// There is no pool of this family.
    NoPool,
    /// No pool is for this node, namespace and use.
    NoUsablePool,
    /// The node has as many blocks as it may, and all are full.
    BlockLimit,
    /// No block can be made, and those of others may not be touched.
    Strict,
    /// The node's blocks are full, and no block is made by itself.
    NoNewBlocks,
    /// Every address is taken.
    Full,
}

impl Obstacle {
    /// What the CNI plugin says then.
    pub fn said(self) -> &'static str {
        match self {
            Self::NoPool | Self::NoUsablePool => "no configured Calico pools for node",
            Self::BlockLimit => "cannot allocate new block due to per host block limit",
            Self::Strict => "No more free affine blocks and strict affinity enabled",
            Self::NoNewBlocks | Self::Full => "No IPs available in pools",
        }
    }

    /// Why, for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::NoPool => "there is no pool of this family",
            Self::NoUsablePool => "no pool is for this node, this namespace and pods",
            Self::BlockLimit => {
                "the node has as many blocks as it may have, and all of them are full"
            }
            Self::Strict => {
                "its blocks are full, no new one fits into the pools, and strictAffinity keeps it from addresses of other nodes"
            }
            Self::NoNewBlocks => "its blocks are full, and autoAllocateBlocks is off",
            Self::Full => "every address of the pools is taken",
        }
    }
}

/// What a pool has for a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chance {
    /// Its name.
    pub pool: String,
    /// Its family.
    pub family: Family,
    /// Why it is not used; empty when it is.
    pub obstacles: Vec<String>,
    /// Blocks of the node in it.
    pub own_blocks: usize,
    /// Free addresses in these.
    pub own_free: u128,
    /// Blocks that could still be made.
    pub unclaimed: u128,
    /// Free addresses in blocks of others.
    pub elsewhere: u128,
    /// Blocks of others without any address taken.
    pub empty_elsewhere: usize,
}

/// The answer for one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The family.
    pub family: Family,
    /// How a pod gets its address.
    pub way: Way,
    /// Blocks that the node has in the pools that count.
    pub blocks: usize,
    /// Blocks that it may have.
    pub limit: u32,
}

/// For whom.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    node: &'a str,
    node_labels: BTreeMap<String, String>,
    namespace_labels: Option<BTreeMap<String, String>>,
    wanted: Vec<String>,
}

impl<'a> Request<'a> {
    /// Any pod on this node.
    pub fn on(node: &'a Node) -> Self {
        let its = &node.metadata;
        let text = its.annotations.get(CALICO_LABELS).map_or("{}", String::as_str);
        let mut labels: BTreeMap<String, String> = serde_json::from_str(text).unwrap_or_default();
        labels.extend(its.labels.clone());
        Self { node: &its.name, node_labels: labels, namespace_labels: None, wanted: Vec::new() }
    }

    /// This pod there. `labels` are those of its namespace.
    #[must_use]
    pub fn of(mut self, pod: &Pod, labels: Option<BTreeMap<String, String>>) -> Self {
        let wanted = WANTED_POOLS.iter().filter_map(|key| pod.metadata.annotations.get(*key));
        let lists =
            wanted.map(|text| serde_json::from_str::<Vec<String>>(text).unwrap_or_default());
        self.wanted = lists.flatten().collect();
        self.namespace_labels = labels;
        self
    }

    /// Pools that the pod names itself.
    pub fn wanted(&self) -> &[String] {
        &self.wanted
    }

    fn obstacles(&self, pool: &Pool<'_>) -> Vec<String> {
        let spec = &pool.object.spec;
        let mut all = Vec::new();
        if spec.disabled {
            all.push("it is disabled".to_owned());
        }
        if !spec.allowed_uses.is_empty() && !spec.allowed_uses.iter().any(|it| it == "Workload") {
            all.push(format!("it is for {} only", spec.allowed_uses.join(" and ")));
        }
        let wants = |it: &String| it == pool.name() || cidr::parse(it) == Some(pool.cidr);
        if !self.wanted.is_empty() {
            // What a pod names is used whatever selectors say.
            if !self.wanted.iter().any(wants) {
                all.push("the pod names other pools".to_owned());
            }
            return all;
        }
        if spec.assignment_mode == "Manual" {
            all.push(
                "its assignmentMode is Manual: only pods that name it get its addresses".to_owned(),
            );
        }
        all.extend(unselected("nodeSelector", &spec.node_selector, Some(&self.node_labels)));
        let labels = self.namespace_labels.as_ref();
        all.extend(unselected("namespaceSelector", &spec.namespace_selector, labels));
        all
    }

    /// What every pool has.
    pub fn chances(&self, ledger: &Ledger<'_>) -> Vec<Chance> {
        let chance = |pool: &Pool<'_>| Chance {
            pool: pool.name().to_owned(),
            family: Family::of(pool),
            obstacles: self.obstacles(pool),
            own_blocks: 0,
            own_free: 0,
            unclaimed: places(pool),
            elsewhere: 0,
            empty_elsewhere: 0,
        };
        let mut all: Vec<Chance> = ledger.pools.iter().map(chance).collect();
        for block in &ledger.blocks {
            let Some(chance) = block.pool.and_then(|place| all.get_mut(place)) else { continue };
            chance.unclaimed = chance.unclaimed.saturating_sub(1);
            if block.host() == Some(self.node) {
                chance.own_blocks += 1;
                chance.own_free = chance.own_free.saturating_add(block.counts.free());
            } else {
                chance.elsewhere = chance.elsewhere.saturating_add(block.counts.free());
                chance.empty_elsewhere +=
                    usize::from(block.counts.used + block.counts.cooling == 0);
            }
        }
        all
    }
}

/// Why a selector leaves somebody out. Nothing is said where labels are not known.
fn unselected(name: &str, text: &str, labels: Option<&BTreeMap<String, String>>) -> Option<String> {
    match (Selector::parse(text), labels) {
        (Err(error), _) => Some(format!("its {name}: {error}")),
        (Ok(selector), Some(labels)) if !selector.matches(labels) => {
            Some(format!("its {name} asks for {}", selector.unfulfilled(labels).join(", ")))
        }
        _ => None,
    }
}

/// Blocks that fit into a pool.
fn places(pool: &Pool<'_>) -> u128 {
    let bits = pool.object.spec.block_prefix().saturating_sub(pool.cidr.prefix_len());
    1u128.checked_shl(u32::from(bits)).unwrap_or(u128::MAX)
}

/// The answer for each family that has a pool; for IPv4 when there is none at all.
pub fn answers(chances: &[Chance], settings: &IpamConfigSpec) -> Vec<Answer> {
    let mut families: Vec<Family> =
        Family::ALL.into_iter().filter(|it| chances.iter().any(|one| one.family == *it)).collect();
    if families.is_empty() {
        families.push(Family::V4);
    }
    families.into_iter().map(|family| answer(family, chances, settings)).collect()
}

fn answer(family: Family, chances: &[Chance], settings: &IpamConfigSpec) -> Answer {
    let of_family: Vec<&Chance> = chances.iter().filter(|it| it.family == family).collect();
    let usable: Vec<&Chance> =
        of_family.iter().copied().filter(|it| it.obstacles.is_empty()).collect();
    let sum = |value: fn(&Chance) -> u128| {
        usable.iter().fold(0u128, |sum, it| sum.saturating_add(value(it)))
    };
    let blocks: usize = usable.iter().map(|it| it.own_blocks).sum();
    let limit =
        Some(settings.max_blocks_per_host).filter(|it| *it > 0).unwrap_or(DEFAULT_MAX_BLOCKS);
    let is_at_limit = u64::try_from(blocks).is_ok_and(|it| it >= u64::from(limit));
    let way = if of_family.is_empty() {
        Way::None(Obstacle::NoPool)
    } else if usable.is_empty() {
        Way::None(Obstacle::NoUsablePool)
    } else if sum(|it| it.own_free) > 0 {
        Way::OwnBlock
    } else if settings.auto_allocate_blocks && is_at_limit {
        Way::None(Obstacle::BlockLimit)
    } else if settings.auto_allocate_blocks && sum(|it| it.unclaimed) > 0 {
        Way::NewBlock
    } else if settings.strict_affinity {
        let why =
            if settings.auto_allocate_blocks { Obstacle::Strict } else { Obstacle::NoNewBlocks };
        Way::None(why)
    } else if sum(|it| it.elsewhere) > 0 {
        Way::Borrow
    } else {
        Way::None(Obstacle::Full)
    };
    Answer { family, way, blocks, limit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calico::IpPool;
    use crate::ipam::fixtures::{block, cluster, node, pod};
    use crate::snapshot::Snapshot;

    const OWNER: &str = r#"{"secondary":{"node":"n1"}}"#;

    /// A pool of two blocks; `used` addresses of each that exists, whose nodes these are.
    fn with(blocks: &[(&str, usize)]) -> Snapshot {
        let mut it = cluster(&[]);
        let mut pool = IpPool::default();
        pool.metadata.name = "p".into();
        pool.spec.cidr = "10.0.0.0/29".into();
        pool.spec.block_size = 30;
        it.ip_pools.items = vec![pool];
        it.addresses.blocks.items.clear();
        for (place, (node, used)) in blocks.iter().enumerate() {
            let mut one =
                block(&format!("10.0.0.{}/30", place * 4), &vec![OWNER.to_owned(); *used]);
            one.spec.affinity = Some(format!("host:{node}"));
            it.addresses.blocks.items.push(one);
        }
        it
    }

    fn way(it: &Snapshot, settings: &IpamConfigSpec) -> Way {
        let n1 = node("n1");
        let chances = Request::on(&n1).chances(&Ledger::new(it));
        answers(&chances, settings)[0].way
    }

    #[test]
    fn the_ways_are_tried_in_the_allocators_order() {
        let usual = IpamConfigSpec::default();
        assert_eq!(way(&with(&[("n1", 3)]), &usual), Way::OwnBlock);
        assert_eq!(way(&with(&[("n1", 4)]), &usual), Way::NewBlock);
        assert_eq!(way(&with(&[("n1", 4), ("n2", 1)]), &usual), Way::Borrow);
        assert_eq!(way(&with(&[("n1", 4), ("n2", 4)]), &usual), Way::None(Obstacle::Full));
        let strict = IpamConfigSpec { strict_affinity: true, ..usual.clone() };
        assert_eq!(way(&with(&[("n1", 4), ("n2", 1)]), &strict), Way::None(Obstacle::Strict));
        let one = IpamConfigSpec { max_blocks_per_host: 1, ..strict.clone() };
        assert_eq!(way(&with(&[("n1", 4)]), &one), Way::None(Obstacle::BlockLimit));
        let never = IpamConfigSpec { auto_allocate_blocks: false, ..strict };
        assert_eq!(way(&with(&[("n1", 4)]), &never), Way::None(Obstacle::NoNewBlocks));
        let mut none = with(&[]);
        none.ip_pools.items.clear();
        assert_eq!(way(&none, &usual), Way::None(Obstacle::NoPool));
    }

    #[test]
    fn a_pool_that_is_for_others_says_for_whom() {
        let mut it = with(&[]);
        it.ip_pools.items[0].spec.node_selector = "zone == 'a'".into();
        let n1 = node("n1");
        let ledger = Ledger::new(&it);
        let chances = Request::on(&n1).chances(&ledger);
        let why = "its nodeSelector asks for zone == 'a' (there is no such label)";
        assert_eq!(chances[0].obstacles, [why]);
        let answer = answers(&chances, &IpamConfigSpec::default())[0].clone();
        assert_eq!(answer.way, Way::None(Obstacle::NoUsablePool));
        // Labels that only Calico knows count, and so does what a pod names.
        let mut labelled = node("n1");
        labelled.metadata.annotations.insert(CALICO_LABELS.into(), r#"{"zone":"a"}"#.into());
        assert!(Request::on(&labelled).chances(&ledger)[0].obstacles.is_empty());
        let mut named = pod("p", "", None);
        named.metadata.annotations.insert(WANTED_POOLS[0].into(), r#"["p"]"#.into());
        assert!(Request::on(&n1).of(&named, None).chances(&ledger)[0].obstacles.is_empty());
        named.metadata.annotations.insert(WANTED_POOLS[0].into(), r#"["10.9.0.0/16"]"#.into());
        let other = Request::on(&n1).of(&named, None).chances(&ledger)[0].obstacles.clone();
        assert_eq!(other, ["the pod names other pools"]);
    }
}
