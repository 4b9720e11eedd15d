//! `map`: pools as grids, one character for a few blocks.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde::Serialize;

use super::{grouped, percent, share};
use crate::ipam::map::{Cell, PoolMap};
use crate::ipam::{Ledger, Pool};
use crate::report::escape;
use crate::report::layout::TextOptions;
use crate::report::text::header;
use crate::report::v1::{API_VERSION, ClusterSummary};
use crate::snapshot::Snapshot;

/// The document that `map` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MapReport {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `IpamMap`.
    pub kind: &'static str,
    /// When the cluster was looked at.
    pub taken: Timestamp,
    /// What was looked at.
    pub cluster: ClusterSummary,
    /// The exit code in a word.
    pub verdict: &'static str,
    /// Every pool, sorted by name.
    pub pools: Vec<PoolGrid>,
}

/// A pool as a grid.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolGrid {
    /// Its name.
    pub name: String,
    /// Its range.
    pub cidr: String,
    /// Prefix length of its blocks.
    pub block_size: u8,
    /// Places for blocks that one cell stands for; null when each cell is one block that exists.
    pub places_per_cell: Option<u128>,
    /// The cells, in the order of their addresses.
    pub cells: Vec<GridCell>,
}

/// A cell of a grid.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GridCell {
    /// First address.
    pub first: String,
    /// Blocks that exist in it.
    pub blocks: usize,
    /// Addresses of these that somebody has, or that rest.
    pub used: u128,
    /// Addresses of these.
    pub size: u128,
}

/// Columns that the first address of a line takes at least.
const LABEL: usize = 15;
/// Lines of a grid at most, of a pool whose addresses are no longer than that.
const LINES: usize = 32;

/// Cells of a line behind a label: a power of two, so that lines begin at round addresses.
fn line_cells(options: &TextOptions, label: usize) -> usize {
    let room = options.width.clamp(40, 300).saturating_sub(label + 1);
    // The largest power of two that fits.
    room.checked_ilog2().map_or(1, |bits| 1 << bits)
}

impl MapReport {
    /// The grids of a ledger, for a terminal like this.
    pub fn new(
        snapshot: &Snapshot,
        ledger: &Ledger<'_>,
        options: &TextOptions,
        verdict: &'static str,
    ) -> Self {
        let maps = ledger.map(line_cells(options, LABEL) * LINES);
        let grid = |(pool, map): (&Pool<'_>, &PoolMap)| PoolGrid {
            name: pool.name().to_owned(),
            cidr: pool.cidr.to_string(),
            block_size: pool.object.spec.block_prefix(),
            places_per_cell: map.places_per_cell,
            cells: map.cells.iter().map(cell).collect(),
        };
        Self {
            api_version: API_VERSION,
            kind: "IpamMap",
            taken: snapshot.taken,
            cluster: ClusterSummary::of(snapshot),
            verdict,
            pools: ledger.pools.iter().zip(&maps).map(grid).collect(),
        }
    }
}

fn cell(it: &Cell) -> GridCell {
    GridCell {
        first: it.first.clone(),
        blocks: it.blocks,
        used: it.counts.used.saturating_add(it.counts.cooling),
        size: it.counts.size,
    }
}

/// How full a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// No block is there.
    None,
    /// Up to a quarter.
    Low,
    /// Up to a half.
    Half,
    /// Up to 85 %.
    High,
    /// Above.
    Full,
}

const LEVELS: [(Level, &str, &str, &str); 5] = [
    (Level::None, "·", ".", "no block"),
    (Level::Low, "░", "-", "up to 25 %"),
    (Level::Half, "▒", "=", "up to 50 %"),
    (Level::High, "▓", "+", "up to 85 %"),
    (Level::Full, "█", "#", "above"),
];

fn level(it: &GridCell) -> Level {
    let full = share(it.used, it.size);
    match it.blocks {
        0 => Level::None,
        _ if full <= 0.25 => Level::Low,
        _ if full <= 0.5 => Level::Half,
        _ if full <= 0.85 => Level::High,
        _ => Level::Full,
    }
}

fn glyph(level: Level, options: &TextOptions) -> &'static str {
    let known = LEVELS.iter().find(|it| it.0 == level);
    known.map_or("?", |it| if options.unicode { it.1 } else { it.2 })
}

/// A run of cells that look alike: one escape sequence for all of them.
fn painted(level: Level, text: &str, options: &TextOptions) -> String {
    let colour = match level {
        Level::None => return options.dim(text),
        Level::Low | Level::Half => AnsiColor::Green,
        Level::High => AnsiColor::Yellow,
        Level::Full => AnsiColor::Red,
    };
    options.paint(text, Style::new().fg_color(Some(colour.into())))
}

/// The same for a person.
pub fn map(report: &MapReport, options: &TextOptions) -> String {
    let mut out = format!("{}\n", options.bold(&header(&report.cluster)));
    for pool in &report.pools {
        out.push('\n');
        out.push_str(&grid(pool, options));
    }
    let legend: Vec<String> = LEVELS
        .iter()
        .map(|(level, _, _, text)| {
            format!("{} {text}", painted(*level, glyph(*level, options), options))
        })
        .collect();
    out.push_str(&format!("\n{}\n", legend.join("   ")));
    options.plain(out)
}

fn grid(pool: &PoolGrid, options: &TextOptions) -> String {
    let (used, size) = pool.cells.iter().fold((0, 0), |sum: (u128, u128), it| {
        (sum.0.saturating_add(it.used), sum.1.saturating_add(it.size))
    });
    let blocks: usize = pool.cells.iter().map(|it| it.blocks).sum();
    let cell = match pool.places_per_cell {
        Some(1) => "a cell: a block".to_owned(),
        Some(count) => format!("a cell: {} blocks", grouped(count)),
        None => "a cell: an existing block".to_owned(),
    };
    let mut out = format!(
        "{} {}\n{} blocks · {} of {} addresses ({}) · {cell}\n",
        options.bold(&escape(&pool.name)),
        escape(&pool.cidr),
        crate::report::number(blocks),
        grouped(used),
        grouped(size),
        percent(used, size),
    );
    let label = pool.cells.iter().map(|it| it.first.len()).max().unwrap_or_default().max(LABEL);
    for line in pool.cells.chunks(line_cells(options, label)) {
        let first = line.first().map(|it| it.first.as_str()).unwrap_or_default();
        out.push_str(&format!("{:<label$} {}\n", escape(first), cells(line, options)));
    }
    out
}

fn cells(line: &[GridCell], options: &TextOptions) -> String {
    let mut out = String::new();
    for alike in line.chunk_by(|a, b| level(a) == level(b)) {
        let level = alike.first().map_or(Level::None, level);
        out.push_str(&painted(level, &glyph(level, options).repeat(alike.len()), options));
    }
    out
}
