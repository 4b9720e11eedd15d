//! What Calico IPAM stores, compared with itself and with what uses it. The lists grow with the cluster, so that these checks
//! run only where they are asked for.

pub(super) mod addresses_leaked;
pub(super) mod affinities;
pub(super) mod bad_blocks;
pub(super) mod blocks_outside;
mod collector;
pub(super) mod handles;
pub(super) mod nobody_collects;
pub(super) mod not_allocated;
pub(super) mod pool_full;
pub(super) mod ranges_overlap;
pub(super) mod used_twice;

use jiff::{SignedDuration, Timestamp};

use crate::findings::{Evidence, Severity};
use crate::slim::{Metadata, Pod};
use crate::snapshot::{Coverage, Gap, GapReason, Listing, Snapshot};

/// Lines of evidence that are shown; subjects name all.
const SHOWN: usize = 10;

/// Lists are read one after another, and a node or a pod that has just come may be in one and not in the other.
const ARRIVAL: SignedDuration = SignedDuration::from_mins(5);

/// What is written in two steps is not left between them for so long.
const WRITING: SignedDuration = SignedDuration::from_mins(10);

/// The first of these, a line each, and how many there are beyond.
fn lines<T>(all: &[T], line: impl Fn(&T) -> Evidence) -> Vec<Evidence> {
    let mut shown: Vec<Evidence> = all.iter().take(SHOWN).map(line).collect();
    if let Some(beyond) = all.len().checked_sub(SHOWN).filter(|it| *it > 0) {
        shown.push(Evidence::new("and more", format!("{beyond} more")));
    }
    shown
}

/// `1 address`, `4 addresses`.
fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// `2 d`, `5 h`, `12 min`, `40 s`.
fn span(it: SignedDuration) -> String {
    match it.as_secs() {
        seconds if seconds >= 2 * 86_400 => format!("{} d", seconds / 86_400),
        seconds if seconds >= 2 * 3600 => format!("{} h", seconds / 3600),
        seconds if seconds >= 120 => format!("{} min", seconds / 60),
        seconds => format!("{} s", seconds.max(0)),
    }
}

/// True when an object was made less than `limit` before `now`.
fn is_fresh(it: &Metadata, now: Timestamp, limit: SignedDuration) -> bool {
    it.creation_timestamp.is_some_and(|made| now.duration_since(made) < limit)
}

/// One step less bad.
fn lower(it: Severity) -> Severity {
    match it {
        Severity::Critical => Severity::Error,
        Severity::Error => Severity::Warning,
        Severity::Warning | Severity::Info => Severity::Info,
    }
}

/// Why a list does not hold every object of its kind; none when it does.
fn not_whole<T>(listing: &Listing<T>, what: &str) -> Option<Gap> {
    if listing.is_whole() {
        return None;
    }
    let detail = match listing.coverage {
        Coverage::None => "the list was not read",
        _ => "only a part was read",
    };
    Some(listing.gap.clone().unwrap_or_else(|| Gap::new(what, GapReason::NotAsked, detail)))
}

/// Knows which nodes exist, as far as all were read.
struct Nodes<'a>(Option<std::collections::HashSet<&'a str>>);

impl<'a> Nodes<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let names = || snapshot.nodes.items.iter().map(|it| it.metadata.name.as_str()).collect();
        Self(snapshot.nodes.is_whole().then(names))
    }

    /// False only when all nodes are known, and it is none of them.
    fn may_exist(&self, node: &str) -> bool {
        self.0.as_ref().is_none_or(|all| all.contains(node))
    }

    /// Whether a pod holds its addresses: those of pods on nodes that are gone are free for others.
    fn carry(&self, pod: &Pod) -> bool {
        !pod.is_finished() && self.may_exist(&pod.spec.node_name)
    }
}

/// Runs a check over a small cluster.
#[cfg(test)]
fn judged(check: &super::CheckMeta, snapshot: &Snapshot) -> crate::findings::Findings {
    let mut out = crate::findings::Findings::default();
    (check.run)(&super::Context { snapshot, now: snapshot.taken }, &mut out);
    out
}

/// Keys of what a check finds, and how many things it did not judge.
#[cfg(test)]
fn keys(check: &super::CheckMeta, snapshot: &Snapshot) -> (Vec<&'static str>, usize) {
    let out = judged(check, snapshot);
    (out.found.iter().map(|it| it.cause.key).collect(), out.unjudged.len())
}
