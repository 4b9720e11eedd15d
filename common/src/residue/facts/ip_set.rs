//! Reads `ipset list -terse`.

/// An ipset.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct IpSet {
    /// Its name.
    pub name: String,
    /// How many rules and sets refer to it; none when that was not shown.
    pub references: Option<usize>,
}

/// All sets, sorted. What is in a set (comments, say) is never read as a name: names stand on lines of their own.
pub(super) fn parse(text: &str) -> Vec<IpSet> {
    let mut sets: Vec<IpSet> = Vec::new();
    let mut in_members = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("Name: ") {
            in_members = false;
            sets.push(IpSet { name: name.to_owned(), references: None });
        } else if line.starts_with("Members:") {
            in_members = true;
        } else if let Some(count) = line.strip_prefix("References: ").filter(|_| !in_members)
            && let Some(set) = sets.last_mut()
        {
            set.references = count.trim().parse().ok();
        }
    }
    sets.sort();
    sets.dedup_by(|a, b| a.name == b.name);
    sets
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sets_and_their_references() {
        let sets = parse(
            "Name: notes\nType: hash:ip\nHeader: family inet comment\nReferences: 1\nMembers:\n10.0.0.1 comment \"Name: cali40x\"\n\n\
             Name: cali40all-ipam-pools\nType: hash:net\nReferences: 0\n",
        );
        let seen: Vec<_> = sets.iter().map(|it| (it.name.as_str(), it.references)).collect();
        assert_eq!(seen, [("cali40all-ipam-pools", Some(0)), ("notes", Some(1))]);
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(text in "(?s)(Name: |References: |Members:|cali40|-?[0-9]{1,30}|\n|.){0,40}") {
            drop(parse(&text));
        }
    }
}
