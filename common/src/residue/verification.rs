//! Whether residues are gone: by what is there, not by who needs it.

use std::collections::BTreeSet;

use super::{Inventory, ResidueFacts, ResidueId, ResidueKind, Scope, Surroundings, take_inventory};
use crate::snapshot::{Gap, GapReason, Known};

/// Those of `ids` that a scan still shows; absent when none is left, unknown when the scan could not look at all of them.
pub fn still_there(facts: &ResidueFacts, ids: &[String]) -> Known<Vec<String>> {
    let found = take_inventory(facts, &nobody_needs_anything());
    let there: BTreeSet<&str> = shown(&found).map(|id| id.0.as_str()).collect();
    let left: Vec<String> = ids.iter().filter(|id| there.contains(id.as_str())).cloned().collect();
    if !left.is_empty() {
        return Known::Known(left);
    }
    for id in ids {
        let Some(kind) = ResidueId(id.clone()).kind() else {
            let why = format!("{id} is of no kind that this version knows");
            return Known::Unknown(Gap::new("residues.txt", GapReason::Undecodable, why));
        };
        if let Some(gap) = found.gaps.iter().find(|gap| concerns(gap, kind)) {
            return Known::Unknown(gap.clone());
        }
    }
    Known::Absent
}

/// Everything that the inventory speaks of: what is left alone is there as well.
fn shown(found: &Inventory) -> impl Iterator<Item = &ResidueId> {
    let residues = found.residues.iter().map(|it| &it.id);
    residues.chain(found.kept.iter().chain(&found.reported).map(|it| &it.id))
}

fn nobody_needs_anything() -> Surroundings {
    let pools = ["0.0.0.0/0", "::/0"].into_iter().filter_map(|it| it.parse().ok()).collect();
    Surroundings {
        pod_links: Known::Known(BTreeSet::new()),
        ..Surroundings::unknown(Scope::NotInstalled, "", pools)
    }
}

/// Whether a gap may hide something of a kind. A gap in no section may hide anything.
fn concerns(gap: &Gap, kind: ResidueKind) -> bool {
    let Some((_, section)) = gap.what.split_once('#') else { return true };
    let sections: &[&str] = match kind {
        ResidueKind::File | ResidueKind::Directory => &["paths", "sha256", "conf-"],
        ResidueKind::Mount => &["mounts"],
        ResidueKind::Link => &["ip-link", "ip-addr"],
        ResidueKind::Route => &["route."],
        ResidueKind::RoutingRule => &["routing-rule.", "route."],
        ResidueKind::Chain | ResidueKind::Rule => &["rules."],
        ResidueKind::NftTable => &["nft-tables"],
        ResidueKind::IpSet => &["ip-sets"],
        ResidueKind::Program => &["tc-filters", "bpf-programs", "bpf-cgroups", "ip-link"],
        ResidueKind::Pin => &["bpf-pins", "bpf-directories"],
        // The API server is asked for these.
        ResidueKind::Annotation | ResidueKind::Condition => &[],
    };
    sections.iter().any(|it| section.starts_with(it))
}
