//! Decides what of a machine's facts is left over from Calico, what only looks like it, and what cannot be told.

mod bpf;
mod files;
mod links;
mod netfilter;
mod routes;

use std::collections::BTreeSet;

use serde::Serialize;

use super::facts::ResidueFacts;
use super::{ResidueId, ResidueKind, Scope, Surroundings};
use crate::findings::Evidence;
use crate::plan::{IpFamily, NftTable, ProgramHook, RulesBackend};
use crate::snapshot::{Gap, Known};

/// Something that Calico left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Residue {
    /// Identifies it on its node.
    pub id: ResidueId,
    /// What kind of thing it is.
    pub kind: ResidueKind,
    /// What it is, for a person: `interface vxlan.calico`.
    pub what: String,
    /// Why it is called Calico's and left over. The excerpts are foreign text.
    pub evidence: Vec<Evidence>,
    /// How it goes.
    #[serde(skip)]
    pub(super) means: Means,
}

/// Something that looks like Calico's and is left alone, or that a person should know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Identifies it on its node.
    pub id: ResidueId,
    /// What it is, for a person.
    pub what: String,
    /// Why it is left alone.
    pub why: String,
}

/// What was found on one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Inventory {
    /// What Calico left, sorted by id.
    pub residues: Vec<Residue>,
    /// What looks like it and is not, or is in use, or cannot be told; sorted by id.
    pub kept: Vec<Kept>,
    /// What is never removed and worth knowing of, sorted by id.
    pub reported: Vec<Kept>,
    /// What is kept only because nobody could tell whether the Calico that lives here needs it; sorted by id.
    pub undecided: Vec<Kept>,
    /// What could not be looked at, sorted.
    pub gaps: Vec<Gap>,
}

impl Inventory {
    /// True when there is nothing, and everything was looked at.
    pub fn is_clean(&self) -> bool {
        self.residues.is_empty() && self.gaps.is_empty()
    }

    /// How many residues there are of each kind that there are any of.
    pub fn counts(&self) -> Vec<(ResidueKind, usize)> {
        let count = |kind| self.residues.iter().filter(|it| it.kind == kind).count();
        let all = ResidueKind::ALL.into_iter().map(|kind| (kind, count(kind)));
        all.filter(|(_, count)| *count > 0).collect()
    }
}

/// How a residue goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// It is removed while it holds this.
    File {
        path: String,
        sha256: String,
    },
    /// It is removed with all that is in it.
    Tree {
        path: String,
    },
    Unmount {
        path: String,
        file_system: String,
    },
    RemoveLink {
        name: String,
        index: u32,
        kind: String,
    },
    FlushLink {
        name: String,
        index: u32,
        kind: String,
    },
    Route {
        family: IpFamily,
        line: String,
    },
    RoutingRule {
        family: IpFamily,
        line: String,
    },
    Chain {
        place: TablePlace,
        name: String,
    },
    Rule {
        place: TablePlace,
        chain: String,
        text: String,
    },
    NftTable(NftTable),
    IpSet(String),
    Pin(String),
    Detach {
        link: String,
        index: u32,
        hook: ProgramHook,
    },
    /// Through the API server, not on the host: this annotation goes.
    Annotation(String),
    /// Through the API server: this condition goes.
    Condition(String),
    /// By nothing that we do, for this reason.
    None(String),
}

/// A table of iptables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TablePlace {
    pub(super) backend: RulesBackend,
    pub(super) family: IpFamily,
    pub(super) table: String,
    /// Why the table's transaction cannot succeed, when it cannot.
    pub(super) blocked: Option<String>,
}

/// Decides about everything that was seen.
pub fn take_inventory(facts: &ResidueFacts, surroundings: &Surroundings) -> Inventory {
    let mut taking = Taking { facts, surroundings, found: Inventory::default() };
    taking.found.gaps.extend(facts.faults.iter().cloned());
    files::take(&mut taking);
    links::take(&mut taking);
    routes::take(&mut taking);
    netfilter::take(&mut taking);
    bpf::take(&mut taking);
    let mut found = taking.found;
    found.residues.sort_by(|a, b| a.id.cmp(&b.id));
    found.kept.sort_by(|a, b| a.id.cmp(&b.id));
    found.reported.sort_by(|a, b| a.id.cmp(&b.id));
    found.undecided.sort_by(|a, b| a.id.cmp(&b.id));
    found.gaps.sort();
    found.gaps.dedup();
    found
}

/// An inventory that is being taken.
struct Taking<'a> {
    facts: &'a ResidueFacts,
    surroundings: &'a Surroundings,
    found: Inventory,
}

impl<'a> Taking<'a> {
    /// The fact, or nothing and a gap.
    fn known<T>(&mut self, fact: &'a Known<T>) -> Option<&'a T> {
        if let Known::Unknown(gap) = fact {
            self.found.gaps.push(gap.clone());
        }
        fact.known()
    }

    fn is_stale_scope(&self) -> bool {
        matches!(self.surroundings.scope, Scope::Stale | Scope::OtherMode)
    }

    /// Whether something that a setting of the cluster asks for may go: always, unless Calico lives here and the setting is
    /// on or unknown.
    fn is_unwanted(&self, setting: &Known<bool>) -> bool {
        !self.is_stale_scope() || setting.known() == Some(&false)
    }

    fn residue(&mut self, kind: ResidueKind, name: &str, seen: Seen<'_>, means: Means) {
        let excerpt = seen.excerpt.to_owned();
        self.found.residues.push(Residue {
            id: ResidueId::new(kind, name),
            kind,
            what: seen.what,
            evidence: vec![Evidence::new(seen.source, excerpt)],
            means,
        });
    }

    fn kept(
        &mut self,
        kind: ResidueKind,
        name: &str,
        what: impl Into<String>,
        why: impl Into<String>,
    ) {
        let id = ResidueId::new(kind, name);
        self.found.kept.push(Kept { id, what: what.into(), why: why.into() });
    }

    fn reported(
        &mut self,
        kind: ResidueKind,
        name: &str,
        what: impl Into<String>,
        why: impl Into<String>,
    ) {
        let id = ResidueId::new(kind, name);
        self.found.reported.push(Kept { id, what: what.into(), why: why.into() });
    }

    /// Notes what stays because `setting` is not known; once, however much of it there is.
    fn undecided<T>(&mut self, kind: ResidueKind, name: &str, what: &str, setting: &Known<T>) {
        let id = ResidueId::new(kind, name);
        let Known::Unknown(gap) = setting else { return };
        if self.is_stale_scope() && self.found.undecided.iter().all(|it| it.id != id) {
            let why = format!("whether it is in use cannot be told: {}", gap.detail);
            self.found.undecided.push(Kept { id, what: what.to_owned(), why });
        }
    }

    /// Names of the interfaces that are left over.
    fn residue_links(&self) -> BTreeSet<String> {
        let name = |it: &Residue| match &it.means {
            Means::RemoveLink { name, .. } | Means::FlushLink { name, .. } => Some(name.clone()),
            _ => None,
        };
        self.found.residues.iter().filter_map(name).collect()
    }
}

/// What was seen of a residue.
struct Seen<'a> {
    /// What it is.
    what: String,
    /// The command or file that showed it.
    source: &'a str,
    /// What that said.
    excerpt: &'a str,
}
