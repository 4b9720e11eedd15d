# Everything of a node that purging may touch or must not, as text that two dumps of an unchanged node have in common: no
# counters, no dates, nothing of single containers. Sections begin with "== ".
export LC_ALL=C
section() { printf '== %s\n' "$1"; }
without_counters() { sed -E -e '/^#/d' -e 's/\[[0-9]+:[0-9]+\]/[]/' -e 's/counter packets [0-9]+ bytes [0-9]+/counter/g'; }

section links
ip -o -d link show | sed -E -e 's/ +/ /g' -e 's/ ([a-z_]*timer|message_age|topology_change[a-z_]*) [0-9.]+//g' | sort
section addresses
ip -o address show | sed -E -e 's/ +/ /g' -e 's/ ?\\.*//' -e 's/ tentative//' | sort
for family in -4 -6; do
  section "routes $family"
  ip "$family" route show table all | sed -E 's/ expires [0-9]+sec//' | sort
  section "routing rules $family"
  ip "$family" rule show
done
section neighbours
ip neigh show nud permanent | sort
bridge fdb show | grep permanent | sort
for backend in nft legacy; do
  for program in iptables ip6tables; do
    section "$program $backend"
    "$program-$backend-save" 2>/dev/null | without_counters
  done
done
section nftables
nft list ruleset 2>/dev/null | without_counters
section ipsets
ipset save -sorted 2>&1
section traffic-control
for link in $(ls /sys/class/net); do
  tc qdisc show dev "$link" | sed "s/^/$link: /"
  for direction in ingress egress; do tc filter show dev "$link" "$direction" 2>&1 | sed "s/^/$link $direction: /"; done
done
section programs
bpftool net show 2>&1
section pins
find /sys/fs/bpf /run/calico/bpffs -mindepth 1 -printf '%p %y %i\n' 2>/dev/null | sort
section mounts
sed -E -n 's/^[0-9]+ [0-9]+ [0-9:]+ ([^ ]+ [^ ]+) .* - ([^ ]+) .*/\1 \2/p' /proc/self/mountinfo | grep -v -E '/(kubelet/pods|containerd|netns)/' | sort
section network-namespaces
ls /run/netns 2>/dev/null
section files
for folder in /etc/cni /opt/cni /var/lib/calico /var/lib/calico-admin /run/calico /run/calico-admin /run/nodeagent /var/log/calico /var/log/calico-admin \
  /etc/calico /var/lib/cni /usr/libexec/kubernetes /var/lib/kubelet/plugins /var/lib/kubelet/plugins_registry /etc/NetworkManager /etc/sysctl.d; do
  [ ! -e "$folder" ] || find "$folder" -xdev -printf '%p %y %m %u:%g\n'
done | sort
section contents
for folder in /etc/cni /opt/cni /var/lib/calico /var/lib/calico-admin /run/calico /etc/calico /var/lib/cni /var/log/calico-admin /usr/libexec/kubernetes /etc/sysctl.d; do
  [ ! -e "$folder" ] || find "$folder" -xdev -type f -exec sha256sum {} +
done | sort -k 2
section settings
for key in net/ipv4/ip_forward net/ipv6/conf/all/forwarding net/ipv4/conf/all/rp_filter net/ipv4/conf/all/src_valid_mark net/netfilter/nf_conntrack_acct; do
  printf '%s = ' "$key"; cat "/proc/sys/$key"
done
