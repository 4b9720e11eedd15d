//! iptables of both implementations, nftables, ipsets.

use std::collections::{BTreeMap, BTreeSet};

use super::{Means, Seen, TablePlace, Taking};
use crate::plan::host::{is_calico_ip_set, is_calico_table};
use crate::plan::{IpFamily, NftFamily, RulesBackend};
use crate::residue::facts::{SavedRule, SavedRules, SavedTable, backend_word, family_word};
use crate::residue::{FelixBackend, ResidueKind};
use crate::snapshot::{Gap, GapReason, Known};

/// Beginning of the names of Felix's chains.
const CHAINS: &str = "cali-";
/// The same of releases before v3: their rules carried no comment.
const HISTORIC_CHAINS: [&str; 7] =
    ["califw-", "calitw-", "califh-", "calith-", "calipi-", "calipo-", "felix-"];
/// Beginning of the comment of each of Felix's rules; its hash follows.
const COMMENT: &str = "cali:";
/// Characters of that hash (felix/generictables/rules.go: `HashLength`).
const HASH_LENGTH: usize = 16;
/// Ipset of historic rules in chain POSTROUTING.
const HISTORIC_SET: &str = "felix-masq-ipam-pools";
/// Another of these, word for word: for packets that the host itself sends into the tunnel.
const HISTORIC_MASQUERADE: &str = "-o tunl0 -m addrtype ! --src-type LOCAL --limit-iface-out -m addrtype --src-type LOCAL -j MASQUERADE";

/// How often the rules that go refer to each ipset, and which ipsets the rules refer to that cannot go.
#[derive(Default)]
struct References {
    going: BTreeMap<String, usize>,
    staying: BTreeSet<String>,
}

pub(super) fn take(taking: &mut Taking<'_>) {
    let facts = taking.facts;
    let mut references = References::default();
    for (backend, family, rules) in &facts.rules {
        if is_live(taking, *backend, *family) {
            if rules.known().is_some_and(has_own_chains) {
                let (name, program) = (words(*backend, *family), save_program(*backend, *family));
                let what = format!("rules of Felix that {program} shows");
                let backend = &taking.surroundings.backend;
                taking.undecided(ResidueKind::Chain, &name, &what, backend);
            }
            continue;
        }
        let Some(rules) = taking.known(rules) else { continue };
        for table in &rules.unreadable {
            let id = format!("rules.{}.{}", backend_word(*backend), family_word(*family));
            let detail = format!("iptables cannot show table {table}: look with nft list ruleset");
            taking.found.gaps.push(Gap::new(
                format!("residues.txt#{id}"),
                GapReason::Undecodable,
                detail,
            ));
        }
        for table in &rules.tables {
            of_table(taking, (*backend, *family), table, &mut references);
        }
    }
    nft_tables(taking);
    ip_sets(taking, &references);
}

fn words(backend: RulesBackend, family: IpFamily) -> String {
    format!("{}/{}", backend_word(backend), family_word(family))
}

fn has_own_chains(rules: &SavedRules) -> bool {
    rules.tables.iter().flat_map(|table| &table.chains).any(|name| is_own_chain(name))
}

/// Whether Felix, which lives here, programs its rules with this implementation, or may.
fn is_live(taking: &Taking<'_>, backend: RulesBackend, family: IpFamily) -> bool {
    taking.is_stale_scope()
        && !is_unused(taking, family)
        && match taking.surroundings.backend {
            Known::Known(FelixBackend::Iptables(its)) => its == backend,
            Known::Known(FelixBackend::Nftables) => false,
            Known::Known(FelixBackend::Bpf) | Known::Absent | Known::Unknown(_) => true,
        }
}

/// Whether Felix programs nothing of this family, with whatever it programs.
fn is_unused(taking: &Taking<'_>, family: IpFamily) -> bool {
    family == IpFamily::V6 && taking.surroundings.ipv6.known() == Some(&false)
}

fn is_own_chain(name: &str) -> bool {
    name.starts_with(CHAINS) || is_historic_chain(name)
}

fn is_historic_chain(name: &str) -> bool {
    HISTORIC_CHAINS.iter().any(|prefix| name.starts_with(prefix))
}

/// `cali:wUHhoiAYhphO9Mso`: a person who writes such a comment writes something else behind the colon.
fn is_hash_of_felix(comment: &str) -> bool {
    comment.strip_prefix(COMMENT).is_some_and(|hash| {
        hash.len() == HASH_LENGTH
            && hash.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_'))
    })
}

/// A rule of Felix's in a chain that is not.
fn is_own_rule(rule: &SavedRule) -> bool {
    rule.comments.iter().any(|it| is_hash_of_felix(it))
        || is_historic_chain(&rule.target)
        || rule.ip_sets.iter().any(|it| it == HISTORIC_SET)
        || (rule.chain == "POSTROUTING" && rule.text == HISTORIC_MASQUERADE)
}

fn of_table(
    taking: &mut Taking<'_>,
    (backend, family): (RulesBackend, IpFamily),
    table: &SavedTable,
    references: &mut References,
) {
    let prefix = format!("{}/{}/{}", backend_word(backend), family_word(family), table.name);
    let foreign = |rule: &&SavedRule| {
        !is_own_chain(&rule.chain) && !is_own_rule(rule) && is_own_chain(&rule.target)
    };
    let blocked = table.rules.iter().find(foreign).map(|rule| {
        format!("rule -A {} {} is not Calico's and jumps into its chain", rule.chain, rule.text)
    });
    for rule in table.rules.iter().filter(foreign) {
        let name = format!("{prefix}/{}/{}", rule.chain, rule.text);
        let what = format!("rule -A {} {} in {prefix}", rule.chain, rule.text);
        let why = "it is not Calico's and jumps into its chain, which cannot go before it: remove the rule";
        taking.reported(ResidueKind::Rule, &name, what, why);
    }
    let place = TablePlace { backend, family, table: table.name.clone(), blocked };
    for chain in table.chains.iter().filter(|name| is_own_chain(name)) {
        let what = format!("chain {chain} in {prefix}");
        let source = save_program(backend, family);
        let excerpt = "the prefix is that of Felix's chains";
        let means = Means::Chain { place: place.clone(), name: chain.clone() };
        let name = format!("{prefix}/{chain}");
        taking.residue(ResidueKind::Chain, &name, Seen { what, source, excerpt }, means);
    }
    let mut seen = BTreeMap::new();
    for rule in &table.rules {
        let is_foreign_place = !is_own_chain(&rule.chain);
        if is_foreign_place && !is_own_rule(rule) {
            references.staying.extend(rule.ip_sets.iter().cloned());
            continue;
        }
        count(references, rule, place.blocked.is_some());
        if is_foreign_place {
            own_rule(taking, &prefix, &place, rule, &mut seen);
        }
    }
}

fn count(references: &mut References, rule: &SavedRule, stays: bool) {
    for set in &rule.ip_sets {
        if stays {
            references.staying.insert(set.clone());
        } else {
            *references.going.entry(set.clone()).or_default() += 1;
        }
    }
}

fn own_rule(
    taking: &mut Taking<'_>,
    prefix: &str,
    place: &TablePlace,
    rule: &SavedRule,
    seen: &mut BTreeMap<String, usize>,
) {
    let hash = rule
        .comments
        .iter()
        .find(|it| it.starts_with(COMMENT) && !it.contains(char::is_whitespace));
    let mut name = format!("{prefix}/{}/{}", rule.chain, hash.unwrap_or(&rule.text));
    // The same rule may stand there twice.
    let times = seen.entry(name.clone()).or_default();
    *times += 1;
    if *times > 1 {
        name.push_str(&format!("#{times}"));
    }
    let what = format!("rule -A {} {} in {prefix}", rule.chain, rule.text);
    let excerpt = match hash {
        Some(_) => "its comment is Felix's",
        None => "it is spelled as an old Felix spelled it",
    };
    let source = save_program(place.backend, place.family);
    let means =
        Means::Rule { place: place.clone(), chain: rule.chain.clone(), text: rule.text.clone() };
    taking.residue(ResidueKind::Rule, &name, Seen { what, source, excerpt }, means);
}

fn save_program(backend: RulesBackend, family: IpFamily) -> &'static str {
    match (backend, family) {
        (RulesBackend::Nft, IpFamily::V4) => "iptables-nft-save",
        (RulesBackend::Nft, IpFamily::V6) => "ip6tables-nft-save",
        (RulesBackend::Legacy, IpFamily::V4) => "iptables-legacy-save",
        (RulesBackend::Legacy, IpFamily::V6) => "ip6tables-legacy-save",
    }
}

fn nft_tables(taking: &mut Taking<'_>) {
    let facts = taking.facts;
    let Some(tables) = taking.known(&facts.nft_tables) else { return };
    for table in tables {
        let is_of_unused_family = table.family == NftFamily::Ip6 && is_unused(taking, IpFamily::V6);
        let may_go = match taking.surroundings.backend {
            _ if !taking.is_stale_scope() || is_of_unused_family => true,
            Known::Known(FelixBackend::Iptables(_)) => true,
            _ => false,
        };
        let name = format!("{}/{}", table.family.word(), table.name);
        let what = format!("nftables table {} {}", table.family.word(), table.name);
        if !is_calico_table(table.family, &table.name) {
            if table.name.contains("calico") {
                taking.kept(
                    ResidueKind::NftTable,
                    &name,
                    what,
                    "Felix makes no table of that name",
                );
            }
        } else if may_go {
            let excerpt = "family and name are those of Felix's table";
            let seen = Seen { what, source: "nft list tables", excerpt };
            taking.residue(ResidueKind::NftTable, &name, seen, Means::NftTable(table.clone()));
        } else {
            let backend = &taking.surroundings.backend;
            taking.undecided(ResidueKind::NftTable, &name, &what, backend);
        }
    }
}

/// Whether the name is one that Felix gives to sets of IPv6 addresses.
fn is_of_v6(name: &str) -> bool {
    name.starts_with("cali6") || name.starts_with("felix-6")
}

fn ip_sets(taking: &mut Taking<'_>, references: &References) {
    let facts = taking.facts;
    // Felix makes sets before the rules that use them: while it lives, one without rules proves nothing.
    let uses_none = matches!(taking.surroundings.backend, Known::Known(FelixBackend::Nftables));
    let are_all_judged = !taking.is_stale_scope() || uses_none;
    if !are_all_judged && !is_unused(taking, IpFamily::V6) {
        return;
    }
    let Some(sets) = taking.known(&facts.ip_sets) else { return };
    for set in sets.iter().filter(|it| are_all_judged || is_of_v6(&it.name)) {
        let what = format!("ipset {}", set.name);
        if !is_calico_ip_set(&set.name) {
            if set.name.starts_with("cali") || set.name.starts_with("felix") {
                taking.kept(
                    ResidueKind::IpSet,
                    &set.name,
                    what,
                    "Felix makes no ipset of that name",
                );
            }
            continue;
        }
        let ours = references.going.get(&set.name).copied().unwrap_or_default();
        let why = match set.references {
            _ if references.staying.contains(&set.name) => {
                Some("a rule that stays refers to it".to_owned())
            }
            None => Some("how many rules refer to it was not shown".to_owned()),
            Some(count) if count > ours => Some(format!(
                "{count} rules or sets refer to it, and only {ours} of them are Felix's"
            )),
            Some(_) => None,
        };
        if let Some(why) = why {
            taking.kept(ResidueKind::IpSet, &set.name, what, why);
        } else {
            let excerpt =
                "the name is that of a set of Felix's, and only Felix's rules refer to it";
            let seen = Seen { what, source: "ipset list -terse", excerpt };
            taking.residue(ResidueKind::IpSet, &set.name, seen, Means::IpSet(set.name.clone()));
        }
    }
}
