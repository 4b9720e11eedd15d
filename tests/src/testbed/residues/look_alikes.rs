//! What looks like Calico's and is somebody else's: nothing of it may be touched.

use super::Item;

/// Each with a word on what it only looks like.
pub(super) const ALL: &[Item] = &[
    // Links: the name is Calico's and the kind is not, or the other way round.
    Item(
        &["an administrator's veth named as the device of IP-in-IP"],
        "pair tunl0 tunl0-admin; ip addr add 192.0.2.1/30 dev tunl0",
    ),
    Item(
        &["an administrator's veth named as that of WireGuard"],
        "pair wireguard.cali wg-admin; ip addr add 192.0.2.5/30 dev wireguard.cali",
    ),
    Item(
        &["a bridge named as a pod's link, with a foreign port"],
        "ip link add cali0123456789a type bridge; pair port0 port1; ip link set port0 master cali0123456789a; ip link set cali0123456789a up; ip addr add 192.0.2.9/30 dev cali0123456789a",
    ),
    Item(&["a veth whose name begins as a pod's link"], "pair cali-admin0 cali-admin1"),
    Item(&["a veth whose name begins as the overlay's"], "pair vxlan.calico0 vxlan.calico1"),
    Item(
        &["an overlay of somebody else, with another number and port"],
        "ip link add vxlan.admin type vxlan id 77 dstport 8472 local ADDRESS dev eth0; ip link set vxlan.admin up",
    ),
    Item(&["an ifb of somebody else"], "ip link add bwadmin0 type ifb; ip link set bwadmin0 up"),
    // Routes: BIRD is also an administrator's; 80 is a number that anybody may take.
    Item(
        &["a route of the administrator's own BIRD"],
        "ip route add 198.51.100.0/25 via GATEWAY dev eth0 proto bird",
    ),
    Item(
        &["a blackhole of the administrator's own BIRD, in no pool"],
        "ip route add blackhole 198.51.100.128/25 proto bird",
    ),
    Item(
        &["a route of somebody else with protocol 80"],
        "ip route add 203.0.113.0/25 via GATEWAY dev eth0 proto 80",
    ),
    Item(
        &["a blackhole with protocol 80, in no pool"],
        "ip route add blackhole 203.0.113.128/25 proto 80",
    ),
    Item(
        &["a blackhole inside the pool, by hand"],
        "ip route add blackhole POOL.99.0/26 proto static",
    ),
    Item(&["a route of BIRD to IPv6"], "ip -6 route add 2001:db8:1::/64 dev eth0 proto bird"),
    Item(
        &["a blackhole of IPv6 with protocol 80, in no pool"],
        "ip -6 route add blackhole 2001:db8:2::/64 proto 80",
    ),
    Item(
        &["a rule with the priority of WireGuard's"],
        "ip rule add pref 99 from 192.0.2.10 lookup 99; ip route add 198.18.0.0/24 via GATEWAY dev eth0 table 99",
    ),
    Item(
        &["a rule with the form of WireGuard's and another priority"],
        "ip rule add pref 4711 not fwmark 0x100000/0x100000 lookup 98; ip route add throw 198.18.1.0/24 table 98",
    ),
    Item(
        &["a permanent neighbour"],
        "ip neigh replace 192.0.2.10 lladdr 66:00:00:00:00:10 dev cali0123456789a nud permanent",
    ),
    // Sets: only the name counts.
    Item(
        &["a set whose entry has a comment"],
        "ipset create admin-nets4 hash:net comment; ipset add admin-nets4 192.0.2.0/24 comment cali40all-ipam-pools",
    ),
    Item(
        &["a set for IPv6"],
        "ipset create admin-nets6 hash:net family inet6 comment; ipset add admin-nets6 2001:db8:1::/64 comment cali60all-ipam-pools",
    ),
    Item(
        &["sets whose names only hold Calico's"],
        "for it in my-cali40 calico-hosts cali-admins xfelix-4-s; do ipset create $it hash:ip; done",
    ),
    // Rules and tables.
    Item(&["rules for IPv4 in iptables-nft"], "rules nft 4 admin.rules"),
    Item(&["rules for IPv6 in iptables-nft"], "rules nft 6 admin.rules"),
    Item(&["rules for IPv4 in iptables-legacy"], "rules legacy 4 admin.rules"),
    Item(&["rules for IPv6 in iptables-legacy"], "rules legacy 6 admin.rules"),
    Item(
        &["tables of nftables"],
        r#"nft 'table inet calico-notes { chain my-cali-chain { type filter hook forward priority 10; policy accept; counter comment "cali:wUHhoiAYhphO9Mso"; }; chain DOCKER-USER { counter; }; }'; nft 'table ip calico-admin { set cali40 { type ipv4_addr; elements = { 192.0.2.1 }; }; chain cali-FORWARD { counter; }; }'; nft 'table inet calico { chain x { counter; }; }'; nft 'table ip6 my-calico { chain x { counter; }; }'"#,
    ),
    // BPF.
    Item(
        &["pins of Cilium and of an administrator"],
        "map /sys/fs/bpf/cilium/globals/cilium_lxc cilium_lxc; map /sys/fs/bpf/tc/globals/my_cali_map my_cali_map; map /sys/fs/bpf/tc/globals/calico_notes calico_notes; program /sys/fs/bpf/tcx/admin classifier admin_tc; program /sys/fs/bpf/admin_xdp xdp admin_xdp; mkdir /sys/fs/bpf/0123456789",
    ),
    Item(
        &["programs of an administrator"],
        "tc qdisc add dev tunl0 clsact; tc filter add dev tunl0 ingress prio 1 handle 1 bpf da object-pinned /sys/fs/bpf/tcx/admin; tc filter add dev tunl0 egress protocol ip prio 2 u32 match ip dst 192.0.2.0/24 flowid 1:1; ip link set dev port1 xdp pinned /sys/fs/bpf/admin_xdp",
    ),
    // Files.
    Item(
        &["the configuration of another CNI, which the runtime uses"],
        r#"put 0644 /etc/cni/net.d/05-cilium.conflist '{"name": "cilium", "cniVersion": "0.3.1", "plugins": [{"type": "cilium-cni"}]}'"#,
    ),
    Item(
        &["an administrator's copy of the configuration"],
        r#"put 0600 /etc/cni/net.d/10-calico.conflist.bak '{"name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [{"type": "calico"}]}'"#,
    ),
    Item(
        &["an administrator's notes"],
        "put 0644 /etc/cni/net.d/calico-notes.txt 'call Anna first'; put 0644 /etc/cni/net.d/README",
    ),
    Item(
        &["a conflist of another CNI that only mentions calico"],
        r#"put 0644 /etc/cni/net.d/20-multi.conflist '{"name": "calico", "cniVersion": "0.3.1", "plugins": [{"type": "bridge", "bridge": "calico0"}, {"type": "calico-policy"}]}'"#,
    ),
    Item(
        &["an administrator's tools"],
        "put 0755 /opt/cni/bin/calicoctl '#!/bin/sh'; put 0755 /opt/cni/bin/calico-notes '#!/bin/sh'",
    ),
    Item(
        &["an administrator's settings"],
        "put 0600 /etc/calico/calicoctl.cfg 'kind: CalicoAPIConfig'; put 0600 /etc/calico/certs/etcd.key 'not really a key'; put 0644 /etc/sysctl.d/90-calico.conf 'net.ipv4.ip_forward = 1'; put 0644 /etc/NetworkManager/conf.d/calico.conf '[keyfile]'",
    ),
    Item(
        &["folders beside Calico's"],
        "put 0644 /var/lib/calico-admin/notes; put 0644 /run/calico-admin/notes; put 0644 /var/log/calico-admin/notes",
    ),
    Item(
        &["addresses and results of another network"],
        "put 0644 /var/lib/cni/networks/admin/192.0.2.7 dead; put 0600 /var/lib/cni/results/admin-CONTAINER-eth0 '{}'; put 0600 /var/lib/cni/cache/results/cbr0-k8s-pod-network-eth0 '{}'",
    ),
    Item(
        &["a plugin of another driver"],
        "put 0755 /usr/libexec/kubernetes/kubelet-plugins/volume/exec/admin~uds/uds '#!/bin/sh'; put 0644 /var/lib/kubelet/plugins/csi.admin.io/state",
    ),
];
