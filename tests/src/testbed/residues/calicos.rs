//! Everything that Calico leaves on a node, as far as this kernel has it: what it is called, and how it is made.
//!
//! Not here, because the kernel lacks it: tunl0 (ipip), `wireguard.cali` and `wg-v6.cali` (WireGuard), TCX and netkit links
//! (bpftool is too old for them), and IPVS.

use super::Item;

/// Files, sockets, folders and mounts. KUBECONFIG is written by Rust: it holds a token.
pub(super) const FILES: &[Item] = &[
    Item(
        &["file/etc/cni/net.d/10-calico.conflist"],
        r#"put 0600 /etc/cni/net.d/10-calico.conflist '{"name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [{"type": "calico", "datastore_type": "kubernetes", "ipam": {"type": "calico-ipam"}, "kubernetes": {"kubeconfig": "/etc/cni/net.d/calico-kubeconfig"}}, {"type": "portmap", "snat": true, "capabilities": {"portMappings": true}}]}'"#,
    ),
    Item(
        &["file/etc/cni/net.d/10-canal.conflist.cilium_bak"],
        r#"put 0644 /etc/cni/net.d/10-canal.conflist.cilium_bak '{"name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [{"type": "calico", "ipam": {"type": "host-local", "subnet": "usePodCidr"}}]}'"#,
    ),
    Item(
        &["file/etc/cni/net.d/calico-kubeconfig"],
        "mv /run/testbed/residues/calico-kubeconfig /etc/cni/net.d/calico-kubeconfig",
    ),
    Item(
        &["directory/etc/cni/net.d/calico-tls"],
        "for it in etcd-ca etcd-cert etcd-key; do put 0600 /etc/cni/net.d/calico-tls/$it 'not really a key'; done",
    ),
    Item(&["file/opt/cni/bin/calico"], "cp /opt/cni/bin/loopback /opt/cni/bin/calico"),
    Item(&["file/opt/cni/bin/calico-ipam"], "cp /opt/cni/bin/loopback /opt/cni/bin/calico-ipam"),
    Item(&["file/opt/cni/bin/calico.tmp"], "put 0755 /opt/cni/bin/calico.tmp half"),
    Item(
        &["directory/var/lib/calico"],
        "for it in nodename mtu bpf_ct_map_size shutdownTimestamp felix-plugins/notes; do put 0644 /var/lib/calico/$it 1; done",
    ),
    Item(
        &["directory/run/calico"],
        "for it in bird.ctl bird6.ctl flows/flows.sock; do sock /run/calico/$it; done; for it in ipam.lock cni/ipam_upgraded endpoint-status/cali3f5078e6c6e bpf/prog azure/networks; do put 0644 /run/calico/$it; done",
    ),
    Item(
        &["mount/run/calico/cgroup"],
        "mkdir -p /run/calico/cgroup; mount -t cgroup2 none /run/calico/cgroup",
    ),
    Item(
        &["mount/run/calico/bpffs"],
        "mkdir -p /run/calico/bpffs; mount -t bpf bpf /run/calico/bpffs",
    ),
    Item(&["directory/run/nodeagent"], "sock /run/nodeagent/socket"),
    Item(
        &["directory/usr/libexec/kubernetes/kubelet-plugins/volume/exec/nodeagent~uds"],
        r#"put 0755 /usr/libexec/kubernetes/kubelet-plugins/volume/exec/nodeagent~uds/uds '#!/bin/sh
echo "{\"status\": \"Success\", \"capabilities\": {\"attach\": false}}"'"#,
    ),
    Item(&["directory/etc/calico/csi"], "put 0644 /etc/calico/csi/state"),
    Item(
        &["directory/var/lib/kubelet/plugins/csi.tigera.io"],
        "sock /var/lib/kubelet/plugins/csi.tigera.io/csi.sock",
    ),
    Item(
        &["directory/var/lib/kubelet/plugins_registry/csi.tigera.io-reg.sock"],
        "sock /var/lib/kubelet/plugins_registry/csi.tigera.io-reg.sock",
    ),
    Item(
        &["directory/var/lib/cni/networks/k8s-pod-network"],
        "for it in POOL.77.3 last_reserved_ip.0 lock; do put 0644 /var/lib/cni/networks/k8s-pod-network/$it dead; done",
    ),
    Item(
        &["file/var/lib/cni/results/k8s-pod-network-CONTAINER-eth0"],
        "put 0600 /var/lib/cni/results/k8s-pod-network-CONTAINER-eth0 '{\"kind\": \"cniCacheV1\"}'",
    ),
    Item(
        &["file/var/lib/cni/cache/results/k8s-pod-network-CONTAINER-eth0"],
        "put 0600 /var/lib/cni/cache/results/k8s-pod-network-CONTAINER-eth0 '{\"kind\": \"cniCacheV1\"}'",
    ),
];

/// Links. The peer of a dead pod's link is in a network namespace that no sandbox has.
pub(super) const LINKS: &[Item] = &[
    Item(
        &["link/cali3f5078e6c6e"],
        "veth cali3f5078e6c6e cni-3f5078e6-0000-4000-8000-000000000001",
    ),
    Item(
        &["link/calic87fa95e671"],
        "veth calic87fa95e671 cni-c87fa95e-0000-4000-8000-000000000002",
    ),
    Item(
        &["link/vxlan.calico"],
        "ip link add vxlan.calico type vxlan id 4096 dstport 4789 nolearning local ADDRESS dev eth0; ip addr add POOL.77.0/32 dev vxlan.calico; ip link set vxlan.calico up; ip neigh replace POOL.76.0 lladdr 66:00:00:00:00:76 dev vxlan.calico nud permanent; bridge fdb replace 66:00:00:00:00:76 dev vxlan.calico dst PEER self permanent",
    ),
    Item(
        &["link/vxlan-v6.calico"],
        "ip link add vxlan-v6.calico type vxlan id 4096 dstport 4789 nolearning local fd00:99::2 dev eth0; ip -6 addr add fd00:77::/128 dev vxlan-v6.calico nodad; ip link set vxlan-v6.calico up",
    ),
    Item(
        &["link/bpfin.cali", "link/bpfout.cali"],
        "ip link add bpfin.cali type veth peer name bpfout.cali; ip link set bpfin.cali up; ip link set bpfout.cali up; ip neigh replace 169.254.1.1 lladdr 66:00:00:00:00:01 dev bpfin.cali nud permanent; ip route add 169.254.1.1 dev bpfin.cali scope link",
    ),
    Item(
        &["link/bwcali3f5078e6c"],
        "ip link add bwcali3f5078e6c type ifb; ip link set bwcali3f5078e6c up; tc qdisc add dev bwcali3f5078e6c root tbf rate 1mbit burst 32kb latency 25ms",
    ),
];

/// Routes and rules, as Felix (protocol 80), BIRD and the WireGuard of Felix write them.
pub(super) const ROUTES: &[Item] = &[
    Item(
        &["route/v4/POOL.76.0/26"],
        "ip route add POOL.76.0/26 via POOL.76.0 dev vxlan.calico onlink proto 80",
    ),
    Item(&["route/v4/POOL.77.0/26"], "ip route add blackhole POOL.77.0/26 proto 80"),
    Item(&["route/v4/POOL.78.0/26"], "ip route add POOL.78.0/26 via PEER dev eth0 proto 80"),
    Item(&["route/v4/POOL.79.0/26"], "ip route add POOL.79.0/26 via PEER dev eth0 proto bird"),
    Item(&["route/v4/POOL.80.0/26"], "ip route add blackhole POOL.80.0/26 proto bird"),
    Item(&["route/v6/fd00:76::/122"], "ip -6 route add fd00:76::/122 dev vxlan-v6.calico proto 80"),
    Item(
        &["route/v6/fd00:78::/122"],
        "ip -6 route add fd00:78::/122 dev vxlan-v6.calico proto bird",
    ),
    Item(
        &["routing-rule/v4/99", "route/v4/POOL.81.0/26 table 1"],
        "ip rule add pref 99 not fwmark 0x100000/0x100000 lookup 1; ip route add throw POOL.81.0/26 table 1 proto 80",
    ),
    Item(
        &["routing-rule/v6/99", "route/v6/fd00:81::/122 table 1"],
        "ip -6 rule add pref 99 not fwmark 0x100000/0x100000 lookup 1; ip -6 route add throw fd00:81::/122 table 1 proto 80",
    ),
];

/// Sets, which the rules need; then rules of both backends and families.
pub(super) const SETS: &[Item] = &[
    Item(
        &["ip-set/cali40all-ipam-pools"],
        "ipset create cali40all-ipam-pools hash:net; ipset add cali40all-ipam-pools POOL.0.0/16",
    ),
    Item(
        &["ip-set/cali40masq-ipam-pools"],
        "ipset create cali40masq-ipam-pools hash:net; ipset add cali40masq-ipam-pools POOL.0.0/16",
    ),
    Item(
        &["ip-set/cali40all-vxlan-net"],
        "ipset create cali40all-vxlan-net hash:net; ipset add cali40all-vxlan-net PEER",
    ),
    Item(
        &["ip-set/cali40this-host"],
        "ipset create cali40this-host hash:ip; ipset add cali40this-host ADDRESS",
    ),
    Item(
        &["ip-set/cali40s:kVMQoXy0mAhGrXuFMXcCqZP"],
        "ipset create cali40s:kVMQoXy0mAhGrXuFMXcCqZP hash:net; ipset add cali40s:kVMQoXy0mAhGrXuFMXcCqZP POOL.77.3",
    ),
    Item(&["ip-set/cali40ports-ipportset"], "ipset create cali40ports-ipportset hash:ip,port"),
    Item(&["ip-set/cali4t0"], "ipset create cali4t0 hash:net"),
    Item(
        &["ip-set/cali40bpf-nodeports"],
        "ipset create cali40bpf-nodeports bitmap:port range 30000-32767",
    ),
    Item(
        &["ip-set/cali60all-ipam-pools"],
        "ipset create cali60all-ipam-pools hash:net family inet6",
    ),
    Item(
        &["ip-set/cali60masq-ipam-pools"],
        "ipset create cali60masq-ipam-pools hash:net family inet6",
    ),
    Item(
        &["ip-set/cali60s:kVMQoXy0mAhGrXuFMXcCqZP"],
        "ipset create cali60s:kVMQoXy0mAhGrXuFMXcCqZP hash:net family inet6",
    ),
    Item(
        &["ip-set/felix-4-s-0123456789abcdef"],
        "ipset create felix-4-s-0123456789abcdef hash:net",
    ),
    Item(
        &["ip-set/felix-6-s-0123456789abcdef"],
        "ipset create felix-6-s-0123456789abcdef hash:net family inet6",
    ),
    Item(&["ip-set/felix-masq-ipam-pools"], "ipset create felix-masq-ipam-pools hash:net"),
    Item(&["ip-set/felix-all-ipam-pools"], "ipset create felix-all-ipam-pools hash:net"),
];

/// Rules of iptables: both backends, both families, all four tables.
pub(super) const RULES: &[Item] = &[
    Item(&["rules/felix.rules/nft/v4/filter"], "rules nft 4 felix.rules filter"),
    Item(&["rules/felix.rules/nft/v4/nat"], "rules nft 4 felix.rules nat"),
    Item(&["rules/felix.rules/nft/v4/mangle"], "rules nft 4 felix.rules mangle"),
    Item(&["rules/felix.rules/nft/v4/raw"], "rules nft 4 felix.rules raw"),
    Item(&["rules/felix.rules/nft/v6/filter"], "rules nft 6 felix.rules filter"),
    Item(&["rules/felix.rules/nft/v6/nat"], "rules nft 6 felix.rules nat"),
    Item(&["rules/felix.rules/nft/v6/mangle"], "rules nft 6 felix.rules mangle"),
    Item(&["rules/felix.rules/nft/v6/raw"], "rules nft 6 felix.rules raw"),
    Item(
        &["rules/felix.rules/legacy/v4/filter", "rules/felix-v1.rules/legacy/v4/filter"],
        "rules legacy 4 felix.rules filter; rules legacy 4 felix-v1.rules filter",
    ),
    Item(
        &["rules/felix.rules/legacy/v4/nat", "rules/felix-v1.rules/legacy/v4/nat"],
        "rules legacy 4 felix.rules nat; rules legacy 4 felix-v1.rules nat",
    ),
    Item(&["rules/felix.rules/legacy/v4/mangle"], "rules legacy 4 felix.rules mangle"),
    Item(&["rules/felix.rules/legacy/v4/raw"], "rules legacy 4 felix.rules raw"),
    Item(
        &["rules/felix.rules/legacy/v6/filter", "rules/felix-v1.rules/legacy/v6/filter"],
        "rules legacy 6 felix.rules filter; rules legacy 6 felix-v1.rules filter",
    ),
    Item(
        &["rules/felix.rules/legacy/v6/nat", "rules/felix-v1.rules/legacy/v6/nat"],
        "rules legacy 6 felix.rules nat; rules legacy 6 felix-v1.rules nat",
    ),
    Item(&["rules/felix.rules/legacy/v6/mangle"], "rules legacy 6 felix.rules mangle"),
    Item(&["rules/felix.rules/legacy/v6/raw"], "rules legacy 6 felix.rules raw"),
];

/// Tables of nftables, as Felix writes them in nftables mode.
pub(super) const TABLES: &[Item] = &[
    Item(
        &["nft-table/ip/calico"],
        r#"nft 'table ip calico { set cali40all-ipam-pools { type ipv4_addr; flags interval; elements = { POOL.0.0/16 }; }; chain cali-FORWARD { counter return; }; chain filter-FORWARD { type filter hook forward priority 0; policy accept; counter jump cali-FORWARD comment "cali:wUHhoiAYhphO9Mso;"; }; }'"#,
    ),
    Item(
        &["nft-table/ip6/calico"],
        "nft 'table ip6 calico { chain raw-PREROUTING { type filter hook prerouting priority raw; policy accept; counter; }; }'",
    ),
    Item(
        &["nft-table/arp/calico-arp"],
        "nft 'table arp calico-arp { chain cali-ARP { counter; }; }'",
    ),
    Item(&["nft-table/ip/calico-flowtable-probe"], "nft 'table ip calico-flowtable-probe { }'"),
];

/// Pins below /sys/fs/bpf, and programs that are attached. `BPF_TC` and so on are the objects that Rust makes.
pub(super) const PINS: &[Item] = &[
    Item(
        &["pin/sys/fs/bpf/tc/globals/cali_v4_routes"],
        "map /sys/fs/bpf/tc/globals/cali_v4_routes cali_v4_routes",
    ),
    Item(
        &["pin/sys/fs/bpf/tc/globals/cali_state3"],
        "map /sys/fs/bpf/tc/globals/cali_state3 cali_state",
    ),
    Item(
        &["pin/sys/fs/bpf/tc/globals/cali_v6_nat_fe3"],
        "map /sys/fs/bpf/tc/globals/cali_v6_nat_fe3 cali_v6_nat_fe",
    ),
    Item(
        &["pin/sys/fs/bpf/ctlb/calico_connect_v4", "pin/sys/fs/bpf/ctlb"],
        "program /sys/fs/bpf/ctlb/calico_connect_v4 cgroup/connect4 calico_connect_",
    ),
    Item(
        &["pin/sys/fs/bpf/calico_sendmsg_v4"],
        "program /sys/fs/bpf/calico_sendmsg_v4 cgroup/sendmsg4 calico_sendmsg_",
    ),
    Item(
        &[
            "pin/sys/fs/bpf/calico",
            "pin/sys/fs/bpf/calico/xdp",
            "pin/sys/fs/bpf/calico/xdp/prefilter_v1_calico_tmp_A",
        ],
        "program /sys/fs/bpf/calico/xdp/prefilter_v1_calico_tmp_A xdp cali_xdp_main",
    ),
    Item(
        &["pin/sys/fs/bpf/calico/sockmap", "pin/sys/fs/bpf/calico/sockmap/calico_sk_endpoints_v2"],
        "map /sys/fs/bpf/calico/sockmap/calico_sk_endpoints_v2 cali_sk",
    ),
    Item(&["pin/sys/fs/bpf/xdp_cali_f5078e6c6e"], "map /sys/fs/bpf/xdp_cali_f5078e6c6e xdp_cali"),
    Item(
        &["pin/sys/fs/bpf/tc/0123456789abcdef0123456789abcdef01234567"],
        "mkdir -p /sys/fs/bpf/tc/0123456789abcdef0123456789abcdef01234567",
    ),
    Item(&["pin/sys/fs/bpf/tc/cali3f5078e6c6e_igr"], "mkdir -p /sys/fs/bpf/tc/cali3f5078e6c6e_igr"),
    Item(
        &["program/eth0/tc"],
        "program /sys/fs/bpf/cali_tc_main classifier cali_tc_main; tc qdisc add dev eth0 clsact; tc filter add dev eth0 ingress prio 1 handle 1 bpf da object-pinned /sys/fs/bpf/cali_tc_main; rm /sys/fs/bpf/cali_tc_main",
    ),
    Item(
        &["program/eth0/xdp"],
        "ip link set dev eth0 xdpgeneric pinned /sys/fs/bpf/calico/xdp/prefilter_v1_calico_tmp_A",
    ),
];

/// All of them, in the order in which they can be made: later ones refer to earlier ones.
pub(super) const ALL: [&[Item]; 7] = [FILES, LINKS, ROUTES, SETS, RULES, TABLES, PINS];
