//! Whole texts: of a node on either data plane, of one between them, and hostile ones.

use proptest::prelude::*;

use super::*;
use crate::snapshot::GapReason;

fn section(id: &str, rc: i32, text: &str) -> String {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("@@{id} rc={rc} ms=1\n{text}{end}@@end\n")
}

const BPFFS: &str = "29 23 0:26 / /sys/fs/bpf rw shared:9 - bpf bpf rw\n";
const FILTER: &str = "filter protocol all pref 49151 bpf chain 0 handle 0x1 cali_tc_preambl:[7] direct-action not_in_hw id 35 tag 0 jited\n";
const FRONTEND: &str = "10.96.0.1 port 443 proto 6 id 3 count 1 local 0\n";

/// A node as calico-node shows it: these filters, pins, and tables.
fn node(programs: &str, pins: &str, nat: &str) -> BpfFacts {
    let text = [
        section("vantage", 0, "calico-node\n"),
        section("mounts", 0, BPFFS),
        section("programs", 0, programs),
        section("program-links", 127, "there is no bpftool here\n"),
        section("pins", 0, pins),
        section("nat.v4", 0, nat),
        section("nat.v6", 0, "absent\n"),
        section("endpoint", 0, "10.0.0.10\n6443\n"),
        section("felix-variable", 0, "\n"),
    ];
    BpfFacts::from_scan("n", text.concat().as_bytes())
}

fn state(facts: &BpfFacts) -> NodeDataPlane {
    *facts.state().known().unwrap()
}

#[test]
fn a_node_that_serves_by_ebpf() {
    let on = format!("# eth0 ingress\n{FILTER}# calib1 egress\n{FILTER}");
    let facts = node(&on, "/sys/fs/bpf/tc/globals/cali_v4_nat_fe3\n", FRONTEND);
    assert_eq!(state(&facts), NodeDataPlane::Bpf);
    assert_eq!(facts.programs.known().unwrap()["eth0"].first().unwrap(), "cali_tc_preambl");
    assert_eq!(facts.nat.known().unwrap().len(), 1);
    let endpoint = Endpoint { host: "10.0.0.10".to_owned(), port: 6443 };
    assert_eq!(facts.endpoint, Known::Known(endpoint));
    assert_eq!(facts.variable, Known::Absent);
    assert_eq!(facts.faults, []);
}

#[test]
fn a_link_without_a_filter_counts_by_its_pin() {
    let pins = "/sys/fs/bpf/tcx/eth0_ingress\n/sys/fs/bpf/tcx/eth0_egress\n/sys/fs/bpf/tcx/odd\n";
    let facts = node("", pins, FRONTEND);
    assert_eq!(state(&facts), NodeDataPlane::Bpf);
    assert_eq!(facts.programs.known().unwrap().keys().collect::<Vec<_>>(), ["eth0"]);
}

#[test]
fn a_node_that_has_nothing_of_it() {
    assert_eq!(state(&node("", "", "absent\n")), NodeDataPlane::Iptables);
    let filter = "/sys/fs/bpf/calico/xdp/prefilter_v1_calico_tmp_A\n";
    assert_eq!(state(&node("", filter, "absent\n")), NodeDataPlane::Iptables);
    let other = "# eth0 ingress\nfilter protocol all pref 1 bpf chain 0 handle 0x1 cil_from_netdev direct-action id 5\n";
    let facts = node(other, "", "absent\n");
    assert_eq!(state(&facts), NodeDataPlane::Iptables);
    assert!(facts.foreign_programs.known().unwrap()["eth0"].contains("cil_from_netdev"));
}

#[test]
fn what_serves_nothing_is_left_over() {
    let pin = "/sys/fs/bpf/tc/globals/cali_v4_nat_fe3\n";
    assert_eq!(state(&node("", pin, FRONTEND)), NodeDataPlane::Leftover);
    let on = format!("# eth0 ingress\n{FILTER}");
    assert_eq!(state(&node(&on, "", "absent\n")), NodeDataPlane::Leftover);
    // Of pods only: Felix attaches to the host's own interfaces first.
    let pods = format!("# calib1 ingress\n{FILTER}");
    assert_eq!(state(&node(&pods, pin, FRONTEND)), NodeDataPlane::Leftover);
}

#[test]
fn a_table_that_could_not_be_read_is_unknown() {
    let on = format!("# eth0 ingress\n{FILTER}");
    let failed = "2026-01-01 [ERROR][1] bpf: Failed to dump NAT maps error=x\n";
    let facts = node(&on, "", failed);
    assert_eq!(facts.state().gap().unwrap().why, GapReason::Undecodable);
}

#[test]
fn a_container_without_the_file_system_knows_no_pins_but_that_nothing_serves() {
    let text = [
        section("vantage", 0, "calico-node\n"),
        section("mounts", 0, ""),
        section("programs", 0, ""),
        section("program-links", 0, ""),
        section("pins", 0, ""),
        section("nat.v4", 0, "absent\n"),
    ];
    let facts = BpfFacts::from_scan("n", text.concat().as_bytes());
    assert_eq!(facts.pins.gap().unwrap().why, GapReason::NotAsked);
    assert_eq!(facts.nat, Known::Absent);
    assert_eq!(state(&facts), NodeDataPlane::Iptables);
}

#[test]
fn nothing_at_all_is_unknown() {
    let facts = BpfFacts::from_scan("n", b"");
    assert!(facts.state().gap().is_some());
    assert!(facts.kube_proxy.gap().is_some());
    assert!(facts.endpoint.gap().is_some());
    let twice = section("programs", 0, "") + &section("programs", 0, "");
    let facts = BpfFacts::from_scan("n", twice.as_bytes());
    assert!(facts.programs.gap().is_some());
    assert_eq!(facts.faults.len(), 1);
}

#[test]
fn rules_of_kube_proxy_are_absent_only_when_all_was_looked_at() {
    let chain = ":KUBE-SERVICES - [0:0]\n-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j KUBE-SVC-X\n";
    let rules = |nft: &str, legacy: i32, tables: i32| {
        let text = [
            section("rules.nft.v4", 0, nft),
            section("rules.legacy.v4", legacy, ""),
            section("nft-kube-proxy", tables, ""),
        ];
        BpfFacts::from_scan("n", text.concat().as_bytes()).kube_proxy
    };
    assert_eq!(rules(chain, 0, 127).known().unwrap().len(), 1);
    assert_eq!(rules("", 0, 0), Known::Absent);
    assert!(rules("", 0, 127).gap().is_some());
    assert!(rules("", 1, 0).gap().is_some());
    assert_eq!(rules(":KUBE-SERVICES - [0:0]\n", 0, 0).known().unwrap().len(), 0);
}

#[test]
fn rules_of_iptables_are_gone_only_when_both_implementations_show_none() {
    let chain = ":KUBE-SERVICES - [0:0]\n";
    let rules = |nft: (i32, &str), legacy: (i32, &str)| {
        let text = [
            section("rules.nft.v4", nft.0, nft.1),
            section("rules.legacy.v4", legacy.0, legacy.1),
            // Felix may have nothing to do with these, and they are not asked about.
            section("rules.nft.v6", 0, chain),
            section("nft-kube-proxy", 127, "there is no nft here\n"),
        ];
        BpfFacts::from_scan("n", text.concat().as_bytes()).kube_proxy_rules.implementations
    };
    let others = ":KUBE-SERVICES-OF-MINE - [0:0]\n:KUBE-POSTROUTING - [0:0]\n";
    assert_eq!(rules((0, others), (0, "")), Known::Absent);
    assert_eq!(rules((0, chain), (1, "")).known().unwrap(), &["iptables-nft"]);
    assert_eq!(rules((0, chain), (0, chain)).known().unwrap().len(), 2);
    assert!(rules((0, ""), (127, "there is no iptables-legacy-save here\n")).gap().is_some());
    assert!(rules((27, ""), (0, "")).gap().is_some());
    assert!(BpfFacts::from_scan("n", b"").kube_proxy_rules.implementations.gap().is_some());
}

#[test]
fn devices_and_routes_are_read() {
    let text = [
        section(
            "ip-link",
            0,
            r#"[{"ifname":"eth0.5","link":"eth0","flags":["UP"],"mtu":1500,"master":"br0","linkinfo":{"info_kind":"vlan"}},{"ifname":"v","linkinfo":{"info_kind":"vxlan","info_data":{"port":4789}}},{}]"#,
        ),
        section(
            "ip-addr",
            0,
            r#"[{"ifname":"eth0.5","addr_info":[{"local":"10.0.0.5"},{"local":"x"},{}]}]"#,
        ),
        section(
            "ip-route.v4",
            0,
            r#"[{"dst":"default","dev":"eth0.5"},{"nexthops":[{"dev":"a"},{"dev":"b"}]}]"#,
        ),
        section("ip-route.v6", 1, "nope\n"),
    ];
    let facts = BpfFacts::from_scan("n", text.concat().as_bytes());
    let links = facts.links.known().unwrap();
    assert_eq!((links[1].name.as_str(), links[1].parent.as_str()), ("eth0.5", "eth0"));
    assert_eq!(links[2].vxlan_port, Some(4789));
    assert_eq!(facts.addresses.known().unwrap()["eth0.5"].len(), 1);
    let devices: Vec<_> = facts.default_routes.known().unwrap().iter().collect();
    assert_eq!(devices, ["a", "b", "eth0.5"]);
}

proptest! {
    #[test]
    fn any_bytes_are_accepted(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        drop(BpfFacts::from_scan("n", &body).state());
    }

    #[test]
    fn any_sections_are_accepted(
        ids in proptest::collection::vec("vantage|mounts|programs|program-links|pins|nat.v4|nat.v6|endpoint|readiness|ip-link|ip-addr|ip-route.v4|rules.nft.v4|nft-kube-proxy|listeners|servers|kconfig|lockdown", 0..9),
        text in "(\\[|\\]|\\{|\\}|:|\"|# |filter | bpf | handle |\\||- bpf |/|=|,|0|10.0.0.1|\n|ñ|calico-node){0,60}",
    ) {
        let body: String = ids.iter().map(|id| section(id, 0, &format!("{text}\n"))).collect();
        drop(BpfFacts::from_scan("n", body.as_bytes()).state());
    }
}
