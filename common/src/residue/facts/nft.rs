//! Reads `nft list tables`.

use crate::plan::{NftFamily, NftTable};

/// Tables of the families in which Calico has some: lines `table ip calico`.
pub(super) fn parse(text: &str) -> Vec<NftTable> {
    let mut tables: Vec<NftTable> = text.lines().filter_map(table).collect();
    tables.sort();
    tables.dedup();
    tables
}

fn table(line: &str) -> Option<NftTable> {
    let mut words = line.strip_prefix("table ")?.split_whitespace();
    let family = match words.next()? {
        "ip" => NftFamily::Ip,
        "ip6" => NftFamily::Ip6,
        "arp" => NftFamily::Arp,
        _ => return None,
    };
    let name = words.next()?.to_owned();
    // Flags follow in newer releases, after a hash mark.
    words.next().is_none_or(|it| it.starts_with('#')).then_some(NftTable { family, name })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_families_of_calico_are_read() {
        let tables = parse(
            "table ip calico\ntable inet calico\ntable arp calico-arp\ntable ip a b\nx\ntable ip nat # handle 3\n",
        );
        let names: Vec<_> = tables.iter().map(|it| (it.family.word(), it.name.as_str())).collect();
        assert_eq!(names, [("ip", "calico"), ("ip", "nat"), ("arp", "calico-arp")]);
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(text in "(?s)(table |ip6? |arp |calico|\n|.){0,40}") {
            let all = parse(&text);
            prop_assert!(all.iter().all(|it| !it.name.is_empty() && !it.name.contains(char::is_whitespace)));
        }
    }
}
