//! `why`: whether a pod on a node can get an address.

use jiff::Timestamp;
use serde::Serialize;

use super::grouped;
use crate::ipam::why::{Answer, Chance, Way};
use crate::report::layout::{Mark, TextOptions};
use crate::report::text::header;
use crate::report::v1::{API_VERSION, ClusterSummary};
use crate::report::{escape, table};
use crate::snapshot::Snapshot;

/// The document that `why` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhyReport {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `IpamWhy`.
    pub kind: &'static str,
    /// When the cluster was looked at.
    pub taken: Timestamp,
    /// What was looked at.
    pub cluster: ClusterSummary,
    /// The exit code in a word.
    pub verdict: &'static str,
    /// For whom: `pod shop/web-1` or `node node2`.
    pub subject: String,
    /// The node.
    pub node: String,
    /// What is to be known besides, for people.
    pub notes: Vec<String>,
    /// The answer for each family of addresses.
    pub answers: Vec<FamilyAnswer>,
    /// What each pool has for it.
    pub pools: Vec<PoolChance>,
}

/// The answer for a family of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FamilyAnswer {
    /// `IPv4` or `IPv6`.
    pub family: &'static str,
    /// `own-block`, `new-block`, `borrow` or `none`.
    pub way: &'static str,
    /// Why there is none; null when there is one.
    pub why: Option<&'static str>,
    /// What the CNI plugin says then.
    pub said: Option<&'static str>,
    /// Blocks of the node in the pools that count.
    pub blocks: usize,
    /// Blocks that it may have.
    pub limit: u32,
}

/// What a pool has for a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolChance {
    /// Its name.
    pub name: String,
    /// Why it is not used; empty when it is.
    pub obstacles: Vec<String>,
    /// Blocks of the node in it.
    pub own_blocks: usize,
    /// Free addresses in these.
    pub own_free: u128,
    /// Blocks that could still be made.
    pub unclaimed_blocks: u128,
    /// Free addresses in blocks of others.
    pub free_elsewhere: u128,
    /// Blocks of others without any address taken.
    pub empty_elsewhere: usize,
}

impl WhyReport {
    /// A report about `subject` on `node`.
    pub fn new(
        snapshot: &Snapshot,
        subject: String,
        node: &str,
        chances: &[Chance],
        answers: &[Answer],
    ) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "IpamWhy",
            taken: snapshot.taken,
            cluster: ClusterSummary::of(snapshot),
            verdict: "healthy",
            subject,
            node: node.to_owned(),
            notes: Vec::new(),
            answers: answers.iter().map(family).collect(),
            pools: chances.iter().map(pool).collect(),
        }
    }

    /// True when some family has no way to an address.
    pub fn has_none(&self) -> bool {
        self.answers.iter().any(|it| it.way == "none")
    }
}

fn family(it: &Answer) -> FamilyAnswer {
    let (way, obstacle) = match it.way {
        Way::OwnBlock => ("own-block", None),
        Way::NewBlock => ("new-block", None),
        Way::Borrow => ("borrow", None),
        Way::None(obstacle) => ("none", Some(obstacle)),
    };
    FamilyAnswer {
        family: it.family.word(),
        way,
        why: obstacle.map(crate::ipam::why::Obstacle::text),
        said: obstacle.map(crate::ipam::why::Obstacle::said),
        blocks: it.blocks,
        limit: it.limit,
    }
}

fn pool(it: &Chance) -> PoolChance {
    PoolChance {
        name: it.pool.clone(),
        obstacles: it.obstacles.clone(),
        own_blocks: it.own_blocks,
        own_free: it.own_free,
        unclaimed_blocks: it.unclaimed,
        free_elsewhere: it.elsewhere,
        empty_elsewhere: it.empty_elsewhere,
    }
}

/// The same for a person.
pub fn why(report: &WhyReport, options: &TextOptions) -> String {
    let mut out = format!("{}\n\n", options.bold(&header(&report.cluster)));
    for it in &report.answers {
        let mark = options.mark(if it.way == "none" { Mark::Bad } else { Mark::Good });
        let text = match it.way {
            "own-block" => format!("gets an {} address from a block of {}", it.family, report.node),
            "new-block" => {
                format!("gets an {} address: {} makes a new block", it.family, report.node)
            }
            "borrow" => format!("gets an {} address from a block of another node", it.family),
            _ => format!("gets no {} address", it.family),
        };
        out.push_str(&format!("{mark} {} {}\n", escape(&report.subject), escape(&text)));
        if let (Some(why), Some(said)) = (it.why, it.said) {
            out.push_str(&options.block("why", why));
            out.push_str(&options.block("said", said));
        }
        let blocks = format!("{} of at most {} blocks are its own", it.blocks, it.limit);
        out.push_str(&options.block("limit", &blocks));
    }
    for note in &report.notes {
        out.push_str(&options.block("note", &escape(note)));
    }
    out.push('\n');
    out.push_str(&pools(&report.pools));
    for pool in report.pools.iter().filter(|it| !it.obstacles.is_empty()) {
        let text = format!("{} is not used: {}", pool.name, pool.obstacles.join("; "));
        out.push_str(&options.block("", &escape(&text)));
    }
    options.plain(out)
}

fn pools(all: &[PoolChance]) -> String {
    let row = |it: &PoolChance| {
        vec![
            escape(&it.name),
            if it.obstacles.is_empty() { "yes" } else { "no" }.to_owned(),
            it.own_blocks.to_string(),
            grouped(it.own_free),
            grouped(it.unclaimed_blocks),
            grouped(it.free_elsewhere),
            it.empty_elsewhere.to_string(),
        ]
    };
    let head = [
        "POOL",
        "USABLE",
        "OWN BLOCKS",
        "FREE IN THEM",
        "NEW BLOCKS LEFT",
        "FREE ELSEWHERE",
        "EMPTY BLOCKS ELSEWHERE",
    ];
    table(&head, &all.iter().map(row).collect::<Vec<_>>())
}
