//! Every removal is killed at its commands, and finished by a second run: in between there is nothing that was not there
//! before, and nothing is missing that is to stay.

use super::kernel::{
    destroy, detach, filters, flush, ip_sets, remove_tables, routes, routing, routing_rules,
    tables, tunnel, xdp,
};
use super::system::{CHANGE, link, packet_filter, remove_link, rules};
use super::trees::{calico_directory, mounted_twice, pinned, remove_pins, remove_tree, unmount};
use super::*;
use crate::plan::{IpFamily, ProgramHook};

/// A removal and the host that it works on.
struct Removal {
    operation: HostOperation,
    prepare: fn() -> Host,
    /// What there is of Calico's and of others.
    shown: fn(&Host) -> Vec<String>,
    /// Goes all at once, or not at all.
    at_once: bool,
}

fn prepared(prepare: impl Fn(&Host)) -> Host {
    let host = Host::new();
    prepare(&host);
    host
}

fn lines(host: &Host, path: &str) -> Vec<String> {
    host.read(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// All paths below one.
fn below(host: &Host, path: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for name in host.names(path) {
        let inner = format!("{path}/{name}");
        if host.path(&inner).symlink_metadata().unwrap().is_dir() {
            paths.extend(below(host, &inner));
        }
        paths.push(inner);
    }
    paths
}

fn tunnel_state(host: &Host) -> Vec<String> {
    let mut state = lines(host, "/addresses");
    state.push("tunl0".into());
    if lines(host, "/sys/class/net/tunl0/flags") == ["0xc1"] {
        state.push("up".into());
    }
    state
}

fn removals() -> Vec<(&'static str, Removal)> {
    let gradual = |operation, prepare, shown| Removal { operation, prepare, shown, at_once: false };
    let at_once = |operation, prepare, shown| Removal { operation, prepare, shown, at_once: true };
    vec![
        ("routes", gradual(routes(), || prepared(routing), |host| lines(host, "/routes"))),
        (
            "routing rules",
            at_once(routing_rules(), || prepared(routing), |host| lines(host, "/rules")),
        ),
        (
            "a link",
            at_once(
                remove_link("veth", 7),
                || {
                    prepared(|host| {
                        host.write("/sys/class/net/cali2/ifindex", "8\n");
                        link(host, "cali1", 7, "veth");
                    })
                },
                |host| host.names("/sys/class/net"),
            ),
        ),
        ("a tunnel", gradual(flush("ipip", 5), || prepared(tunnel), tunnel_state)),
        (
            "ipsets",
            gradual(destroy(), || prepared(|host| ip_sets(host, 0)), |host| host.names("/sets")),
        ),
        (
            "tables of nftables",
            at_once(remove_tables(), || prepared(tables), |host| lines(host, "/tables")),
        ),
        (
            "rules of iptables",
            at_once(
                rules(IpFamily::V4, CHANGE),
                || prepared(|host| packet_filter(host, "iptables-nft")),
                |host| lines(host, "/saved"),
            ),
        ),
        (
            "pins",
            gradual(
                remove_pins(),
                || pinned(&["tc/globals/cali_a", "cilium/x"]),
                |host| below(host, "/sys/fs/bpf"),
            ),
        ),
        (
            "mounts",
            gradual(unmount(), mounted_twice, |host| {
                // Without the paths, which every host has of its own.
                let kinds = lines(host, "/proc/self/mountinfo").into_iter();
                kinds.filter_map(|line| Some(line.rsplit_once(" - ")?.1.to_owned())).collect()
            }),
        ),
        (
            "programs of tc",
            gradual(
                detach(3, ProgramHook::Tc),
                || prepared(filters),
                |host| below(host, "/filters"),
            ),
        ),
        (
            "programs of tc, and what they hung on",
            gradual(
                detach(3, ProgramHook::Tc),
                || {
                    let host = prepared(filters);
                    fs::remove_file(host.path("/filters/ingress/49151")).unwrap();
                    host
                },
                |host| [below(host, "/filters"), lines(host, "/clsact")].concat(),
            ),
        ),
        (
            "an XDP program",
            at_once(
                detach(3, ProgramHook::Xdp),
                || prepared(|host| xdp(host, "name cali_xdp_main ")),
                |host| {
                    let has = host.read("/link").unwrap().contains("prog/xdp");
                    if has { vec!["eth0".into(), "xdp".into()] } else { vec!["eth0".into()] }
                },
            ),
        ),
        (
            "a directory",
            gradual(
                remove_tree("/run/calico"),
                || calico_directory(&[]),
                |host| below(host, "/run"),
            ),
        ),
    ]
}

#[test]
fn removals_that_were_cut_off_are_finished_by_a_second_run() {
    for (what, Removal { operation, prepare, shown, at_once }) in removals() {
        let host = prepare();
        let before = shown(&host);
        assert_changed(&host.perform(&shells()[0], &operation, None), what);
        let after = shown(&host);
        let all_in = |some: &[String], all: &[String]| some.iter().all(|it| all.contains(it));
        // Something goes, and something stays: otherwise nothing would be shown by what follows.
        assert!(before.len() > after.len() && all_in(&after, &before), "{what}: {after:?}");
        assert!(!after.is_empty(), "{what}");
        kill_at_commands(7, &operation, None, prepare, |host, killed| {
            let now = shown(host);
            if !killed {
                assert_eq!(now, after, "{what}");
            } else if at_once {
                assert!(now == before || now == after, "{what}: {now:?}");
            } else {
                assert!(all_in(&now, &before) && all_in(&after, &now), "{what}: {now:?}");
            }
        });
    }
}
