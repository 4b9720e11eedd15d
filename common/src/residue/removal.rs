//! What is done about residues, in the order in which it works: what routes packets first, then filters, sets and programs,
//! and last the files that the CNI plugin needs for tearing down what is left.

use std::collections::BTreeMap;

use super::inventory::{Inventory, Means, Residue};
use super::transaction::Transaction;
use super::{ResidueId, ResidueKind};
use crate::calico::names::CNI_KUBECONFIG_NAME;
use crate::plan::{Expected, HostOperation, IpFamily, NftTable};

/// One piece of work and what goes by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// What it does, imperative, without the node: `remove interface vxlan.calico`.
    pub title: String,
    /// The work.
    pub operation: HostOperation,
    /// What is gone after it.
    pub residues: Vec<ResidueId>,
}

/// The work on the host that removes the residues, in order. Residues that no work removes are in [`left`].
pub fn removal(inventory: &Inventory) -> Vec<Removal> {
    let all = &inventory.residues;
    let mut work = Vec::new();
    work.extend(files(all, false));
    work.extend(detached(all));
    work.extend(links(all));
    for family in [IpFamily::V4, IpFamily::V6] {
        work.extend(routes(all, family));
        work.extend(routing_rules(all, family));
    }
    work.extend(rules(all));
    work.extend(tables(all));
    work.extend(sets(all));
    work.extend(pins(all));
    work.extend(mounts(all));
    work.extend(trees(all));
    work.extend(files(all, true));
    work
}

/// Residues that stay, and why: nothing that we do removes them.
pub fn left(inventory: &Inventory) -> Vec<(ResidueId, String)> {
    let why = |it: &Residue| match &it.means {
        Means::Chain { place, .. } | Means::Rule { place, .. } => place.blocked.clone(),
        Means::None(why) => Some(why.clone()),
        _ => None,
    };
    inventory.residues.iter().filter_map(|it| Some((it.id.clone(), why(it)?))).collect()
}

fn one(title: String, operation: HostOperation, residue: &Residue) -> Removal {
    Removal { title, operation, residues: vec![residue.id.clone()] }
}

/// Files of shared directories. The plugin's credentials go last: tearing down a pod's network needs them.
fn files(all: &[Residue], last: bool) -> Vec<Removal> {
    let file = |it: &Residue| match &it.means {
        Means::File { path, sha256 } if path.ends_with(CNI_KUBECONFIG_NAME) == last => {
            let expected = Expected::Sha256(sha256.clone());
            let operation = HostOperation::RemoveFile { path: path.clone(), expected };
            Some(one(format!("remove {path}"), operation, it))
        }
        _ => None,
    };
    all.iter().filter_map(file).collect()
}

fn detached(all: &[Residue]) -> Vec<Removal> {
    let program = |it: &Residue| match &it.means {
        Means::Detach { link, index, hook } => {
            let title = format!("detach Calico's BPF programs from {link} ({})", hook.word());
            let operation =
                HostOperation::DetachPrograms { link: link.clone(), index: *index, hook: *hook };
            Some(one(title, operation, it))
        }
        _ => None,
    };
    all.iter().filter_map(program).collect()
}

fn links(all: &[Residue]) -> Vec<Removal> {
    let link = |it: &Residue| match &it.means {
        Means::RemoveLink { name, index, kind } => {
            let operation = HostOperation::RemoveLink {
                name: name.clone(),
                link_kind: kind.clone(),
                index: *index,
            };
            Some(one(format!("remove interface {name}"), operation, it))
        }
        Means::FlushLink { name, index, kind } => {
            let operation = HostOperation::FlushLink {
                name: name.clone(),
                index: *index,
                link_kind: kind.clone(),
            };
            Some(one(format!("take the addresses from {name} and set it down"), operation, it))
        }
        _ => None,
    };
    all.iter().filter_map(link).collect()
}

/// Work that takes many things at once: none when there is none of them.
fn together<T>(
    all: &[Residue],
    pick: impl Fn(&Residue) -> Option<T>,
    work: impl FnOnce(Vec<T>) -> (String, HostOperation),
) -> Option<Removal> {
    let (residues, items): (Vec<ResidueId>, Vec<T>) =
        all.iter().filter_map(|it| Some((it.id.clone(), pick(it)?))).unzip();
    if items.is_empty() {
        return None;
    }
    let (title, operation) = work(items);
    Some(Removal { title, operation, residues })
}

fn routes(all: &[Residue], family: IpFamily) -> Option<Removal> {
    let pick = |it: &Residue| match &it.means {
        Means::Route { family: of, line } if *of == family => Some(line.clone()),
        _ => None,
    };
    together(all, pick, |routes| {
        let title = format!("remove {}", counted(ResidueKind::Route, family, routes.len()));
        (title, HostOperation::RemoveRoutes { family, routes })
    })
}

fn routing_rules(all: &[Residue], family: IpFamily) -> Option<Removal> {
    let pick = |it: &Residue| match &it.means {
        Means::RoutingRule { family: of, line } if *of == family => Some(line.clone()),
        _ => None,
    };
    together(all, pick, |rules| {
        let title = format!("remove {}", counted(ResidueKind::RoutingRule, family, rules.len()));
        (title, HostOperation::RemoveRoutingRules { family, rules })
    })
}

/// `3 IPv6 routes`
fn counted(kind: ResidueKind, family: IpFamily, count: usize) -> String {
    let protocol = match family {
        IpFamily::V4 => "IPv4",
        IpFamily::V6 => "IPv6",
    };
    kind.counted(count).replacen(' ', &format!(" {protocol} "), 1)
}

/// One change per implementation and family; within it, each table changes at one instant.
fn rules(all: &[Residue]) -> Vec<Removal> {
    let mut changes: BTreeMap<(&str, &str), Transaction> = BTreeMap::new();
    for residue in all {
        let (Means::Chain { place, .. } | Means::Rule { place, .. }) = &residue.means else {
            continue;
        };
        if place.blocked.is_some() {
            continue;
        }
        let change = changes
            .entry(super::facts::words_of(place.backend, place.family))
            .or_insert_with(|| Transaction::new(place.backend, place.family));
        match &residue.means {
            Means::Chain { name, .. } => change.chain(&place.table, name, &residue.id),
            Means::Rule { chain, text, .. } => change.rule(&place.table, chain, text, &residue.id),
            _ => {}
        }
    }
    changes.into_values().map(Transaction::finish).collect()
}

fn tables(all: &[Residue]) -> Option<Removal> {
    let pick = |it: &Residue| match &it.means {
        Means::NftTable(table) => Some(table.clone()),
        _ => None,
    };
    together(all, pick, |tables: Vec<NftTable>| {
        let title = format!("remove {}", ResidueKind::NftTable.counted(tables.len()));
        (title, HostOperation::RemoveNftTables { tables })
    })
}

fn sets(all: &[Residue]) -> Option<Removal> {
    let pick = |it: &Residue| match &it.means {
        Means::IpSet(name) => Some(name.clone()),
        _ => None,
    };
    together(all, pick, |names| {
        let title = format!("destroy {}", ResidueKind::IpSet.counted(names.len()));
        (title, HostOperation::DestroyIpSets { names })
    })
}

/// What is deeper goes first, so that directories are empty when their turn comes.
fn pins(all: &[Residue]) -> Option<Removal> {
    let pick = |it: &Residue| match &it.means {
        Means::Pin(path) => Some(path.clone()),
        _ => None,
    };
    together(all, pick, |mut paths| {
        paths.sort_by(|a, b| b.matches('/').count().cmp(&a.matches('/').count()).then(a.cmp(b)));
        let title = format!("remove {}", ResidueKind::Pin.counted(paths.len()));
        (title, HostOperation::RemovePins { paths })
    })
}

fn mounts(all: &[Residue]) -> Vec<Removal> {
    let mount = |it: &Residue| match &it.means {
        Means::Unmount { path, file_system } => {
            let operation =
                HostOperation::Unmount { path: path.clone(), file_system: file_system.clone() };
            Some(one(format!("unmount {path}"), operation, it))
        }
        _ => None,
    };
    all.iter().filter_map(mount).collect()
}

fn trees(all: &[Residue]) -> Vec<Removal> {
    let tree = |it: &Residue| match &it.means {
        Means::Tree { path } => Some(one(
            format!("remove {path}"),
            HostOperation::RemoveTree { path: path.clone() },
            it,
        )),
        _ => None,
    };
    all.iter().filter_map(tree).collect()
}
