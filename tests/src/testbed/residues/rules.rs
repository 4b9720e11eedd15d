//! Which chains, and which rules in foreign chains, the seeded rules of iptables come to.

use super::RULES;

/// Names of everything of Calico's that `rules BACKEND FAMILY FILE [TABLE]` restores, from a name such as
/// `rules/felix.rules/legacy/v4/filter`: a chain is called `chain/legacy/v4/filter/cali-INPUT`, a rule in a foreign chain
/// after its hash, or after its text if it has none. None for another name.
pub(super) fn names(name: &str) -> Option<Vec<String>> {
    let mut words = name.strip_prefix("rules/")?.split('/');
    let (file, backend, family, table) =
        (words.next()?, words.next()?, words.next()?, words.next()?);
    let text = RULES.iter().find(|(name, _)| *name == file)?.1;
    let place = format!("{backend}/{family}/{table}");
    let lines = text.lines().filter_map(|line| of_family(line, family));
    let inside =
        lines.skip_while(|line| *line != format!("*{table}")).take_while(|line| *line != "COMMIT");
    Some(inside.filter_map(|line| one(&place, line)).collect())
}

/// The line, if it is for this family, without what says so.
fn of_family<'a>(line: &'a str, family: &str) -> Option<&'a str> {
    match line.split_once('|') {
        Some(("4", rest)) => (family == "v4").then_some(rest),
        Some(("6", rest)) => (family == "v6").then_some(rest),
        _ => Some(line),
    }
}

fn one(place: &str, line: &str) -> Option<String> {
    if let Some(chain) = line.strip_prefix(':') {
        return Some(format!("chain/{place}/{}", chain.split(' ').next()?));
    }
    let (chain, text) = line.strip_prefix("-A ")?.split_once(' ')?;
    if chain.chars().any(|it| it.is_ascii_lowercase()) {
        return None;
    }
    let hash = text.split('"').find(|word| word.starts_with("cali:"));
    Some(format!("rule/{place}/{chain}/{}", hash.unwrap_or(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_and_rules_in_foreign_chains_have_names() {
        let names = names("rules/felix-v1.rules/legacy/v6/nat").unwrap();
        let chains =
            ["felix-POSTROUTING", "felix-PREROUTING"].map(|it| format!("chain/legacy/v6/nat/{it}"));
        let rules = ["PREROUTING/-j felix-PREROUTING", "POSTROUTING/-j felix-POSTROUTING"]
            .map(|it| format!("rule/legacy/v6/nat/{it}"));
        assert_eq!(names, [chains, rules].concat());
        let names = super::names("rules/felix.rules/nft/v4/raw").unwrap();
        assert!(names.contains(&"rule/nft/v4/raw/OUTPUT/cali:tVnHkvAo15HuiPy0".to_owned()));
        assert_eq!(names.len(), 7);
        assert_eq!(super::names("link/vxlan.calico"), None);
    }
}
