//! What Calico left on nodes: the wire type, and how a person reads it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::escape::escape;
use super::layout::{Mark, TextOptions};
use super::v1::API_VERSION;
use crate::plan::{Outcome, Plan, Rehearsed};
use crate::residue::{Inventory, Kept, ResidueKind, Scope};

/// The document that `leftovers` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftoversReport {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `LeftoversReport`.
    pub kind: &'static str,
    /// The exit code in a word; `planned` when nothing was to be changed.
    pub verdict: &'static str,
    /// Where it was looked: the context, or the file.
    pub place: String,
    /// What was found, by node. After a removal, what is left.
    pub nodes: Vec<NodeLeftovers>,
    /// What was to be removed; absent when nothing was.
    pub plan: Option<Plan>,
    /// What became of it; absent when it was not carried out.
    pub outcome: Option<Outcome>,
    /// The command that takes the run back; absent when there is nothing to take back.
    pub undo: Option<String>,
    /// What the API server said to each step; absent unless it was asked (`--dry-run=server`).
    pub rehearsal: Option<Vec<Rehearsed>>,
}

/// What was found on one node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeLeftovers {
    /// The node.
    pub node: String,
    /// What was looked for: `stale` where Calico lives, else `not-installed`.
    pub scope: &'static str,
    /// How many residues there are of each kind.
    pub counts: BTreeMap<&'static str, usize>,
    /// What was found.
    #[serde(flatten)]
    pub found: Inventory,
    /// Why the node could not be looked at.
    pub error: Option<String>,
    /// Residues that nothing removes, and why.
    pub not_removable: BTreeMap<String, String>,
}

impl LeftoversReport {
    /// A report of what was found.
    pub fn new(place: String, nodes: Vec<NodeLeftovers>, verdict: &'static str) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "LeftoversReport",
            verdict,
            place,
            nodes,
            plan: None,
            outcome: None,
            undo: None,
            rehearsal: None,
        }
    }
}

impl NodeLeftovers {
    /// What was found on a node.
    pub fn new(node: &str, scope: Scope, found: Inventory) -> Self {
        let left = crate::residue::left(&found);
        Self {
            node: node.to_owned(),
            scope: match scope {
                Scope::Stale | Scope::OtherMode => "stale",
                Scope::NotInstalled => "not-installed",
                Scope::AllState => "all-state",
            },
            counts: found.counts().into_iter().map(|(kind, count)| (kind.word(), count)).collect(),
            not_removable: left.into_iter().map(|(id, why)| (id.0, why)).collect(),
            found,
            error: None,
        }
    }

    /// A node that could not be looked at.
    pub fn unseen(node: &str, scope: Scope, error: String) -> Self {
        Self { error: Some(error), ..Self::new(node, scope, Inventory::default()) }
    }
}

/// Residues of a kind that are shown without `-v`.
const SHOWN: usize = 5;

/// The report for a person.
pub fn leftovers(report: &LeftoversReport, options: &TextOptions) -> String {
    let mut text = format!("Leftovers of Calico · {}\n", escape(&report.place));
    for node in &report.nodes {
        text.push('\n');
        text.push_str(&one(node, options));
    }
    text
}

fn one(node: &NodeLeftovers, options: &TextOptions) -> String {
    let name = escape(&node.node);
    if let Some(error) = &node.error {
        return format!("{} {name}: not looked at: {}\n", options.mark(Mark::Skip), escape(error));
    }
    let found = &node.found;
    let lives =
        if node.scope == "stale" { "Calico lives here" } else { "Calico is not installed here" };
    let (mark, verdict) = if !found.residues.is_empty() {
        let counts: Vec<String> =
            found.counts().into_iter().map(|(kind, count)| kind.counted(count)).collect();
        let all = found.residues.len();
        let word = if all == 1 { "residue" } else { "residues" };
        (Mark::Bad, format!("{all} {word}: {}", counts.join(", ")))
    } else if found.gaps.is_empty() {
        (Mark::Good, "nothing is left over".to_owned())
    } else {
        (Mark::Warn, "nothing was found, and not everything could be looked at".to_owned())
    };
    let mut text = format!("{} {name}: {lives}; {verdict}\n", options.mark(mark));
    for kind in ResidueKind::ALL {
        text.push_str(&of_kind(found, kind, options));
    }
    for (id, why) in &node.not_removable {
        text.push_str(&format!("    stays  {}: {}\n", escape(id), escape(why)));
    }
    text.push_str(&listed("kept", &found.kept, options));
    text.push_str(&listed("note", &found.reported, options));
    for gap in &found.gaps {
        let section = gap.what.split_once('#').map_or(gap.what.as_str(), |(_, section)| section);
        text.push_str(&format!("    unseen {}: {}\n", escape(section), escape(&gap.detail)));
    }
    text
}

fn of_kind(found: &Inventory, kind: ResidueKind, options: &TextOptions) -> String {
    let all: Vec<_> = found.residues.iter().filter(|it| it.kind == kind).collect();
    let shown = if options.verbose { all.len() } else { SHOWN };
    let mut text = String::new();
    for residue in all.iter().take(shown) {
        text.push_str(&format!("    left   {}\n", escape(&residue.what)));
        if options.verbose {
            for evidence in &residue.evidence {
                let line = format!("{}: {}", evidence.source, evidence.excerpt);
                text.push_str(&format!("           {}\n", escape(&line)));
            }
        }
    }
    if all.len() > shown {
        text.push_str(&format!(
            "    left   … and {} more (-v names all)\n",
            kind.counted(all.len() - shown)
        ));
    }
    text
}

fn listed(word: &str, all: &[Kept], options: &TextOptions) -> String {
    let shown = if options.verbose { all.len() } else { SHOWN };
    let mut text: String = all
        .iter()
        .take(shown)
        .map(|it| format!("    {word}   {}: {}\n", escape(&it.what), escape(&it.why)))
        .collect();
    if all.len() > shown {
        text.push_str(&format!("    {word}   … and {} more (-v names all)\n", all.len() - shown));
    }
    text
}
