//! Routes, rules, links, ipsets, tables of nftables and attached programs.

use super::*;
use crate::plan::{IpFamily, NftFamily, NftTable, ProgramHook};

/// What `ip` prints of Calico's routes: one by state, one of several hops, one of nobody's protocol.
const OWN: &str = "10.1.0.0/26 via 10.0.0.2 dev eth0 proto bird linkdown \n\
    10.1.1.0/26 proto bird linkdown \\\tnexthop via 10.0.0.2 dev eth0 weight 1 linkdown \\\tnexthop via 10.0.0.3 dev eth0 weight 1 \n\
    10.1.2.3 dev cali1 scope link \n";

/// Routes that look like them: of another next hop, another table, another protocol.
const FOREIGN: &str = "10.1.0.0/26 via 10.0.0.9 dev eth0 proto bird \n\
    10.1.2.3 dev cali1 table 7 scope link \n\
    10.1.2.3 dev cali1 proto static scope link metric 9 \n\
    default via 10.0.0.1 dev eth0 \n";

/// `ip`, for which routes and rules are files. What it is asked to remove it finds by the words of a line; with a file
/// `stays` it refuses.
pub(super) fn routing(host: &Host) {
    host.write("/routes", format!("{OWN}{FOREIGN}"));
    host.write(
        "/rules",
        "0:\tfrom all lookup local\n98:\tfrom 10.9.0.0/16 lookup 7\n99:\tnot from all fwmark 0x1/0x1 lookup 1\n",
    );
    host.program(
        "ip",
        r#"words() { set -f; IFS=' 	\'; for it in $1; do case $it in linkdown) ;; *) printf '%s ' "$it" ;; esac; done; }
without() {
    while IFS= read -r line; do
        [ "$(words "$line")" = "$2 " ] || printf '%s\n' "$line"
    done <"$root/$1" >"$root/new"
    cmp -s "$root/new" "$root/$1" && { echo 'RTNETLINK answers: No such process' >&2; exit 2; }
    mv "$root/new" "$root/$1"
}
case "$*" in
    -V) echo 'ip utility, iproute2-6.1.0' ;;
    '-o -4 route show table all') cat "$root/routes" ;;
    '-4 rule show') cat "$root/rules" ;;
    *' del '* | *' add '*)
        [ ! -e "$root/stays" ] || { echo 'RTNETLINK answers: Operation not permitted' >&2; exit 2; }
        echo "$*" >>"$root/log"
        case "$*" in
            '-4 route del proto boot '*) shift 5; without routes "$*" ;;
            '-4 route del '*) shift 3; without routes "$*" ;;
            '-4 route add '*) shift 3; echo "$* " >>"$root/routes" ;;
            '-4 rule del priority '*) shift 4; priority=$1; shift; without rules "$priority: $*" ;;
            '-4 rule add priority '*) shift 4; priority=$1; shift; printf '%s:\t%s\n' "$priority" "$*" >>"$root/rules" ;;
        esac
        ;;
    *) exit 64 ;;
esac
"#,
    );
}

pub(super) fn routes() -> HostOperation {
    HostOperation::RemoveRoutes {
        family: IpFamily::V4,
        routes: OWN.lines().map(str::to_owned).collect(),
    }
}

#[test]
fn routes_go_word_for_word_and_come_back() {
    // Some busyboxes prefer an `ip` of their own to that of the made-up host.
    for shell in shells().into_iter().filter(|it| it[0] != "busybox") {
        let host = Host::new();
        routing(&host);
        let add = routes().undo().unwrap();
        assert_already(&host.perform(&shell, &add, None), "all are there");
        host.write("/stays", "");
        assert_failed(&host.perform(&shell, &routes(), None), "Operation not permitted");
        fs::remove_file(host.path("/stays")).unwrap();
        let result = host.perform(&shell, &routes(), None);
        assert_eq!(facts(&result)["done"], "3");
        assert_eq!(host.read("/routes").unwrap(), FOREIGN, "{shell:?}");
        assert_already(&host.perform(&shell, &routes(), None), "again");
        assert_changed(&host.perform(&shell, &add, None), "back");
        assert_eq!(host.read("/routes").unwrap().lines().count(), 7);
        assert_already(&host.perform(&shell, &add, None), "back again");
        assert_changed(&host.perform(&shell, &routes(), None), "away again");
        assert_eq!(host.read("/routes").unwrap(), FOREIGN);
    }
}

#[test]
fn a_route_without_protocol_is_not_removed_as_a_route_of_any() {
    let host = Host::new();
    routing(&host);
    assert_changed(&host.perform(&shells()[0], &routes(), None), "routes");
    let log = host.read("/log").unwrap();
    assert!(log.contains("route del proto boot 10.1.2.3 dev cali1 scope link\n"), "{log}");
}

pub(super) fn routing_rules() -> HostOperation {
    HostOperation::RemoveRoutingRules {
        family: IpFamily::V4,
        rules: vec!["99:\tnot from all fwmark 0x1/0x1 lookup 1".into()],
    }
}

#[test]
fn rules_go_word_for_word_and_come_back() {
    let remove = routing_rules();
    for shell in shells().into_iter().filter(|it| it[0] != "busybox") {
        let host = Host::new();
        routing(&host);
        let before = host.read("/rules").unwrap();
        assert_changed(&host.perform(&shell, &remove, None), "rule");
        assert!(!host.read("/rules").unwrap().contains("99:"));
        assert_already(&host.perform(&shell, &remove, None), "again");
        assert_changed(&host.perform(&shell, &remove.undo().unwrap(), None), "back");
        assert_eq!(host.read("/rules").unwrap(), before);
        // A rule of that priority that leads elsewhere is another one.
        host.write("/rules", "99:\tnot from all fwmark 0x1/0x1 lookup 2\n");
        assert_already(&host.perform(&shell, &remove, None), "another");
    }
}

/// An interface of kind ipip whose addresses and flags are files.
pub(super) fn tunnel(host: &Host) {
    host.write("/sys/class/net/tunl0/ifindex", "5\n");
    host.write("/sys/class/net/tunl0/flags", "0xc1\n");
    host.write("/addresses", "5: tunl0    inet 10.1.0.0/32 scope global tunl0\n");
    host.program(
        "ip",
        r#"case "$*" in
    '-d link show dev tunl0') printf '%s\n' '5: tunl0@NONE: <NOARP,UP> mtu 1480' '    link/ipip 0.0.0.0 brd 0.0.0.0 promiscuity 0' '    ipip any remote any local any ttl inherit' ;;
    '-o address show dev tunl0') cat "$root/addresses" ;;
    'link set dev tunl0 down') echo 0xc0 >"$root/sys/class/net/tunl0/flags" ;;
    'address flush dev tunl0') [ -e "$root/stays" ] || : >"$root/addresses" ;;
    *) exit 64 ;;
esac
"#,
    );
}

pub(super) fn flush(kind: &str, index: u32) -> HostOperation {
    HostOperation::FlushLink { name: "tunl0".into(), index, link_kind: kind.into() }
}

#[test]
fn a_tunnel_that_cannot_be_removed_loses_its_addresses() {
    for shell in shells().into_iter().filter(|it| it[0] != "busybox") {
        let host = Host::new();
        tunnel(&host);
        // An administrator's bridge of that name, or another interface.
        assert_refused(&host.perform(&shell, &flush("bridge", 5), None), "not of kind bridge");
        assert_already(&host.perform(&shell, &flush("ipip", 4), None), "another index");
        assert_eq!(host.read("/sys/class/net/tunl0/flags").unwrap(), "0xc1\n");
        host.write("/stays", "");
        assert_failed(&host.perform(&shell, &flush("ipip", 5), None), "has one again");
        fs::remove_file(host.path("/stays")).unwrap();
        assert_changed(&host.perform(&shell, &flush("ipip", 5), None), "flush");
        assert_eq!(host.read("/addresses").unwrap(), "");
        assert_already(&host.perform(&shell, &flush("ipip", 5), None), "again");
    }
}

/// `ipset`, for which each set is a file that holds the number of its users. Each sleep takes one user away where a file
/// `lingers` is there.
pub(super) fn ip_sets(host: &Host, users: u32) {
    host.write("/sets/cali40a", format!("{users}\n"));
    host.write("/sets/cali40b", "0\n");
    host.write("/sets/cali4", "0\n");
    host.program(
        "ipset",
        r#"case "$*" in
    'list -name') ls "$root/sets" ;;
    '-terse list '*) [ -e "$root/sets/$3" ] && printf 'Name: %s\nType: hash:net\nReferences: %s\nNumber of entries: 0\n' "$3" "$(cat "$root/sets/$3")" ;;
    'destroy '*)
        [ "$(cat "$root/sets/$2")" = 0 ] || { echo 'ipset v7.17: Set cannot be destroyed: it is in use by a kernel component' >&2; exit 1; }
        [ -e "$root/stays" ] || rm "$root/sets/$2" ;;
    *) exit 64 ;;
esac
"#,
    );
    host.program(
        "sleep",
        "[ ! -e \"$root/lingers\" ] || echo $(($(cat \"$root/sets/cali40a\") - 1)) >\"$root/sets/cali40a\"\n",
    );
}

pub(super) fn destroy() -> HostOperation {
    let names = ["cali40a", "cali40b", "cali40c"];
    HostOperation::DestroyIpSets { names: names.map(str::to_owned).to_vec() }
}

#[test]
fn ipsets_in_use_stay_with_words_and_others_go() {
    let destroy = destroy();
    for shell in shells() {
        let host = Host::new();
        ip_sets(&host, 2);
        assert_refused(&host.perform(&shell, &destroy, None), "cali40a is in use by 2 rules");
        assert_eq!(host.names("/sets"), ["cali4", "cali40a", "cali40b"]);
        // The kernel lets go of them a moment later.
        host.write("/lingers", "");
        assert_changed(&host.perform(&shell, &destroy, None), "unused");
        assert_eq!(host.names("/sets"), ["cali4"]);
        assert_already(&host.perform(&shell, &destroy, None), "again");

        let host = Host::new();
        ip_sets(&host, 0);
        host.write("/stays", "");
        assert_failed(&host.perform(&shell, &destroy, None), "there again");
    }
}

/// `nft`, for which the tables are a file. A transaction replaces it with the file `after`, unless a file `broken` is there.
pub(super) fn tables(host: &Host) {
    host.write("/tables", "table ip calico\ntable ip calico-notes\ntable arp calico-arp\n");
    host.write("/after", "table ip calico-notes\n");
    host.program(
        "nft",
        r#"case "$*" in
    'list tables') cat "$root/tables" ;;
    '-f -') [ ! -e "$root/broken" ] || { echo 'Error: Could not process rule: Device or resource busy' >&2; exit 1; }
        cat >"$root/input"; cp "$root/after" "$root/tables" ;;
    *) exit 64 ;;
esac
"#,
    );
}

pub(super) fn remove_tables() -> HostOperation {
    HostOperation::RemoveNftTables {
        tables: vec![
            NftTable { family: NftFamily::Ip, name: "calico".into() },
            NftTable { family: NftFamily::Ip6, name: "calico".into() },
            NftTable { family: NftFamily::Arp, name: "calico-arp".into() },
        ],
    }
}

#[test]
fn tables_go_in_one_transaction() {
    let remove = remove_tables();
    for shell in shells() {
        let host = Host::new();
        tables(&host);
        host.write("/broken", "");
        assert_failed(&host.perform(&shell, &remove, None), "resource busy");
        fs::remove_file(host.path("/broken")).unwrap();
        assert_changed(&host.perform(&shell, &remove, None), "tables");
        let input = "delete table ip calico\ndelete table arp calico-arp\n";
        assert_eq!(host.read("/input").unwrap(), input);
        assert_already(&host.perform(&shell, &remove, None), "again");
        host.program("nft", "echo 'netlink: Error: cache initialization failed' >&2; exit 1\n");
        assert_failed(&host.perform(&shell, &remove, None), "cannot list the tables");
    }
}

/// `tc` with a filter of Calico in both directions and one of somebody else's; each is a file.
pub(super) fn filters(host: &Host) {
    host.write("/sys/class/net/eth0/ifindex", "3\n");
    for (direction, pref, label) in [
        (
            "ingress",
            49152,
            "cali_tc_preambl:[9] direct-action not_in_hw id 9 name cali_tc_preambl tag 59f4 jited",
        ),
        ("ingress", 49151, "x.o:[cls] direct-action not_in_hw id 8 name someones tag 59f4 jited"),
        ("egress", 49152, "to_hep.o:[calico_to_host_ep] direct-action not_in_hw tag 59f4"),
    ] {
        host.write(&format!("/filters/{direction}/{pref}"), label);
    }
    host.write("/clsact", "qdisc clsact ffff: parent ffff:fff1 \n");
    host.program(
        "tc",
        r#"case "$*" in
    'qdisc show dev eth0') echo 'qdisc noqueue 0: root refcnt 2 '; cat "$root/clsact" ;;
    'filter show dev eth0 '*)
        for it in "$root/filters/$5"/*; do
            [ -e "$it" ] || continue
            echo "filter protocol all pref ${it##*/} bpf chain 0 "
            echo "filter protocol all pref ${it##*/} bpf chain 0 handle 0x1 $(cat "$it") "
        done ;;
    'filter del dev eth0 '*' protocol all pref '*' chain 0 handle 0x1 bpf') rm "$root/filters/$5/$9" ;;
    'qdisc del dev eth0 clsact') : >"$root/clsact" ;;
    *) echo "$*" >&2; exit 64 ;;
esac
"#,
    );
}

pub(super) fn detach(index: u32, hook: ProgramHook) -> HostOperation {
    HostOperation::DetachPrograms { link: "eth0".into(), index, hook }
}

#[test]
fn programs_of_calico_are_detached_and_others_keep_their_place() {
    let detach = |index| detach(index, ProgramHook::Tc);
    for shell in shells() {
        let host = Host::new();
        filters(&host);
        assert_already(&host.perform(&shell, &detach(4), None), "another index");
        let result = host.perform(&shell, &detach(3), None);
        assert_eq!((&*facts(&result)["programs"], &*facts(&result)["others"]), ("2", "1"));
        assert_eq!(host.names("/filters/ingress"), ["49151"]);
        assert!(host.names("/filters/egress").is_empty());
        assert!(host.read("/clsact").unwrap().contains("clsact"), "somebody uses it");
        assert_already(&host.perform(&shell, &detach(3), None), "again");
        // When nobody else uses it, the queueing discipline goes as well, also in a second run.
        fs::remove_file(host.path("/filters/ingress/49151")).unwrap();
        assert_changed(&host.perform(&shell, &detach(3), None), "clsact");
        assert_eq!(host.read("/clsact").unwrap(), "");
        assert_already(&host.perform(&shell, &detach(3), None), "nothing");
    }
}

/// What `ip` shows of an interface with an XDP program, which is called so.
fn with_xdp(name: &str) -> String {
    format!(
        "3: eth0: <UP> mtu 1500 xdpgeneric qdisc noqueue\n    veth addrgenmode\n    prog/xdp id 12 {name}tag 61 jited \n"
    )
}

/// `ip` with one interface, which has this XDP program.
pub(super) fn xdp(host: &Host, name: &str) {
    host.write("/sys/class/net/eth0/ifindex", "3\n");
    host.write("/link", with_xdp(name));
    host.program(
        "ip",
        r#"case "$*" in
    '-d link show dev eth0') cat "$root/link" ;;
    'link set dev eth0 xdpgeneric off') echo '3: eth0: <UP> mtu 1500 qdisc noqueue' >"$root/link" ;;
    *) exit 64 ;;
esac
"#,
    );
}

#[test]
fn an_xdp_program_is_detached_if_it_is_known_to_be_calicos() {
    let detach = detach(3, ProgramHook::Xdp);
    for shell in shells().into_iter().filter(|it| it[0] != "busybox") {
        let host = Host::new();
        xdp(&host, "name someones ");
        host.program("bpftool", "exit 1\n");
        assert_already(&host.perform(&shell, &detach, None), "somebody's");
        host.write("/link", with_xdp(""));
        assert_refused(&host.perform(&shell, &detach, None), "has no name");
        host.program("bpftool", "echo '12: xdp  name cali_xdp_main  tag 61  gpl'\n");
        assert_changed(&host.perform(&shell, &detach, None), "bpftool knows");
        assert_already(&host.perform(&shell, &detach, None), "gone");
        host.write("/link", with_xdp("name cali_xdp_main "));
        assert_changed(&host.perform(&shell, &detach, None), "ip knows");
    }
}
