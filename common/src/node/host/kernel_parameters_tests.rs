//! Tests of what is refused before a script is made, and of the form in which routes and rules reach it.

use super::super::render;
use super::*;
use crate::plan::{NftFamily, NftTable, PlanId, ProgramHook};

fn why(operation: &HostOperation) -> String {
    let run = PlanId("01RUN".into());
    render(operation, &HostContext::new(&run), None).unwrap_err().to_string()
}

/// The parameters, each a line.
fn shown(operation: &HostOperation) -> String {
    let run = PlanId("01RUN".into());
    let parts = parts(operation, &HostContext::new(&run)).unwrap();
    parts.parameters.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

#[test]
fn a_route_is_its_lasting_words() {
    for (line, wanted) in [
        (
            "10.1.2.0/26 via 10.0.0.2 dev eth0 proto bird linkdown ",
            "10.1.2.0/26 via 10.0.0.2 dev eth0 proto bird",
        ),
        ("blackhole 10.1.2.0/26 proto 80 ", "blackhole 10.1.2.0/26 proto 80"),
        (
            "10.1.2.3 dev cali12345678901 scope link dead linkdown",
            "10.1.2.3 dev cali12345678901 scope link",
        ),
        (
            "10.1.2.0/26 via 10.0.0.2 dev vxlan.calico proto 80 onlink offload",
            "10.1.2.0/26 via 10.0.0.2 dev vxlan.calico proto 80 onlink",
        ),
        (
            "fd00::/122 dev lo proto bird metric 1024 error -101 pref medium",
            "fd00::/122 dev lo proto bird metric 1024 pref medium",
        ),
        (
            "fd00::/122 via fe80::1 dev eth0 proto bird metric 32 expires 30sec pref low",
            "fd00::/122 via fe80::1 dev eth0 proto bird metric 32 pref low",
        ),
        (
            "10.1.0.0/16 proto bird \n\tnexthop via 10.0.0.2 dev a weight 1 \n\tnexthop via 10.0.0.3 dev b weight 2 linkdown",
            "10.1.0.0/16 proto bird nexthop via 10.0.0.2 dev a weight 1 nexthop via 10.0.0.3 dev b weight 2",
        ),
        (
            "10.1.0.0/16 proto bird \\\tnexthop via 10.0.0.2 dev a weight 1",
            "10.1.0.0/16 proto bird nexthop via 10.0.0.2 dev a weight 1",
        ),
        // An interface may be called anything.
        (
            "10.1.0.0/16 dev dead table linkdown proto offload",
            "10.1.0.0/16 dev dead table linkdown proto offload",
        ),
    ] {
        let family = if line.contains("fd00") { IpFamily::V6 } else { IpFamily::V4 };
        assert_eq!(route(family, line).unwrap(), wanted);
    }
}

#[test]
fn a_rule_is_its_lasting_words() {
    let line = "99:\tnot from all fwmark 0x100000/0x100000 lookup 1 ";
    assert_eq!(rule(line).unwrap(), "99: not from all fwmark 0x100000/0x100000 lookup 1");
    assert_eq!(
        rule("5:\tfrom all iif x [detached] lookup 7").unwrap(),
        "5: from all iif x lookup 7"
    );
}

#[test]
fn routes_and_rules_that_keep_a_host_alive_are_refused() {
    let routes = |line: &str| HostOperation::RemoveRoutes {
        family: IpFamily::V4,
        routes: vec!["10.1.2.0/26 proto 80".into(), line.into()],
    };
    for line in [
        "default via 10.0.0.1 dev eth0",
        "0.0.0.0/0 via 10.0.0.1",
        "blackhole default",
        "::/0 dev x",
        "fd00::/64 dev x",
        "local 10.0.0.1 dev eth0 table local proto kernel",
        "broadcast 10.0.0.255 dev eth0",
        "10.0.0.0/24 dev eth0 proto kernel scope link",
        "10.0.0.0/24 dev eth0 table local",
        "10.0.0.0/24 nhid 7 via 10.0.0.1 dev eth0",
        "10.0.0.0/24 dev $(id)",
        "10.0.0.0/24;reboot",
        "10.0.0.0/24 -batch /x",
        "flush all",
        "",
        "proto bird",
    ] {
        assert!(why(&routes(line)).starts_with("route "), "{line}");
    }
    let rules = |line: &str| HostOperation::AddRoutingRules {
        family: IpFamily::V6,
        rules: vec![line.into()],
    };
    for line in [
        "0:\tfrom all lookup local",
        "32766:\tfrom all lookup main",
        "32767: from all lookup default",
        "100: from all fwmark 0x1 lookup main",
        "from all lookup 7",
        "99: from all",
        "99: from all lookup 7; id",
        "99 lookup 7",
    ] {
        assert!(why(&rules(line)).starts_with("routing rule "), "{line}");
    }
    for none in [
        HostOperation::RemoveRoutes { family: IpFamily::V4, routes: vec![] },
        HostOperation::RemoveRoutingRules { family: IpFamily::V4, rules: vec![] },
    ] {
        assert!(why(&none).contains("empty"));
    }
}

#[test]
fn what_is_not_calicos_is_refused() {
    let table = |family, name: &str| HostOperation::RemoveNftTables {
        tables: vec![NftTable { family, name: name.into() }],
    };
    assert!(why(&table(NftFamily::Ip, "filter")).contains("not Calico's"));
    assert!(why(&table(NftFamily::Ip, "calico; flush ruleset")).contains("not Calico's"));
    let set = |name: &str| HostOperation::DestroyIpSets { names: vec![name.into()] };
    assert!(why(&set("KUBE-LOOP-BACK")).contains("not Calico's"));
    assert!(why(&set("cali40 x")).contains("is not a name"));
    let pins = |path: &str| HostOperation::RemovePins { paths: vec![path.into()] };
    assert!(why(&pins("/sys/fs/bpf/cilium/x")).contains("not Calico's"));
    assert!(why(&pins("/sys/fs/bpf/tc/../cilium")).contains("plain absolute path"));
    let tree = |path: &str| HostOperation::RemoveTree { path: path.into() };
    assert!(why(&tree("/etc")).contains("no directory of Calico's"));
    assert!(why(&tree("/etc/../net.d/calico-tls")).contains("plain absolute path"));
    let unmount = |path: &str, kind: &str| HostOperation::Unmount {
        path: path.into(),
        file_system: kind.into(),
    };
    assert!(why(&unmount("/sys/fs/bpf", "bpf")).contains("calico-node mounts no such"));
    assert!(why(&unmount("/run/calico/cgroup", "bpf")).contains("calico-node mounts no such"));
    let flush = HostOperation::FlushLink { name: "a b".into(), index: 1, link_kind: "ipip".into() };
    assert!(why(&flush).starts_with("interface"));
    let detach =
        HostOperation::DetachPrograms { link: "-x".into(), index: 1, hook: ProgramHook::Tc };
    assert!(why(&detach).starts_with("interface"));
}

#[test]
fn a_directory_of_pins_comes_after_what_is_in_it() {
    let paths = ["/sys/fs/bpf/tc", "/sys/fs/bpf/tc/globals/cali_a", "/sys/fs/bpf/tc/globals"];
    let paths = paths.map(str::to_owned).to_vec();
    let text = shown(&HostOperation::RemovePins { paths });
    let wanted = "paths=/sys/fs/bpf/tc/globals/cali_a\n/sys/fs/bpf/tc/globals\n/sys/fs/bpf/tc\n";
    assert!(text.contains(wanted), "{text}");
}
