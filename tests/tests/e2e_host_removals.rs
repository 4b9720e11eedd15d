//! What Calico leaves in a host's kernel and directories, removed by rendered host operations with the real programs: all of
//! it goes, its neighbours stay as they are, a second time there is nothing to do, and what can come back comes back.
#![cfg(all(unix, feature = "e2e"))]

use common::plan::{HostOperation, IpFamily, NftFamily, NftTable, ProgramHook, RulesBackend};
use tests::story::{PrivateHost, demand};
use tests::testbed::{Error, Testbed};

const FAMILIES: [(IpFamily, &str); 2] = [(IpFamily::V4, "-4"), (IpFamily::V6, "-6")];

/// What a test demands of a host.
struct Scene<'a> {
    host: PrivateHost<'a>,
    /// A script that prints all that is compared.
    dump: &'static str,
    /// What it printed before anything of Calico was there.
    base: String,
}

/// What the script prints. For a second or two the kernel makes sure that nobody else has an address of IPv6, and says so.
fn dumped(host: &PrivateHost<'_>, script: &str) -> Result<String, Error> {
    Ok(host.shell(script)?.replace(" tentative", ""))
}

impl<'a> Scene<'a> {
    /// A host with neighbours, which are to stay as they are.
    fn new(host: PrivateHost<'a>, neighbours: &str, dump: &'static str) -> Result<Self, Error> {
        host.shell(&format!("set -e\n{neighbours}"))?;
        let base = dumped(&host, dump)?;
        Ok(Self { host, dump, base })
    }

    /// Puts what is Calico's there. The control: without the operations the demand would not be met.
    fn seed(&self, script: &str) -> Result<String, Error> {
        self.host.shell(&format!("set -e\n{script}"))?;
        let full = dumped(&self.host, self.dump)?;
        demand(full != self.base, "there is something to remove", &full)?;
        Ok(full)
    }

    fn shows(&self, wanted: &str) -> Result<(), Error> {
        let now = dumped(&self.host, self.dump)?;
        let differences: Vec<_> = wanted
            .lines()
            .filter(|line| !now.lines().any(|it| it == *line))
            .map(|line| format!("- {line}"))
            .chain(
                now.lines()
                    .filter(|line| !wanted.lines().any(|it| it == *line))
                    .map(|line| format!("+ {line}")),
            )
            .collect();
        demand(now == wanted, "the host is as it was", &differences)
    }

    /// Removes, which leaves what was there before; once more, which does nothing.
    fn remove(&self, operations: &[HostOperation]) -> Result<(), Error> {
        for operation in operations {
            self.host.change(operation)?;
        }
        self.shows(&self.base)?;
        for operation in operations {
            self.host.change_nothing(operation)?;
        }
        self.shows(&self.base)
    }

    /// Takes back, which brings back what was there; once more, which does nothing.
    fn take_back(&self, operations: &[HostOperation], full: &str) -> Result<(), Error> {
        let undone: Vec<_> = operations.iter().rev().filter_map(HostOperation::undo).collect();
        demand(undone.len() == operations.len(), "all of it can be taken back", &undone)?;
        for operation in &undone {
            self.host.change(operation)?;
        }
        self.shows(full)?;
        for operation in &undone {
            self.host.change_nothing(operation)?;
        }
        self.shows(full)
    }
}

/// The lines of `ip … show` that are new, each with the lines of its next hops; that a link is down makes none new.
fn new_lines(before: &str, after: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in after.lines() {
        match entries.last_mut() {
            Some(last) if line.starts_with('\t') => *last = format!("{last}\n{line}"),
            _ => entries.push(line.to_owned()),
        }
    }
    entries.retain(|entry| !before.contains(&entry.replace("linkdown ", "")));
    entries
}

const LINKS: &str = "
ip link add uplink type veth peer name far; ip link set uplink addrgenmode none; ip link set far addrgenmode none; ip link set uplink up; ip link set far up
ip addr add 192.0.2.1/24 dev uplink; ip addr add 2001:db8::1/64 dev uplink nodad
";

const NEIGHBOUR_ROUTES: &str = "
ip route add 198.51.100.0/24 via 192.0.2.9 dev uplink proto bird
ip route add 10.77.0.0/26 via 192.0.2.9 dev uplink proto bird metric 50
ip route add 10.77.0.64/26 via 192.0.2.2 dev uplink table 7 proto 80
ip route add 10.77.0.128/26 dev uplink scope link metric 7 proto static
ip -6 route add 2001:db8:77::/64 via 2001:db8::9 dev uplink proto bird metric 50
ip rule add pref 98 not from all fwmark 0x100000/0x100000 lookup 7
ip -6 rule add pref 98 from 2001:db8:9::/48 lookup 7
";

const CALICO_ROUTES: &str = "
ip route add 10.77.0.0/26 via 192.0.2.2 dev uplink proto bird
ip route add 10.77.0.64/26 via 192.0.2.2 dev uplink proto 80 onlink
ip route add 10.77.0.128/26 dev uplink scope link
ip route add blackhole 10.77.1.0/26 proto bird
ip route add 10.77.2.0/26 proto bird nexthop via 192.0.2.2 dev uplink nexthop via 192.0.2.3 dev uplink weight 3
ip route add 10.77.3.0/26 via 192.0.2.2 dev uplink table 1 proto 80
ip -6 route add 2001:db8:77::/64 via 2001:db8::2 dev uplink proto bird
ip -6 route add blackhole 2001:db8:78::/122 proto 80
ip -6 route add 2001:db8:79::/122 proto bird nexthop via 2001:db8::2 dev uplink nexthop via 2001:db8::3 dev uplink
ip -6 route add 2001:db8:7a::/122 via 2001:db8::2 dev uplink proto 80 table 1
ip rule add pref 99 not from all fwmark 0x100000/0x100000 lookup 1
ip -6 rule add pref 99 not from all fwmark 0x100000/0x100000 lookup 1
";

#[test]
fn routes_and_rules_go_and_come_back() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("routes_and_rules_go_and_come_back")? else {
        return Ok(());
    };
    let node = testbed.lease_node()?;
    let dump = "for v in -4 -6; do ip -o $v route show table all | sed -e 's/linkdown //g' -e '/ dev far /d' | sort; ip $v rule show; done";
    let scene = Scene::new(PrivateHost::new(&node)?, &[LINKS, NEIGHBOUR_ROUTES].concat(), dump)?;
    let show = |version: &str, what: &str| scene.host.shell(&format!("ip {version} {what}"));
    let mut before = Vec::new();
    for (_, version) in FAMILIES {
        before.push([show(version, "route show table all")?, show(version, "rule show")?]);
    }
    let full = scene.seed(CALICO_ROUTES)?;
    // The other end is down while the plan is made: every route says so.
    scene.host.shell("ip link set far down")?;
    let mut operations = Vec::new();
    for ((family, version), [old_routes, old_rules]) in FAMILIES.into_iter().zip(&before) {
        let routes = new_lines(old_routes, &show(version, "route show table all")?);
        let count = if family == IpFamily::V4 { 6 } else { 4 };
        demand(routes.len() == count, "all routes are found", &routes)?;
        operations.push(HostOperation::RemoveRoutes { family, routes });
        let rules = new_lines(old_rules, &show(version, "rule show")?);
        demand(rules.len() == 1, "the rule is found", &rules)?;
        operations.push(HostOperation::RemoveRoutingRules { family, rules });
    }
    let said = format!("{operations:?}");
    demand(said.contains("linkdown") && said.contains("nexthop"), "as ip prints them", &said)?;
    scene.remove(&operations)?;
    // A route through a link that is down is not taken by the kernel.
    scene.host.shell("ip link set far up")?;
    scene.take_back(&operations, &full)?;
    scene.remove(&operations)
}

/// Four times the same, for both families and both implementations: `$1` is what the commands begin with, `$2` the family
/// as ipset calls it, `$3` a number that tells them apart.
const NEIGHBOUR_RULES: &str = r#"
neighbours() {
    ipset create "KUBE-S$3" hash:ip family "$2" comment; [ "$2" = inet6 ] || ipset add "KUBE-S$3" 192.0.2.1 comment cali40s
    for table in filter nat mangle raw; do $1 -t $table -N KUBE-X; $1 -t $table -N my-cali-chain; $1 -t $table -A PREROUTING -j KUBE-X 2>/dev/null || $1 -t $table -A INPUT -j KUBE-X; done
    $1 -A FORWARD -m comment --comment "cali is great" -j my-cali-chain
    $1 -A KUBE-X -m set --match-set "KUBE-S$3" src -j ACCEPT
    $1 -N DOCKER; $1 -A FORWARD -j DOCKER; $1 -P FORWARD DROP
}
neighbours iptables-nft inet 1; neighbours iptables-legacy inet 2; neighbours ip6tables-nft inet6 3; neighbours ip6tables-legacy inet6 4
"#;

const CALICO_RULES: &str = r#"
calico() {
    ipset create "cali$4" hash:net family "$2"
    $1 -N cali-FORWARD; $1 -N cali-tw; $1 -A cali-tw -m set --match-set "cali$4" src -m comment --comment "cali:Tx-1 odd 'name'" -j DROP
    $1 -A cali-FORWARD -m comment --comment "cali:vjrMJCRpqwy5oRoX" -g cali-tw
    $1 -I FORWARD 1 -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD
    $1 -t nat -N cali-POSTROUTING; $1 -t nat -I POSTROUTING 1 -m comment --comment "cali:O3lYWMrLQYEMJtB5" -j cali-POSTROUTING
}
calico iptables-nft inet 1 40n; calico iptables-legacy inet 2 40l; calico ip6tables-nft inet6 3 60n; calico ip6tables-legacy inet6 4 60l
"#;

/// Declarations have no order; rules have.
const DUMP_RULES: &str = r#"
for it in iptables-nft ip6tables-nft iptables-legacy ip6tables-legacy; do
    saved=$($it-save 2>/dev/null | sed -e '/^#/d' -e 's/ \[[0-9:]*\]$//'); echo "== $it"
    printf '%s\n' "$saved" | grep '^:' | sort; printf '%s\n' "$saved" | grep -v '^:'
done
echo "== sets"; ipset list -name | sort; ipset save | grep KUBE | sed 's/ initval [^ ]*//'
"#;

/// As one transaction per table: own chains are declared, which empties them, own rules in others' chains go, and then the
/// chains.
fn removal_of_rules(family: IpFamily, backend: RulesBackend, set: &str) -> HostOperation {
    let (jump, nat) = (
        "FORWARD -m comment --comment \"cali:wUHhoiAYhphO9Mso\" -j cali-FORWARD",
        "POSTROUTING -m comment --comment \"cali:O3lYWMrLQYEMJtB5\" -j cali-POSTROUTING",
    );
    let rules = format!(
        "*filter\n:cali-FORWARD - [0:0]\n:cali-tw - [0:0]\n-D {jump}\n-X cali-FORWARD\n-X cali-tw\nCOMMIT\n\
         *nat\n:cali-POSTROUTING - [0:0]\n-D {nat}\n-X cali-POSTROUTING\nCOMMIT\n"
    );
    let insert = |rule: &str| rule.replacen(' ', " 1 ", 1);
    let undo = format!(
        "*filter\n:cali-FORWARD - [0:0]\n:cali-tw - [0:0]\n\
         -A cali-FORWARD -m comment --comment \"cali:vjrMJCRpqwy5oRoX\" -g cali-tw\n\
         -A cali-tw -m set --match-set {set} src -m comment --comment \"cali:Tx-1 odd \\'name\\'\" -j DROP\n\
         -I {}\nCOMMIT\n*nat\n:cali-POSTROUTING - [0:0]\n-I {}\nCOMMIT\n",
        insert(jump),
        insert(nat)
    );
    HostOperation::RestoreRules { family, backend, rules, undo: Some(undo) }
}

#[test]
fn rules_and_then_sets_go_and_rules_come_back() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("rules_and_then_sets_go")? else { return Ok(()) };
    let node = testbed.lease_node()?;
    let scene = Scene::new(PrivateHost::new(&node)?, NEIGHBOUR_RULES, DUMP_RULES)?;
    let full = scene.seed(CALICO_RULES)?;
    let sets = ["cali40n", "cali40l", "cali60n", "cali60l", "cali40gone"];
    let destroy = HostOperation::DestroyIpSets { names: sets.map(str::to_owned).to_vec() };
    // Sets in use stay.
    scene.host.change_in_vain(&destroy, "is in use by 1")?;
    scene.shows(&full)?;

    // A rule of somebody else that leads into a chain of Calico: all of that table stays.
    let removals = [
        removal_of_rules(IpFamily::V4, RulesBackend::Nft, "cali40n"),
        removal_of_rules(IpFamily::V4, RulesBackend::Legacy, "cali40l"),
        removal_of_rules(IpFamily::V6, RulesBackend::Nft, "cali60n"),
        removal_of_rules(IpFamily::V6, RulesBackend::Legacy, "cali60l"),
    ];
    for (program, removal) in [("iptables-nft", &removals[0]), ("ip6tables-legacy", &removals[3])] {
        scene.host.shell(&format!("{program} -A DOCKER -j cali-tw"))?;
        scene.host.change_in_vain(removal, "nothing of that table was changed")?;
        scene.host.shell(&format!("{program} -D DOCKER -j cali-tw"))?;
        scene.shows(&full)?;
    }
    for removal in &removals {
        scene.host.change(removal)?;
    }
    for removal in &removals {
        scene.host.change_nothing(removal)?;
    }
    scene.take_back(&removals, &full)?;
    scene.remove(&[&removals[..], &[destroy]].concat())
}

#[test]
fn tables_of_nftables_go_in_one_transaction() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("tables_of_nftables_go")? else { return Ok(()) };
    let node = testbed.lease_node()?;
    let neighbours = "
nft add table inet calico-notes; nft add chain inet calico-notes calico '{ type filter hook input priority 0; }'
nft add table ip calico2; nft add table ip6 calico-arp; nft add table arp calico; iptables-nft -N KUBE-X";
    let scene = Scene::new(PrivateHost::new(&node)?, neighbours, "nft list ruleset")?;
    scene.seed("
nft add table ip calico; nft add chain ip calico a; nft add chain ip calico b '{ type filter hook forward priority 0; }'; nft add rule ip calico b jump a
nft add set ip calico cali40s '{ type ipv4_addr; }'; nft add rule ip calico a ip saddr @cali40s drop
nft add table ip6 calico; nft add table arp calico-arp")?;
    let table = |family, name: &str| NftTable { family, name: name.into() };
    let tables = vec![
        table(NftFamily::Ip, "calico"),
        table(NftFamily::Ip6, "calico"),
        table(NftFamily::Arp, "calico-arp"),
        table(NftFamily::Ip, "calico-flowtable-probe"),
    ];
    scene.remove(&[HostOperation::RemoveNftTables { tables }])
}

fn index(host: &PrivateHost<'_>, link: &str) -> Result<u32, Error> {
    let text = host.shell(&format!("cat /sys/class/net/{link}/ifindex"))?;
    text.trim().parse().map_err(|_| Error::Odd { what: format!("index of {link}"), why: text })
}

#[test]
fn a_link_that_stays_loses_its_addresses() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("a_link_that_stays_loses_its_addresses")? else {
        return Ok(());
    };
    let node = testbed.lease_node()?;
    // This kernel has no ipip: a veth shows the addresses and the state, and its kind is told by name.
    let neighbours = "
ip link add tunl0 type veth peer name far; ip link add tunl1 type bridge; ip addr add 192.0.2.5/32 dev tunl1; ip link set tunl1 up";
    let dump = "ip -o addr | grep -v ' lo ' | grep tun | sed 's/ valid_lft.*//'; cat /sys/class/net/tun*/flags";
    let scene = Scene::new(PrivateHost::new(&node)?, neighbours, dump)?;
    let full = scene.seed("
ip addr add 10.77.0.1/32 dev tunl0; ip addr add 10.77.0.2/32 dev tunl0; ip -6 addr add 2001:db8::7/128 dev tunl0 nodad; ip link set tunl0 up; ip link set far up")?;
    let index = index(&scene.host, "tunl0")?;
    let flush = |link_kind: &str, index| HostOperation::FlushLink {
        name: "tunl0".into(),
        index,
        link_kind: link_kind.into(),
    };
    scene.host.change_in_vain(&flush("ipip", index), "is not of kind ipip")?;
    scene.host.change_nothing(&flush("veth", index + 100))?;
    scene.shows(&full)?;
    scene.remove(&[flush("veth", index)])
}

#[test]
fn programs_of_calico_are_detached() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("programs_of_calico_are_detached")? else {
        return Ok(());
    };
    let node = testbed.lease_node()?;
    let host = PrivateHost::new(&node)?;
    for (name, answer) in
        [("cali_tc_main", 0), ("admins_filter", 0), ("cali_xdp_main", 2), ("admins_xdp", 2)]
    {
        host.write_program(&format!("/run/{name}.o"), name, answer)?;
    }
    let neighbours = "
for it in a0 b0 c0; do ip link add $it type veth peer name far-$it; done
load() { bpftool prog load /run/$1.o /sys/fs/bpf/$1 type $2; }
load cali_tc_main classifier; load admins_filter classifier; load cali_xdp_main xdp; load admins_xdp xdp
tc qdisc add dev a0 clsact; tc filter add dev a0 ingress bpf da object-pinned /sys/fs/bpf/admins_filter; tc filter add dev a0 egress protocol ip u32 match ip dst 192.0.2.0/24 flowid 1:1
tc qdisc add dev c0 clsact; tc filter add dev c0 egress bpf bytecode '1,6 0 0 0,'; ip link set dev c0 xdp pinned /sys/fs/bpf/admins_xdp";
    let dump = "for it in a0 b0 c0; do tc qdisc show dev $it; for d in ingress egress; do tc filter show dev $it $d 2>/dev/null; done; ip link show dev $it; done";
    let scene = Scene::new(host, neighbours, dump)?;
    let full = scene.seed("
tc qdisc add dev b0 clsact
for it in a0 b0; do for d in ingress egress; do tc filter add dev $it $d bpf da object-pinned /sys/fs/bpf/cali_tc_main; done; done
ip link set dev a0 xdpgeneric pinned /sys/fs/bpf/cali_xdp_main; ip link set dev b0 xdp pinned /sys/fs/bpf/cali_xdp_main")?;
    let mut operations = Vec::new();
    for link in ["a0", "b0"] {
        for hook in [ProgramHook::Tc, ProgramHook::Xdp] {
            let index = index(&scene.host, link)?;
            operations.push(HostOperation::DetachPrograms { link: link.into(), index, hook });
        }
    }
    for hook in [ProgramHook::Tc, ProgramHook::Xdp] {
        let index = index(&scene.host, "c0")?;
        let detach = HostOperation::DetachPrograms { link: "c0".into(), index, hook };
        scene.host.change_nothing(&detach)?;
    }
    scene.shows(&full)?;
    scene.remove(&operations)
}

#[test]
fn directories_mounts_and_pins_go() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("directories_mounts_and_pins_go")? else {
        return Ok(());
    };
    let node = testbed.lease_node()?;
    let neighbours = "
mkdir -p /run/calico-notes /var/lib/cni/networks/other /sys/fs/bpf/tc/globals /var/lib/cni/results; echo x >/run/calico-notes/x; echo x >/var/lib/cni/networks/other/10.0.0.1
echo x >/var/lib/cni/results/other-1-eth0; mount -t tmpfs tmpfs /run/calico-notes
map() { bpftool map create $1 type hash key 4 value 4 entries 1 name ${1##*/}; }
map /sys/fs/bpf/tc/globals/cilium_x; map /sys/fs/bpf/admins";
    let dump = "ls -AlR --time-style=+ /run /var/lib/cni /var/lib/calico; find /sys/fs/bpf; sed 's/.* - //' /proc/self/mountinfo";
    let scene = Scene::new(PrivateHost::new(&node)?, neighbours, dump)?;
    let full = scene.seed("
mkdir -p /run/calico/cgroup /run/calico/bpffs /run/calico/bpf/prog /var/lib/cni/networks/k8s-pod-network /sys/fs/bpf/calico/xdp; echo x >/run/calico/bpf/prog/x
mount -t cgroup2 none /run/calico/cgroup; mount -t bpf none /run/calico/bpffs; mount -t bpf none /run/calico/bpffs
echo 10.0.0.1 >/var/lib/cni/networks/k8s-pod-network/10.0.0.1; echo x >/var/lib/cni/results/k8s-pod-network-1-eth0
ln -s /run/calico-notes /run/calico/link
map() { bpftool map create $1 type hash key 4 value 4 entries 1 name ${1##*/}; }
map /sys/fs/bpf/tc/globals/cali_v4_x; map /sys/fs/bpf/calico/xdp/p; map /sys/fs/bpf/xdp_cali_1")?;
    let tree = |path: &str| HostOperation::RemoveTree { path: path.into() };
    scene.host.change_in_vain(&tree("/run/calico"), "is to be unmounted first")?;
    let pins = |paths: &[&str]| HostOperation::RemovePins {
        paths: paths.iter().map(|it| (*it).to_owned()).collect(),
    };
    // Somebody's map is in that directory.
    scene.host.change_in_vain(&pins(&["/sys/fs/bpf/tc/globals"]), "not empty")?;
    scene.shows(&full)?;
    let unmount = |path: &str, kind: &str| HostOperation::Unmount {
        path: path.into(),
        file_system: kind.into(),
    };
    scene.remove(&[
        unmount("/run/calico/cgroup", "cgroup2"),
        unmount("/run/calico/bpffs", "bpf"),
        tree("/run/calico"),
        tree("/var/lib/cni/networks/k8s-pod-network"),
        tree("/var/lib/cni/results/k8s-pod-network-1-eth0"),
        pins(&[
            "/sys/fs/bpf/calico",
            "/sys/fs/bpf/calico/xdp",
            "/sys/fs/bpf/calico/xdp/p",
            "/sys/fs/bpf/tc/globals/cali_v4_x",
            "/sys/fs/bpf/xdp_cali_1",
        ]),
    ])
}
