//! What became of addresses between two looks.

use core::net::IpAddr;
use std::collections::BTreeMap;

use super::{Allocation, Ledger, Owner};

/// One address that is not as it was.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The address.
    pub address: IpAddr,
    /// Who had it; none when it was free.
    pub before: Option<Allocation<'a>>,
    /// Who has it; none when it is free.
    pub after: Option<Allocation<'a>>,
}

impl<'a> Change<'a> {
    /// What it was taken for, before and after.
    pub fn owners(&self) -> (Option<Owner<'a>>, Option<Owner<'a>>) {
        (self.before.map(|it| it.owner()), self.after.map(|it| it.owner()))
    }

    /// `taken`, `released`, or `moved`: to another owner, or to another sandbox of the same.
    pub fn word(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "taken",
            (_, None) => "released",
            _ => "moved",
        }
    }
}

/// Every address whose owner or handle is another one, or that was taken anew, sorted.
pub fn diff<'a>(before: &Ledger<'a>, after: &Ledger<'a>) -> Vec<Change<'a>> {
    let of = |ledger: &Ledger<'a>| -> BTreeMap<IpAddr, Allocation<'a>> {
        ledger.allocations().map(|(_, it)| (it.address, it)).collect()
    };
    let (mut old, new) = (of(before), of(after));
    let mut all = Vec::new();
    for (address, is) in new {
        let was = old.remove(&address);
        // The sequence number tells an address that was given back and taken again.
        let same = was.is_some_and(|was| {
            was.sequence == is.sequence
                && was.entry.handle() == is.entry.handle()
                && was.owner() == is.owner()
        });
        if !same {
            all.push(Change { address, before: was, after: Some(is) });
        }
    }
    let gone =
        old.into_iter().map(|(address, was)| Change { address, before: Some(was), after: None });
    all.extend(gone);
    all.sort_by_key(|it| it.address);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipam::fixtures::cluster;

    fn owner(name: &str) -> String {
        format!(
            r#"{{"handle_id":"h-{name}","secondary":{{"namespace":"a","pod":"{name}","node":"n1"}}}}"#
        )
    }

    #[test]
    fn addresses_that_changed_hands_are_told() {
        let a = cluster(&[owner("stays"), owner("goes"), owner("moves")]);
        let mut b = cluster(&[owner("stays"), owner("x"), owner("moved"), owner("comes")]);
        let spec = &mut b.addresses.blocks.items[0].spec;
        spec.allocations[1] = None;
        let (before, after) = (Ledger::new(&a), Ledger::new(&b));
        let words: Vec<_> =
            diff(&before, &after).iter().map(|it| (it.address.to_string(), it.word())).collect();
        let expected = [("10.0.0.1", "released"), ("10.0.0.2", "moved"), ("10.0.0.3", "taken")];
        assert_eq!(words, expected.map(|(address, word)| (address.to_owned(), word)));
        assert!(diff(&before, &before).is_empty());
    }

    #[test]
    fn an_address_that_came_back_to_its_owner_was_taken_anew() {
        let a = cluster(&[owner("stays")]);
        let mut b = a.clone();
        let spec = &mut b.addresses.blocks.items[0].spec;
        spec.sequence_number_for_allocation.insert("0".into(), 9);
        let (before, after) = (Ledger::new(&a), Ledger::new(&b));
        assert_eq!(diff(&before, &after)[0].word(), "moved");
    }
}
