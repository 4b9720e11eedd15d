//! Inventories of real dumps: of a machine with everything that Calico leaves, and of one that only looks like it.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::plan::{HostOperation, IpFamily, RulesBackend};
use crate::snapshot::Known;

const SEEDED: &str = include_str!("testdata/seeded.txt");
const SEEDED_IDS: &str = include_str!("testdata/seeded.ids");
const ALIKE: &str = include_str!("testdata/alike.txt");

/// A cluster with one pool and two nodes, in which the machine once was.
fn around(scope: Scope) -> Surroundings {
    let pools = vec!["10.213.0.0/16".parse().unwrap()];
    Surroundings {
        pod_links: Known::Known(BTreeSet::new()),
        node_addresses: Known::Known(
            ["10.99.13.2", "10.99.13.3"].map(|it| it.parse().unwrap()).into(),
        ),
        ..Surroundings::unknown(scope, "node2", pools)
    }
}

fn inventory(text: &str, around: &Surroundings) -> Inventory {
    take_inventory(&ResidueFacts::from_scan("node2", text.as_bytes()), around)
}

fn ids(found: &Inventory) -> BTreeSet<String> {
    found.residues.iter().map(|it| it.id.0.clone()).collect()
}

fn why<'a>(kept: &'a [Kept], id: &str) -> &'a str {
    kept.iter().find(|it| it.id.0 == id).map_or("not said", |it| it.why.as_str())
}

/// The scan with another text in one section.
fn with(text: &str, id: &str, rc: i32, content: &str) -> String {
    let start = text.find(&format!("@@{id} rc=")).unwrap();
    let end = start + text[start..].find("@@end").unwrap();
    format!("{}@@{id} rc={rc} ms=0\n{content}\n{}", &text[..start], &text[end..])
}

/// The scan with a further line in one section.
fn and(text: &str, id: &str, before: &str, line: &str) -> String {
    let start = text.find(&format!("@@{id} rc=")).unwrap();
    let at = start + text[start..].find(before).unwrap();
    format!("{}{line}\n{}", &text[..at], &text[at..])
}

#[test]
fn everything_that_calico_leaves_is_found() {
    let found = inventory(SEEDED, &around(Scope::NotInstalled));
    let wanted: BTreeSet<String> = SEEDED_IDS.lines().map(str::to_owned).collect();
    let seen = ids(&found);
    let missed: Vec<_> = wanted.difference(&seen).collect();
    let surplus: Vec<_> = seen.difference(&wanted).collect();
    assert!(missed.is_empty() && surplus.is_empty(), "missed {missed:#?}, surplus {surplus:#?}");
    assert_eq!(found.residues.len(), wanted.len(), "an id comes twice");
    assert_eq!(found.gaps, []);
    assert_eq!(ids(&inventory(SEEDED, &around(Scope::AllState))), seen);
    // All of it goes by some work, and each thing once.
    let gone: Vec<String> =
        removal(&found).into_iter().flat_map(|it| it.residues).map(|it| it.0).collect();
    assert_eq!(gone.len(), wanted.len());
    assert_eq!(gone.into_iter().collect::<BTreeSet<_>>(), seen);
    assert_eq!(left(&found), []);
}

#[test]
fn nothing_that_looks_like_it_is_called_left_over() {
    for scope in [Scope::NotInstalled, Scope::AllState, Scope::Stale] {
        let found = inventory(ALIKE, &around(scope));
        assert_eq!(ids(&found), BTreeSet::new());
        assert_eq!(found.gaps, []);
        assert_eq!(removal(&found), []);
        for id in ["link/tunl0", "link/wireguard.cali", "link/cali0123456789a", "link/cali-admin0"]
        {
            assert!(why(&found.kept, id).starts_with("Calico"), "{id}: {}", why(&found.kept, id));
        }
    }
    let found = inventory(ALIKE, &around(Scope::NotInstalled));
    for id in [
        "route/v4/198.51.100.0/25",
        "route/v4/203.0.113.128/25",
        "file/etc/cni/net.d/10-calico.conflist.bak",
        "ip-set/cali-admins",
        "nft-table/ip/calico-admin",
    ] {
        assert_ne!(why(&found.kept, id), "not said", "{id}");
    }
    assert_ne!(why(&found.reported, "file/etc/calico/calicoctl.cfg"), "not said");
}

#[test]
fn where_calico_lives_only_what_it_certainly_does_not_need_is_left_over() {
    let mut live = around(Scope::Stale);
    let dead = ["link/cali3f5078e6c6e", "link/calic87fa95e671"].map(str::to_owned);
    let backup = "file/etc/cni/net.d/10-canal.conflist.cilium_bak".to_owned();
    let expected: BTreeSet<String> = dead.iter().cloned().chain([backup]).collect();
    assert_eq!(ids(&inventory(SEEDED, &live)), expected);
    // What is unknown is no reason to remove anything.
    live.pod_links = Known::Unknown(crate::snapshot::Gap::new(
        "pods",
        crate::snapshot::GapReason::Forbidden,
        "forbidden",
    ));
    assert!(!ids(&inventory(SEEDED, &live)).contains(&dead[0]));
    live.pod_links = Known::Known([dead[0].trim_start_matches("link/").to_owned()].into());
    assert!(!ids(&inventory(SEEDED, &live)).contains(&dead[0]));
    live.backend = Known::Known(FelixBackend::Iptables(RulesBackend::Nft));
    live.vxlan = Known::Known(false);
    live.bpf = Known::Known(false);
    let seen = ids(&inventory(SEEDED, &live));
    let has = |start: &str| seen.iter().any(|id| id.starts_with(start));
    assert!(has("chain/legacy/v4/") && has("rule/legacy/v6/") && !has("chain/nft/"));
    assert!(has("nft-table/ip/calico") && has("link/vxlan.calico") && has("pin/sys/fs/bpf/tc/"));
    assert!(!has("ip-set/") && !has("pin/sys/fs/bpf/calico") && !has("directory/"));
    assert!(!has("file/opt") && !has("routing-rule/") && !has("route/v4/10.213.77.0/26"));
    live.backend = Known::Known(FelixBackend::Bpf);
    assert!(!ids(&inventory(SEEDED, &live)).iter().any(|id| id.starts_with("chain/")));
}

#[test]
fn a_pods_interface_is_left_over_only_if_nobody_can_use_it() {
    let mut not_installed = around(Scope::NotInstalled);
    not_installed.pod_links = Known::Known(["cali3f5078e6c6e".to_owned()].into());
    let found = inventory(SEEDED, &not_installed);
    assert_eq!(why(&found.kept, "link/cali3f5078e6c6e"), "a pod of the node has it");
    // A process in the namespace of the other end.
    let start = SEEDED.find("@@netns-inodes").unwrap();
    let inode = SEEDED[start..].lines().nth(1).unwrap().split(' ').next().unwrap();
    let lived_in = and(SEEDED, "netns-in-use", "@@end", inode);
    let found = inventory(&lived_in, &around(Scope::NotInstalled));
    assert_eq!(found.kept.iter().filter(|it| it.why.starts_with("processes live")).count(), 1);
    // Without knowing the namespaces nobody can tell.
    let unknown = with(SEEDED, "netns-in-use", 1, "ls: broken");
    let found = inventory(&unknown, &around(Scope::NotInstalled));
    assert!(!ids(&found).iter().any(|id| id.starts_with("link/cali")));
    assert_eq!(found.gaps.len(), 1);
}

#[test]
fn unknown_pools_keep_routes_and_the_kernels_tunnel() {
    let unknown = Surroundings::unknown(Scope::NotInstalled, "node2", Vec::new());
    let tunnel =
        r#"{"ifindex":9,"ifname":"tunl0","flags":["UP"],"linkinfo":{"info_kind":"ipip"}},{"#;
    let text = SEEDED.replacen("[{\"ifindex\":1,", &format!("[{tunnel}\"ifindex\":1,"), 1);
    let addresses = r#"[{"ifname":"tunl0","addr_info":[{"local":"10.213.4.0"}]}]"#;
    let text = with(&text, "ip-addr", 0, addresses);
    let found = inventory(&text, &unknown);
    assert!(!ids(&found).contains("route/v4/10.213.77.0/26"));
    assert!(why(&found.kept, "route/v4/10.213.78.0/26").contains("--pool"));
    assert!(ids(&found).contains("route/v4/10.213.76.0/26"), "its device tells");
    assert!(why(&found.kept, "link/tunl0").contains("not known"));
    let found = inventory(&text, &around(Scope::NotInstalled));
    assert!(ids(&found).contains("link/tunl0"));
    let flushed = |it: &Removal| matches!(it.operation, HostOperation::FlushLink { .. });
    assert!(removal(&found).iter().any(flushed));
    // The address of somebody else's service.
    let foreign = with(&text, "ip-addr", 0, &addresses.replace("10.213.4.0", "203.0.113.9"));
    assert!(
        why(&inventory(&foreign, &around(Scope::NotInstalled)).kept, "link/tunl0")
            .contains("no IP pool")
    );
}

#[test]
fn a_foreign_rule_that_jumps_into_calicos_chain_blocks_its_table() {
    let text =
        and(SEEDED, "rules.nft.v4", "-A FORWARD", "-A FORWARD -s 192.0.2.0/24 -j cali-FORWARD");
    // Whichever table comes first in the dump holds the line.
    let found = inventory(&text, &around(Scope::NotInstalled));
    assert_eq!(found.reported.iter().filter(|it| it.why.contains("remove the rule")).count(), 1);
    let stays = left(&found);
    assert!(stays.iter().any(|(id, _)| id.0 == "chain/nft/v4/filter/cali-FORWARD"), "{stays:?}");
    assert!(
        stays.iter().all(|(id, why)| id.0.contains("/nft/v4/filter/") && why.contains("192.0.2.0"))
    );
    for work in removal(&found) {
        if let HostOperation::RestoreRules {
            family: IpFamily::V4,
            backend: RulesBackend::Nft,
            rules,
            ..
        } = work.operation
        {
            assert!(!rules.contains("*filter") && rules.contains("*nat"), "{rules}");
        }
    }
    // Its sets are still referred to.
    assert!(why(&found.kept, "ip-set/cali40s:kVMQoXy0mAhGrXuFMXcCqZP").contains("stays"));
}

#[test]
fn a_comment_that_only_begins_as_felixs_is_a_persons() {
    for (comment, is_felixs) in [
        ("cali:wUHhoiAYhphO9Mso", true),
        ("cali:note for the night shift", false),
        ("cali:wUHhoiAYhphO9Ms", false),
        ("cali:wUHhoiAYhphO9Mso!", false),
    ] {
        let line = format!("-A INPUT -s 192.0.2.7/32 -m comment --comment \"{comment}\" -j ACCEPT");
        let text = and(SEEDED, "rules.nft.v4", "-A FORWARD", &line);
        let before = inventory(SEEDED, &around(Scope::NotInstalled)).residues.len();
        let found = inventory(&text, &around(Scope::NotInstalled)).residues.len();
        assert_eq!(found - before, usize::from(is_felixs), "{comment}");
    }
}

#[test]
fn a_set_that_others_refer_to_is_kept() {
    let start = SEEDED.find("Name: cali40this-host").unwrap();
    let at = start + SEEDED[start..].find("References: ").unwrap();
    let end = at + SEEDED[at..].find('\n').unwrap();
    let text = format!("{}References: 99{}", &SEEDED[..at], &SEEDED[end..]);
    let found = inventory(&text, &around(Scope::NotInstalled));
    assert!(why(&found.kept, "ip-set/cali40this-host").starts_with("99 rules"));
}

#[test]
fn clean_means_that_everything_was_looked_at() {
    let empty = |kernel: &str| {
        let mut text = with(ALIKE, "kernel", 0, kernel);
        for id in ["nft-tables", "ip-sets", "rules.nft.v4", "rules.legacy.v6", "bpf-cgroups"] {
            text = with(&text, id, 127, "this host has no such program");
        }
        inventory(&text, &around(Scope::NotInstalled))
    };
    let nothing = "nft_do_chain no\nip_set_test no\nip_tables_names no\nip6_tables_names no\ncalico_programs no";
    assert!(empty(nothing).is_clean());
    assert_eq!(empty(&nothing.replace(" no", " unknown")).gaps.len(), 5);
    assert_eq!(empty(&nothing.replace(" no", " yes")).gaps.len(), 5);
    let cut = &ALIKE[..ALIKE.find("@@ip-sets").unwrap()];
    assert!(!inventory(cut, &around(Scope::NotInstalled)).is_clean());
    assert!(!inventory("", &around(Scope::NotInstalled)).is_clean());
}

#[test]
fn a_second_scan_decides_whether_residues_are_gone() {
    let ids: Vec<String> = SEEDED_IDS.lines().map(str::to_owned).collect();
    let facts = |text: &str| ResidueFacts::from_scan("node2", text.as_bytes());
    assert!(
        matches!(still_there(&facts(SEEDED), &ids), Known::Known(left) if left.len() == ids.len())
    );
    assert_eq!(still_there(&facts(ALIKE), &ids), Known::Absent);
    let unseen = with(ALIKE, "ip-sets", 1, "ipset: broken");
    assert!(still_there(&facts(&unseen), &ids).gap().is_some());
    assert_eq!(still_there(&facts(&unseen), &["link/vxlan.calico".to_owned()]), Known::Absent);
    assert!(still_there(&facts(ALIKE), &["from-the-future/x".to_owned()]).gap().is_some());
}

#[test]
fn the_plugins_credentials_go_last_and_sets_after_their_rules() {
    let work = removal(&inventory(SEEDED, &around(Scope::NotInstalled)));
    let at = |pick: fn(&HostOperation) -> bool| {
        let all = work.iter().enumerate().filter(|(_, it)| pick(&it.operation));
        all.map(|(index, _)| index).collect::<Vec<_>>()
    };
    let rules = at(|it| matches!(it, HostOperation::RestoreRules { .. }));
    let sets = at(|it| matches!(it, HostOperation::DestroyIpSets { .. }));
    let mounts = at(|it| matches!(it, HostOperation::Unmount { .. }));
    let trees = at(|it| matches!(it, HostOperation::RemoveTree { .. }));
    assert_eq!((rules.len(), sets.len(), mounts.len()), (4, 1, 2));
    assert!(rules.iter().all(|it| it < &sets[0]) && mounts.iter().all(|it| it < &trees[0]));
    assert!(work.last().unwrap().title.ends_with("calico-kubeconfig"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a host prints, nothing ends the program, and no work is made that reaches beyond what is Calico's.
    #[test]
    fn a_hostile_scan_leads_to_nothing_bad(
        cuts in proptest::collection::vec((0usize..60_000, "[ -~\n]{0,12}|@@end\n|-A X -j cali-y\n|calico|/../"), 0..20),
    ) {
        let mut text = SEEDED.to_owned();
        for (at, word) in cuts {
            let at = (0..=at.min(text.len())).rev().find(|it| text.is_char_boundary(*it)).unwrap_or(0);
            text.insert_str(at, &word);
        }
        let found = inventory(&text, &around(Scope::NotInstalled));
        for work in removal(&found) {
            match work.operation {
                HostOperation::RemoveTree { path } => prop_assert!(crate::plan::host::is_calico_tree(&path)),
                HostOperation::RemoveFile { path, .. } => prop_assert!(path.contains("calico") || path.contains("cilium_bak") || path.contains("net.d"), "{}", path),
                HostOperation::DestroyIpSets { names } => prop_assert!(names.iter().all(|it| crate::plan::host::is_calico_ip_set(it))),
                HostOperation::RestoreRules { rules, .. } => {
                    for line in rules.lines() {
                        let is_own = |start: &str| line.strip_prefix(start).is_none_or(|it| it.starts_with("cali") || it.starts_with("felix-"));
                        prop_assert!(is_own(":") && is_own("-X "), "{}", line);
                    }
                }
                _ => {}
            }
        }
    }
}
