//! Which of the hosts' interfaces Calico's programs are attached to: those that a pattern matches.

use core::net::IpAddr;
use std::collections::BTreeSet;

use regex::{Regex, RegexBuilder};

use super::settings::{environment, stored};
use super::{BpfFacts, CalicoVersion, Findings, Grade, Requirement, Situation};
use crate::snapshot::{Gap, GapReason, Known};

/// What comes in elsewhere is dropped, or translated by nobody.
pub(super) static INTERFACES: Requirement = Requirement {
    id: "interfaces",
    title: "programs on the interfaces that traffic comes in by",
    essential: true,
    judge: interfaces,
};

/// What is matched unless Felix is told otherwise.
const DEFAULT: &str = "^((en|wl|ww|sl|ib)[Popsx].*|(eth|wlan|wwan|bond).*)";
/// The same before v3.26.
const DEFAULT_WITHOUT_BONDS: &str = "^((en|wl|ww|sl|ib)[Popsx].*|(eth|wlan|wwan).*)";
/// Longest program that a pattern of a user's may become, in bytes.
const PATTERN_LIMIT: usize = 1 << 20;
/// Kinds of devices that have no Ethernet header.
const WITHOUT_ETHERNET: [&str; 3] = ["wireguard", "tun", "ppp"];

/// Devices of one node that must be matched, those that should be, and those of them that have no Ethernet header.
#[derive(Default)]
struct Wanted {
    must: BTreeSet<String>,
    should: BTreeSet<String>,
    without_ethernet: BTreeSet<String>,
}

/// A pattern, or that it cannot be judged here.
struct Pattern {
    text: String,
    compiled: Option<Regex>,
}

fn interfaces(situation: &Situation<'_>, findings: &mut Findings) {
    let mut unmatched = BTreeSet::new();
    let mut looked = Vec::new();
    for (name, facts) in &situation.nodes {
        let facts = match facts {
            Known::Known(facts) => facts,
            Known::Absent => continue,
            Known::Unknown(gap) => {
                findings.unknown_on(name, gap);
                continue;
            }
        };
        match (wanted(situation, name, facts), pattern(situation, name)) {
            (Known::Known(wanted), Known::Known(pattern)) => {
                if let Some(compiled) = &pattern.compiled {
                    let all = wanted.must.iter().chain(&wanted.should);
                    unmatched.extend(all.filter(|it| !compiled.is_match(it)).cloned());
                }
                looked.push((name, wanted, pattern));
            }
            (Known::Unknown(gap), _) | (_, Known::Unknown(gap)) => findings.unknown_on(name, &gap),
            (Known::Absent, _) | (_, Known::Absent) => {}
        }
    }
    for (name, wanted, pattern) in looked {
        judge_node(findings, name, &wanted, &pattern, &unmatched);
    }
}

fn judge_node(
    findings: &mut Findings,
    name: &str,
    wanted: &Wanted,
    pattern: &Pattern,
    unmatched: &BTreeSet<String>,
) {
    let Some(compiled) = &pattern.compiled else {
        let why = format!("the pattern {:?} cannot be judged here", pattern.text);
        let gap = Gap::new("cluster/felixconfigurations", GapReason::Undecodable, why);
        return findings.unknown_on(name, &gap);
    };
    let missed = |of: &BTreeSet<String>| -> Vec<String> {
        of.iter().filter(|it| !compiled.is_match(it)).cloned().collect()
    };
    let (must, should) = (missed(&wanted.must), missed(&wanted.should));
    let remedy = format!(
        "set bpfDataIfacePattern: {:?} in FelixConfiguration default",
        suggestion(&pattern.text, unmatched)
    );
    if !must.is_empty() {
        let reason = format!(
            "{} has the node's address, and {:?} does not match it",
            must.join(", "),
            pattern.text
        );
        findings.node(name, Grade::Blocker, reason, &remedy);
    } else if !should.is_empty() {
        let reason = format!(
            "the default route goes by {}, and {:?} does not match it",
            should.join(", "),
            pattern.text
        );
        findings.node(name, Grade::Warning, reason, &remedy);
    } else if let Some(device) = wanted.without_ethernet.first() {
        let reason = format!("{device} has no Ethernet header, which Felix must be told");
        findings.node(
            name,
            Grade::Warning,
            reason,
            "set bpfL3IfacePattern in FelixConfiguration default",
        );
    } else {
        let all: Vec<&str> = wanted.must.union(&wanted.should).map(String::as_str).collect();
        findings.node(name, Grade::Fine, format!("{} will have them", all.join(", ")), "");
    }
}

/// A pattern that matches what the old one does, and these devices.
fn suggestion(old: &str, devices: &BTreeSet<String>) -> String {
    let names: Vec<String> = devices.iter().map(|it| regex::escape(it)).collect();
    format!("({old})|^({})$", names.join("|"))
}

/// The devices that hold the node's addresses, and those that default routes use.
fn wanted(situation: &Situation<'_>, name: &str, facts: &BpfFacts) -> Known<Wanted> {
    let node = situation.snapshot.nodes.items.iter().find(|it| it.metadata.name == name);
    let addresses: BTreeSet<IpAddr> = node
        .into_iter()
        .flat_map(|it| &it.status.addresses)
        .filter(|it| it.kind == "InternalIP")
        .filter_map(|it| it.address.parse().ok())
        .collect();
    facts.addresses.as_ref().and_then(|found| {
        facts.default_routes.as_ref().and_then(|routes| {
            let must: BTreeSet<String> = found
                .iter()
                .filter(|(device, own)| {
                    *device != "lo" && own.iter().any(|it| addresses.contains(it))
                })
                .map(|(device, _)| device.clone())
                .collect();
            if must.is_empty() && routes.is_empty() {
                return Known::Unknown(Gap::new(
                    format!("nodes/{name}/bpf.txt#ip-addr"),
                    GapReason::Undecodable,
                    "no interface has the node's address, and none a default route",
                ));
            }
            let should: BTreeSet<String> = routes.difference(&must).cloned().collect();
            let links = facts.links.known().map_or(&[][..], Vec::as_slice);
            let is_bare = |device: &&String| {
                let kind = links.iter().find(|it| it.name == **device).map(|it| it.kind.as_str());
                kind.is_some_and(|it| WITHOUT_ETHERNET.contains(&it))
            };
            let without_ethernet = must.union(&should).filter(is_bare).cloned().collect();
            Known::Known(Wanted { must, should, without_ethernet })
        })
    })
}

fn pattern(situation: &Situation<'_>, node: &str) -> Known<Pattern> {
    let given = match environment(situation, "FELIX_BPFDATAIFACEPATTERN") {
        Known::Absent => stored(situation, Some(node), "bpfDataIfacePattern")
            .map(|it| it.as_str().unwrap_or_default().to_owned()),
        given => given,
    };
    let text = match given {
        Known::Known(text) if !text.is_empty() => text,
        Known::Unknown(gap) => return Known::Unknown(gap),
        _ => {
            let old = CalicoVersion(3, 26, 0);
            let is_old = CalicoVersion::of_install(situation).known().is_some_and(|it| *it < old);
            (if is_old { DEFAULT_WITHOUT_BONDS } else { DEFAULT }).to_owned()
        }
    };
    let compiled = RegexBuilder::new(&text).size_limit(PATTERN_LIMIT).build().ok();
    Known::Known(Pattern { text, compiled })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{facts, grade, sections, situation, snapshot};
    use super::super::{Subject, judge};
    use super::*;

    /// The grade of node1 when this device has its address, that one the default route, and this pattern is set.
    fn of(device: &str, route: &str, pattern: Option<&str>) -> (String, String) {
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        let mut all = sections("10.0.0.1");
        all.insert("ip-addr", format!(r#"[{{"ifname":"{device}","addr_info":[{{"local":"10.0.0.1"}}]}},{{"ifname":"dummy0","addr_info":[{{"local":"192.0.2.9"}}]}}]"#));
        all.insert("ip-route.v4", format!(r#"[{{"dev":"{route}"}}]"#));
        all.insert(
            "ip-link",
            r#"[{"ifname":"wg0","linkinfo":{"info_kind":"wireguard"}}]"#.to_owned(),
        );
        it.nodes.insert("node1".to_owned(), Known::Known(facts("node1", &all)));
        if let Some(pattern) = pattern {
            let spec = json!({"bpfDataIfacePattern": pattern});
            it.felix = Known::Known(vec![json!({"metadata": {"name": "default"}, "spec": spec})]);
        }
        let node1 = Subject::Node("node1".to_owned());
        let found = judge(&it);
        let mut of =
            found.iter().filter(|it| it.requirement.id == "interfaces" && it.subject == node1);
        (grade(&it, "interfaces", "node1"), of.next().unwrap().remedy.clone())
    }

    #[test]
    fn usual_names_are_matched() {
        for device in [
            "eth0",
            "ens5",
            "enp3s0",
            "eno1",
            "enx001122334455",
            "bond0",
            "bond0.100",
            "ibp1",
            "wlan0",
        ] {
            assert_eq!(of(device, device, None).0, "fine", "{device}");
        }
    }

    #[test]
    fn other_names_block_and_a_pattern_is_suggested() {
        for device in ["em1", "p1p1", "team0", "br0", "venet0", "vmbr0"] {
            let (grade, remedy) = of(device, device, None);
            assert_eq!(grade, "blocker", "{device}");
            assert!(remedy.contains(&format!("^({device})$")), "{remedy}");
        }
        let suggested =
            suggestion(DEFAULT, &BTreeSet::from(["br0.5".to_owned(), "em1".to_owned()]));
        let compiled = Regex::new(&suggested).unwrap();
        assert!(["eth0", "em1", "br0.5"].iter().all(|it| compiled.is_match(it)));
        assert!(["em12", "br0x5", "docker0"].iter().all(|it| !compiled.is_match(it)));
    }

    #[test]
    fn a_route_by_another_device_warns() {
        assert_eq!(of("eth0", "br-ex", None).0, "warning");
        assert_eq!(of("eth0", "eth1", None).0, "fine");
    }

    #[test]
    fn a_pattern_of_the_users_counts() {
        assert_eq!(of("em1", "em1", Some("^em[12]$")).0, "fine");
        assert_eq!(of("eth0", "eth0", Some("^em[12]$")).0, "blocker");
        assert_eq!(of("eth0", "eth0", Some("(?=x)")).0, "unknown");
        assert_eq!(of("eth0", "eth0", Some("((a{0,500}){0,500}){0,500}")).0, "unknown");
    }

    #[test]
    fn devices_without_ethernet_are_told() {
        assert_eq!(of("wg0", "eth0", Some("^(wg0|eth0)$")).0, "warning");
    }

    #[test]
    fn what_felix_is_told_may_be_unknown() {
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        it.felix = super::super::fixtures::unknown();
        assert_eq!(grade(&it, "interfaces", "node1"), "unknown");
    }
}
