# Removes everything that seeding can have put on a node, and all of Calico's. Brute on purpose, and unlike anything
# that the plugins do: it may forget nothing. Links of sandboxes stay.
# KUBE-* stays as well.
export LC_ALL=C
for mount in /run/calico/cgroup /run/calico/bpffs; do
  ! grep -q " $mount " /proc/mounts || umount "$mount"
done
keep=$(ip -o link show type veth | sed -n "/link-netns cni-/{/-0000-4000-8000-/!s/^[0-9]*: \([^@]*\)@.*/\1/p}")
for name in eth0 $keep; do tc qdisc del dev "$name" clsact 2>/dev/null; done
ip link set dev eth0 xdpgeneric off
for name in $(ls /sys/class/net); do
  case $name in
    lo | eth0) ;;
    *) echo "$keep" | grep -qxF "$name" || ip link delete "$name" 2>/dev/null ;;
  esac
done
for namespace in $(ip netns list | sed -n 's/^\(cni-[0-9a-f]\{8\}-0000-4000-8000-[0-9]\{12\}\).*/\1/p'); do
  ip netns delete "$namespace"
done
for family in -4 -6; do
  for table in main 1 98 99; do
    for protocol in 80 bird; do ip "$family" route flush table "$table" proto "$protocol"; done
  done 2>/dev/null
  for table in 1 98 99; do ip "$family" route flush table "$table"; done 2>/dev/null
  for priority in 99 4711; do
    while ip "$family" rule del pref "$priority" 2>/dev/null; do :; done
  done
done
ip route flush type blackhole proto static
# Of iptables everything but the rules of kube-proxy and of the kubelet, which would not come back at once.
builtin='^(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING)$'
for program in iptables-nft ip6tables-nft iptables-legacy ip6tables-legacy; do
  "$program-save" | awk -v builtin="$builtin" '
    /^\*/ { print; count = 0 }
    /^:/ && substr($1, 2) !~ builtin && $1 !~ /^:KUBE-/ { print; chains[count++] = substr($1, 2) }
    /^-A/ && $2 ~ builtin && !/KUBE-/ { sub(/^-A/, "-D"); print }
    /^COMMIT/ { for (i = 0; i < count; i++) print "-X " chains[i]; print }
  ' | "$program-restore" --noflush -w 30
done
nft list tables | grep -v -E '^table ip6? (filter|nat|mangle|raw)$' | while read -r _ family name; do
  nft delete table "$family" "$name"
done
# Tables and their own chains come into being by the first rule, and stay: they are to be there before and after.
for program in iptables-nft ip6tables-nft iptables-legacy ip6tables-legacy; do
  for place in filter:INPUT filter:FORWARD filter:OUTPUT nat:PREROUTING nat:INPUT nat:OUTPUT nat:POSTROUTING raw:PREROUTING raw:OUTPUT \
    mangle:PREROUTING mangle:INPUT mangle:FORWARD mangle:OUTPUT mangle:POSTROUTING; do
    "$program" -w -t "${place%:*}" -A "${place#*:}" -m mark --mark 0x7e57
    "$program" -w -t "${place%:*}" -D "${place#*:}" -m mark --mark 0x7e57
  done
done
ipset destroy
find /sys/fs/bpf -mindepth 1 -type f ! -name '*.debug' -delete
find /sys/fs/bpf -mindepth 1 -depth -type d -exec rmdir {} +
cd /etc/cni/net.d && rm -rf 05-cilium.conflist 10-calico.conflist* 10-canal.conflist* 20-multi.conflist README calico-*
cd /opt/cni/bin && rm -f calico*
rm -rf --one-file-system /var/lib/calico /run/calico /var/log/calico /run/nodeagent /etc/calico /var/lib/kubelet/plugins/csi.* \
  /var/lib/kubelet/plugins_registry/csi.tigera.io-reg.sock /usr/libexec/kubernetes/kubelet-plugins/volume/exec/*~uds \
  /var/lib/cni/networks /var/lib/cni/results/*-c0ffee*-eth0 /var/lib/cni/cache/results/*-c0ffee*-eth0 \
  /var/lib/cni/cache/results/cbr0-k8s-pod-network-eth0 \
  /var/lib/calico-admin /run/calico-admin /var/log/calico-admin /etc/sysctl.d/90-calico.conf /etc/NetworkManager /run/testbed/residues
# Folders that calico-node's containers have mounted must be there again before the next pod starts.
exit 0
