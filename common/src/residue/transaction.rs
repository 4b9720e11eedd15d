//! The change of packet filter rules that takes Calico's away, as input of `iptables-restore --noflush`.
//!
//! Declaring a chain empties it, so that in one transaction all chains are emptied, the rules of other chains that jump to
//! them are deleted, and then the chains are. Other rules, and their counters, are not touched: nothing is written back.

use std::collections::BTreeMap;

use super::{Removal, ResidueId};
use crate::plan::{HostOperation, IpFamily, RulesBackend};

/// What is to go of one implementation and family.
pub(super) struct Transaction {
    backend: RulesBackend,
    family: IpFamily,
    tables: BTreeMap<String, Table>,
    residues: Vec<ResidueId>,
}

#[derive(Default)]
struct Table {
    chains: Vec<String>,
    rules: Vec<String>,
}

impl Transaction {
    pub(super) fn new(backend: RulesBackend, family: IpFamily) -> Self {
        Self { backend, family, tables: BTreeMap::new(), residues: Vec::new() }
    }

    pub(super) fn chain(&mut self, table: &str, name: &str, id: &ResidueId) {
        self.tables.entry(table.to_owned()).or_default().chains.push(name.to_owned());
        self.residues.push(id.clone());
    }

    /// A rule is deleted by being spelled as iptables-save spelled it.
    pub(super) fn rule(&mut self, table: &str, chain: &str, text: &str, id: &ResidueId) {
        let table = self.tables.entry(table.to_owned()).or_default();
        table.rules.push(format!("{chain} {text}"));
        self.residues.push(id.clone());
    }

    pub(super) fn finish(self) -> Removal {
        let mut rules = String::new();
        let (mut chains, mut deleted) = (0, 0);
        for (name, table) in &self.tables {
            chains += table.chains.len();
            deleted += table.rules.len();
            rules.push_str(&format!("*{name}\n"));
            rules.extend(table.chains.iter().map(|chain| format!(":{chain} - [0:0]\n")));
            rules.extend(table.rules.iter().map(|rule| format!("-D {rule}\n")));
            rules.extend(table.chains.iter().map(|chain| format!("-X {chain}\n")));
            rules.push_str("COMMIT\n");
        }
        let (backend, family) = super::facts::words_of(self.backend, self.family);
        let program = if family == "v6" { "ip6tables" } else { "iptables" };
        Removal {
            title: format!("remove {chains} chains and {deleted} rules of {program}-{backend}"),
            operation: HostOperation::RestoreRules {
                family: self.family,
                backend: self.backend,
                rules,
                undo: None,
            },
            residues: self.residues,
        }
    }
}
