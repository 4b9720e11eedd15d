//! Links, kernel parameters, units and packet filter rules.

use super::*;
use crate::plan::{IpFamily, RulesBackend};

/// Interface `name` with an index, of a kind; `ip` deletes its folder.
pub(super) fn link(host: &Host, name: &str, index: u32, kind: &str) {
    link_to(host, name, index, kind, "");
}

/// The same with what `ip` says of its other end.
fn link_to(host: &Host, name: &str, index: u32, kind: &str, other_end: &str) {
    host.write(&format!("/sys/class/net/{name}/ifindex"), format!("{index}\n"));
    host.program(
        "ip",
        &format!(
            r#"case "$*" in
    "-d link show dev {name}")
        printf '%s\n' '{index}: {name}@if2: <BROADCAST> mtu 1450 qdisc noqueue' '    link/ether ee:ee:ee:ee:ee:ee brd ff:ff:ff:ff:ff:ff{other_end} promiscuity 0' \
            '    {kind} addrgenmode eui64 numtxqueues 1'
        ;;
    "link delete dev {name}")
        [ ! -e "$root/stays" ] || exit 0
        rm -r "$root/sys/class/net/{name}"
        ;;
    *) exit 64 ;;
esac
"#
        ),
    );
}

pub(super) fn remove_link(kind: &str, index: u32) -> HostOperation {
    HostOperation::RemoveLink { name: "cali1".into(), link_kind: kind.into(), index }
}

#[test]
fn a_link_goes_once_and_only_that_one() {
    // Some busyboxes prefer an `ip` of their own to that of the made-up host.
    for shell in shells().into_iter().filter(|it| it[0] != "busybox") {
        let host = Host::new();
        link(&host, "cali1", 7, "veth");
        assert_refused(&host.perform(&shell, &remove_link("vxlan", 7), None), "not of kind vxlan");
        assert_already(&host.perform(&shell, &remove_link("veth", 6), None), "another index");
        assert!(exists(&host.path("/sys/class/net/cali1")));
        host.write("/stays", "");
        assert_failed(&host.perform(&shell, &remove_link("veth", 7), None), "still there");
        fs::remove_file(host.path("/stays")).unwrap();
        assert_changed(&host.perform(&shell, &remove_link("veth", 7), None), "veth");
        assert!(!exists(&host.path("/sys/class/net/cali1")));
        assert_already(&host.perform(&shell, &remove_link("veth", 7), None), "gone");
    }
}

#[test]
fn a_link_at_whose_other_end_somebody_lives_is_left() {
    for shell in shells().into_iter().filter(|it| it[0] != "busybox") {
        let host = Host::new();
        host.write("/run/netns/cni-a", "");
        host.write("/proc/7/ns/other", "");
        link_to(&host, "cali1", 7, "veth", " link-netnsid 0");
        assert_refused(&host.perform(&shell, &remove_link("veth", 7), None), "without a name");
        link_to(&host, "cali1", 7, "veth", " link-netns cni-b");
        assert_refused(&host.perform(&shell, &remove_link("veth", 7), None), "cannot be looked at");
        link_to(&host, "cali1", 7, "veth", " link-netns cni-a");
        let process = host.path("/proc/7/ns/net");
        fs::hard_link(host.path("/run/netns/cni-a"), &process).unwrap();
        assert_refused(&host.perform(&shell, &remove_link("veth", 7), None), "process 7 lives");
        assert!(exists(&host.path("/sys/class/net/cali1")));
        fs::remove_file(&process).unwrap();
        assert_changed(&host.perform(&shell, &remove_link("veth", 7), None), "nobody lives there");
    }
}

#[test]
fn a_kernel_parameter_is_set_from_what_was_expected() {
    let set = |value: &str, expected: &str| HostOperation::SetSysctl {
        key: "net.ipv4.tcp_rmem".into(),
        value: value.into(),
        expected: expected.into(),
    };
    for shell in shells() {
        let host = Host::new();
        assert_refused(&host.perform(&shell, &set("1 2 3", "4 5 6"), None), "no parameter");
        host.write("/proc/sys/net/ipv4/tcp_rmem", "4\t5\t6\n");
        assert_refused(&host.perform(&shell, &set("1 2 3", "9"), None), "is 4 5 6, not 9");
        let result = host.perform(&shell, &set("1 2 3", "4 5 6"), None);
        assert_eq!(facts(&result)["before"], "4 5 6");
        assert_eq!(host.read("/proc/sys/net/ipv4/tcp_rmem").unwrap(), "1 2 3\n");
        assert_already(&host.perform(&shell, &set("1 2 3", "4 5 6"), None), "again");
        assert_changed(&host.perform(&shell, &set("1 2 3", "4 5 6").undo().unwrap(), None), "undo");
        assert_eq!(host.read("/proc/sys/net/ipv4/tcp_rmem").unwrap(), "4 5 6\n");
    }
}

/// systemd: the unit's invocation is a file, which a restart replaces.
fn systemd(host: &Host) {
    fs::create_dir_all(host.path("/run/systemd/system")).unwrap();
    host.write("/invocation", "first\n");
    host.program(
        "systemctl",
        r#"case "$*" in
    *--property=LoadState*) case "$*" in *kubelet.service) echo loaded ;; *) echo not-found ;; esac ;;
    *--property=InvocationID*) cat "$root/invocation" ;;
    *--property=ActiveState*) echo active ;;
    *"restart kubelet.service") echo restarted >>"$root/log"; echo "after $(cat "$root/invocation")" >"$root/invocation" ;;
    *) exit 64 ;;
esac
"#,
    );
    host.program(
        "systemd-run",
        "while [ \"$1\" != systemctl ]; do shift; done\n[ ! -e \"$root/kill\" ] || { \"$@\"; kill -9 0; }\n\"$@\"\n",
    );
}

#[test]
fn a_unit_is_restarted_once_in_a_run_also_when_the_connection_breaks() {
    let restart = |unit: &str| HostOperation::RestartUnit { unit: unit.into() };
    for shell in shells() {
        let host = Host::new();
        assert_refused(&host.perform(&shell, &restart("kubelet.service"), None), "no systemd");
        systemd(&host);
        assert_refused(&host.perform(&shell, &restart("other.service"), None), "no unit");
        host.write("/kill", "");
        assert!(host.run(&shell, &host.script(&restart("kubelet.service"), None)).killed);
        fs::remove_file(host.path("/kill")).unwrap();
        assert_already(&host.perform(&shell, &restart("kubelet.service"), None), "again");
        assert_eq!(host.read("/log").unwrap(), "restarted\n");

        let host = Host::new();
        systemd(&host);
        assert_changed(&host.perform(&shell, &restart("kubelet.service"), None), "once");
        assert_already(&host.perform(&shell, &restart("kubelet.service"), None), "twice");
        assert_eq!(host.read("/log").unwrap(), "restarted\n");
    }
}

const SAVED: &str = "*filter\n:INPUT ACCEPT [1:2]\n:FORWARD ACCEPT [0:0]\n:cali-a - [0:0]\n:KUBE-X - [0:0]\n\
    -A INPUT -m comment --comment \"cali:x y\" -j cali-a\n-A cali-a -j RETURN\n-A INPUT -j KUBE-X\nCOMMIT\n";
const AFTER: &str = "*filter\n:INPUT ACCEPT [1:2]\n:FORWARD ACCEPT [0:0]\n:KUBE-X - [0:0]\n-A INPUT -j KUBE-X\nCOMMIT\n";
pub(super) const CHANGE: &str = "*filter\n:cali-a - [0:0]\n-D INPUT -m comment --comment \"cali:x y\" -j cali-a\n-X cali-a\nCOMMIT\n";

pub(super) fn rules(family: IpFamily, rules: &str) -> HostOperation {
    HostOperation::RestoreRules {
        family,
        backend: RulesBackend::Nft,
        rules: rules.into(),
        undo: None,
    }
}

/// Programs that keep rules in a file; a change replaces it with the file `after`, unless a file `broken` is there.
pub(super) fn packet_filter(host: &Host, prefix: &str) {
    host.write("/saved", SAVED);
    host.write("/after", AFTER);
    host.program(&format!("{prefix}-save"), "[ \"$1 $2\" = '-t filter' ] && cat \"$root/saved\"");
    host.program(
        &format!("{prefix}-restore"),
        "case $1 in --version) echo \"iptables-restore v1.8.9 (nf_tables)\"; exit 0 ;; esac\n\
         [ ! -e \"$root/broken\" ] || { echo 'line 3 failed' >&2; exit 1; }\n\
         echo \"$*\" >\"$root/arguments\"; cat >\"$root/input\"; cp \"$root/after\" \"$root/saved\"\n",
    );
}

#[test]
fn rules_are_changed_in_one_transaction_and_once() {
    for shell in shells() {
        for (family, prefix) in [
            (IpFamily::V4, "iptables-nft"),
            (IpFamily::V4, "iptables"),
            (IpFamily::V6, "ip6tables-nft"),
        ] {
            let host = Host::new();
            packet_filter(&host, prefix);
            host.write("/broken", "");
            assert_failed(&host.perform(&shell, &rules(family, CHANGE), None), "line 3 failed");
            fs::remove_file(host.path("/broken")).unwrap();
            assert_changed(&host.perform(&shell, &rules(family, CHANGE), None), prefix);
            assert!(host.read("/arguments").unwrap().starts_with("--noflush "));
            assert_eq!(host.read("/input").unwrap().trim(), CHANGE.trim());
            fs::remove_file(host.path("/input")).unwrap();
            assert_already(&host.perform(&shell, &rules(family, CHANGE), None), prefix);
            assert!(!exists(&host.path("/input")));
            // The way back, by the rules that were there.
            host.write("/after", SAVED);
            for insert in ["-I INPUT", "-I INPUT 1"] {
                let back = format!(
                    "*filter\n:cali-a - [0:0]\n{insert} -m comment --comment \"cali:x y\" -j cali-a\n-A cali-a -j RETURN\nCOMMIT\n"
                );
                host.write("/saved", AFTER);
                assert_changed(&host.perform(&shell, &rules(family, &back), None), prefix);
                assert_already(&host.perform(&shell, &rules(family, &back), None), prefix);
            }
            host.write("/saved", AFTER);
            let back = "*filter\n:cali-a - [0:0]\n-A INPUT -m comment --comment \"cali:x y\" -j cali-a\n-A cali-a -j RETURN\nCOMMIT\n";
            assert_changed(&host.perform(&shell, &rules(family, back), None), prefix);
            assert_already(&host.perform(&shell, &rules(family, back), None), prefix);
            // A chain that would be emptied is not right as it is.
            let flush = "*filter\n:cali-a - [0:0]\nCOMMIT\n";
            assert_failed(&host.perform(&shell, &rules(family, flush), None), "not as they should");
        }
    }
}

#[test]
fn chains_of_the_same_name_in_two_tables_are_told_apart() {
    let host = Host::new();
    packet_filter(&host, "iptables-nft");
    host.program(
        "iptables-nft-save",
        "printf '*%s\\n:cali-a - [0:0]\\n' \"$2\"; [ \"$2\" = raw ] || echo '-A cali-a -j RETURN'\n[ \"$2\" != nat ] || echo '-A cali-a -j DROP'\n",
    );
    let table = |name: &str, rules: &str| format!("*{name}\n:cali-a - [0:0]\n{rules}COMMIT\n");
    let (one, two) = ("-A cali-a -j RETURN\n", "-A cali-a -j RETURN\n-A cali-a -j DROP\n");
    for shell in shells() {
        let right = table("filter", one) + &table("nat", two) + &table("raw", "");
        assert_already(&host.perform(&shell, &rules(IpFamily::V4, &right), None), "as it is");
        for wrong in [
            table("filter", two) + &table("nat", two),
            table("filter", one) + &table("nat", one),
            table("nat", two) + &table("filter", ""),
            table("raw", one),
        ] {
            let result = host.perform(&shell, &rules(IpFamily::V4, &wrong), None);
            assert_failed(&result, "not as they should");
        }
    }
}

#[test]
fn the_other_implementation_is_not_taken_for_the_wanted_one() {
    let host = Host::new();
    packet_filter(&host, "iptables");
    let legacy = HostOperation::RestoreRules {
        family: IpFamily::V4,
        backend: RulesBackend::Legacy,
        rules: CHANGE.into(),
        undo: None,
    };
    for shell in shells() {
        assert_refused(&host.perform(&shell, &legacy, None), "no iptables-legacy");
        assert_eq!(host.read("/saved").unwrap(), SAVED);
    }
}
