#!/bin/sh
# The look of kubectl-calico at a node's data plane: whether Calico's eBPF programs are there and what they serve, what
# kube-proxy's rules serve, and what the kernel offers. It changes nothing, writes no file, needs no argument, and opens no
# connection but to calico-node's health port on the loopback address.
#
# It runs inside the calico-node container (by exec, read from standard input) or on the host (`sh bpf.sh`), under any POSIX
# shell. It uses the shell, sed and raw commands only; everything is interpreted later, elsewhere.
#
# Output: sections, one command each,
#     @@<id> rc=<exit code> ms=<milliseconds>
#     <what the command printed, both streams>
#     @@end
# - A line of output that starts with "@@" gets one more "@" in front; the reader takes it off again.
# - A command has 10 seconds (rc=124 when they were not enough), if `timeout` exists. A section holds 8 MiB at most; what is
#   larger is cut, and then rc=27. rc=127: this place has no such program.
#
# No secret is printed: of kubeconfigs only the lines that name the server are.
#
# CALICO_BPF_ROOT=<directory> puts a directory in front of every path that is looked at, for tests.

export LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
root=${CALICO_BPF_ROOT:-}
cap=8388608
newline='
'
limit=
if command -v timeout >/dev/null 2>&1 && timeout 10 true 2>/dev/null; then
    limit='timeout 10'
fi

# Milliseconds since boot into $clock, to 10 ms, without starting a program.
read_clock() {
    uptime=0.00
    read -r uptime _ </proc/uptime || :
    hundredths=${uptime#*.}
    clock=$((${uptime%.*} * 1000 + ${hundredths#0} * 10))
}

# Prints section $1 with exit code $2 and text $3; it began at $began.
print_section() {
    read_clock
    if [ "${#3}" -gt "$cap" ]; then
        printf '@@%s rc=27 ms=%s\n%.'"$cap"'s\n@@end\n' "$1" "$((clock - began))" "$3"
    elif [ -n "$3" ]; then
        printf '@@%s rc=%s ms=%s\n%s\n@@end\n' "$1" "$2" "$((clock - began))" "$3"
    else
        printf '@@%s rc=%s ms=%s\n@@end\n' "$1" "$2" "$((clock - began))"
    fi
}

# Runs a command, or a function of this script, as section $1. Functions put $limit in front of what may hang.
section() {
    id=$1
    shift
    read_clock
    began=$clock
    text=$("$@" 2>&1 </dev/null)
    rc=$?
    print_section "$id" "$rc" "$(printf '%s\n' "$text" | sed 's/^@@/@@@/')"
}

# Runs a program if there is one.
program() {
    if ! command -v "$1" >/dev/null 2>&1; then
        printf 'there is no %s here\n' "$1"
        return 127
    fi
    $limit "$@"
}

# What sed makes by $1 of what the command $2… prints; ends as the command ended.
edited() {
    expression=$1
    shift
    {
        status=$({
            {
                program "$@" 2>&1
                printf '%s' "$?" >&3
            } | sed -n "$expression" >&4
        } 3>&1)
    } 4>&1
    return "${status:-1}"
}

# ---- The kernel ----

# Type information of the kernel, which programs of newer releases cannot do without.
type_information() {
    if [ -r "$root/sys/kernel/btf/vmlinux" ]; then printf 'yes\n'; else printf 'no\n'; fi
}

# Mounts of the BPF file system and of cgroup v2 as this place sees them, and what /sys/fs itself is a mount of.
mounts() {
    sed -n -e '/ - bpf /p' -e '/ - cgroup2 /p' -e '/^[0-9]* [0-9]* [^ ]* [^ ]* \/sys\(\/fs\)\{0,1\} /p' "$root/proc/self/mountinfo"
}

# Settings that bear on BPF or that Felix changes for good.
settings() {
    for key in kernel/unprivileged_bpf_disabled net/core/bpf_jit_enable net/core/bpf_jit_harden \
        net/ipv4/conf/all/rp_filter net/ipv4/conf/default/rp_filter net/ipv4/conf/all/accept_local; do
        # Not by `read`: some shells read byte by byte, and these files give only their first one then.
        ! value=$(cat "$root/proc/sys/$key" 2>/dev/null) || printf '%s=%s\n' "$key" "$value"
    done
    return 0
}

# What the kernel was built with, where that can be read.
built_with() {
    names='CONFIG_\(BPF\|BPF_SYSCALL\|BPF_JIT\|CGROUP_BPF\|NET_CLS_BPF\|NET_CLS_ACT\|NET_SCH_INGRESS\|VXLAN\|DEBUG_INFO_BTF\)'
    symbols="/^$names=/p;s/^# \($names\) is not set$/\1=n/p"
    release=$(cat "$root/proc/sys/kernel/osrelease" 2>/dev/null)
    if [ -r "$root/proc/config.gz" ] && command -v zcat >/dev/null 2>&1; then
        edited "$symbols" zcat "$root/proc/config.gz"
    elif [ -n "$release" ] && [ -r "$root/boot/config-$release" ]; then
        sed -n "$symbols" "$root/boot/config-$release"
    else
        printf 'it cannot be read here\n'
        return 127
    fi
}

lockdown() {
    if [ ! -e "$root/sys/kernel/security/lockdown" ]; then
        printf 'it cannot be read here\n'
        return 127
    fi
    cat "$root/sys/kernel/security/lockdown"
}

# ---- calico-node's own ----

# Where calico-node reaches the API server: host and port, one on each line.
endpoint() {
    printf '%s\n' "${KUBERNETES_SERVICE_HOST:-}" "${KUBERNETES_SERVICE_PORT:-}"
}

# What calico-node says of its parts. Only bash can open a connection by itself.
readiness() {
    if ! command -v bash >/dev/null 2>&1; then
        printf 'there is no bash here\n'
        return 127
    fi
    $limit bash -c 'exec 5<>"/dev/tcp/127.0.0.1/$1" || exit
        printf "GET /readiness HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" >&5
        cat <&5' bash "${FELIX_HEALTHPORT:-9099}"
}

# ---- What is attached and pinned ----

# Programs of the interfaces that have a place for them. Of each filter, one line.
programs() {
    devices=$(edited '/^qdisc clsact /{s/^.* dev \([^ ]*\).*$/\1/p;b'"$newline"'};/^qdisc /!p' tc qdisc show) || {
        code=$?
        printf '%s\n' "$devices"
        return "$code"
    }
    for device in $devices; do
        for direction in ingress egress; do
            filters=$(edited '/^filter .* bpf .* handle /p;/^filter /!{/^[^ 	]/p;}' tc filter show dev "$device" "$direction") || {
                code=$?
                # Pods come and go: it is no more.
                case $filters in *'Cannot find device'* | *'No such device'*) continue 2 ;; esac
                printf '%s\n' "$filters"
                return "$code"
            }
            printf '# %s %s\n' "$device" "$direction"
            [ -z "$filters" ] || printf '%s\n' "$filters"
        done
    done
}

# Programs that newer kernels attach without a filter.
links_of_programs() {
    edited '/ tcx\//p;/^[A-Z]/p;/^there is no /p' bpftool net show
}

# Paths of what is Calico's below /sys/fs/bpf, and of links to interfaces and cgroups.
pins() {
    [ -d "$root/sys/fs/bpf" ] || return 0
    program find "$root/sys/fs/bpf" -xdev ! -type d \( -name 'cali_*' -o -name 'calico_*' -o -path '*/calico/*' \
        -o -path '*/tcx/*' -o -path '*/netkit/*' -o -path '*/ctlb/*' \)
}

# Frontends of the table of Services of family $1 (4 or 6). Backends are left out: a frontend tells how many there are.
nat() {
    if [ -z "$(find "$root/sys/fs/bpf" -xdev -name "cali_v$1_nat_fe*" 2>/dev/null | sed -n '1p')" ]; then
        printf 'absent\n'
        return 0
    fi
    set -- nat dump "$1"
    if [ "$3" = 6 ]; then set -- nat dump -6; else set -- nat dump; fi
    if command -v calico-node >/dev/null 2>&1; then
        edited '/^[[:space:]]/!p' calico-node -bpf "$@"
    else
        edited '/^[[:space:]]/!p' calico component node bpf "$@"
    fi
}

# ---- kube-proxy's ----

# kube-proxy's rules of iptables: which address and port go to which Service. Of $1: nft or legacy, $2: iptables or ip6tables.
rules() {
    set -- "$1" "$2" "xtables-$1-multi"
    if [ "$1" = legacy ]; then
        names=ip_tables_names
        [ "$2" = iptables ] || names=ip6_tables_names
        # Asking for a table that is not there would make it.
        if [ -z "$(sed -n '/^nat$/p' "$root/proc/net/$names" 2>/dev/null)" ]; then
            return 0
        fi
    fi
    lines='/^:KUBE-SERVICES /p;/^-A KUBE-\(SERVICES\|NODEPORTS\) /{s/ -m comment --comment \("[^"]*"\|[^ ]*\)//;p;};/^[^-:*#C]/p'
    if command -v "$3" >/dev/null 2>&1; then
        edited "$lines" "$3" "$2-save" -t nat
    elif command -v "$2-$1-save" >/dev/null 2>&1; then
        edited "$lines" "$2-$1-save" -t nat
    else
        # A place may have but one implementation, under the plain name.
        case "$1 $($2-save --version 2>/dev/null)" in
            "nft "*nf_tables* | "legacy "*legacy*) edited "$lines" "$2-save" -t nat ;;
            "nft "*legacy*)
                printf 'there is no %s-nft-save here\n' "$2"
                return 127
                ;;
            *) edited "$lines" "$2-$1-save" -t nat ;;
        esac
    fi
}

# kube-proxy's tables of nftables: their names, then the elements that decide.
nft_tables() {
    tables=$(edited '/^table \(ip\|ip6\) kube-proxy$/p;/^table /!p' nft list tables) || {
        code=$?
        printf '%s\n' "$tables"
        return "$code"
    }
    printf '%s\n' "$tables"
    for family in ip ip6; do
        case $newline$tables$newline in
            *"${newline}table $family kube-proxy$newline"*) ;;
            *) continue ;;
        esac
        for map in service-ips service-nodeports; do
            printf '# %s %s\n' "$family" "$map"
            $limit nft list map "$family" kube-proxy "$map" || return
        done
    done
    return 0
}

# Sockets that listen on kube-proxy's ports 10256 (health) and 10249 (metrics).
listeners() {
    for file in "$root/proc/net/tcp" "$root/proc/net/tcp6"; do
        [ ! -f "$file" ] || sed -n '/^ *[0-9]*: [0-9A-F]*:\(2810\|2809\) [0-9A-F]*:0000 0A /p' "$file"
    done
    return 0
}

# Processes that are called kube-proxy, as far as this place sees processes.
processes() {
    for directory in "$root"/proc/[0-9]*; do
        name=
        read -r name <"$directory/comm" || continue
        [ "$name" != kube-proxy ] || printf '%s\n' "${directory##*/}"
    done 2>/dev/null
    return 0
}

virtual_services() {
    [ -e "$root/proc/net/ip_vs" ] || return 0
    sed -n '4,$p' "$root/proc/net/ip_vs"
}

# Where the node's own programs reach the API server: the server of each kubeconfig, after the file's path.
servers() {
    for file in "$root/etc/kubernetes/kubelet.conf" "$root/var/lib/kubelet/kubeconfig" \
        "$root/var/lib/rancher/k3s/agent/kubelet.kubeconfig" "$root/var/lib/rancher/rke2/agent/kubelet.kubeconfig" \
        "$root/var/snap/microk8s/current/credentials/kubelet.config"; do
        [ -r "$file" ] || continue
        printf '# %s\n' "${file#"$root"}"
        sed -n 's/^[[:space:]]*-\{0,1\}[[:space:]]*server:[[:space:]]*//p' "$file"
    done
    return 0
}

look() {
    vantage=host
    if [ -d "$root/host/etc/cni/net.d" ] || [ -x "$root/bin/calico-node" ] || [ -x "$root/usr/bin/calico-node" ]; then
        vantage=calico-node
    fi
    section vantage printf '%s\n' "$vantage"
    section kernel cat "$root/proc/version"
    section machine uname -m
    section btf type_information
    section mounts mounts
    section sysctl settings
    section lockdown lockdown
    section kconfig built_with
    if [ "$vantage" = calico-node ]; then
        section endpoint endpoint
        section felix-variable printf '%s\n' "${FELIX_BPFENABLED:-}"
        section readiness readiness
    fi
    section ip-link program ip -j -d link show
    section ip-addr program ip -j addr show
    section ip-route.v4 program ip -j -4 route show default
    section ip-route.v6 program ip -j -6 route show default
    section programs programs
    section program-links links_of_programs
    section pins pins
    if [ "$vantage" = calico-node ]; then
        section nat.v4 nat 4
        section nat.v6 nat 6
    else
        section servers servers
        section kube-proxy-processes processes
    fi
    section rules.nft.v4 rules nft iptables
    section rules.nft.v6 rules nft ip6tables
    section rules.legacy.v4 rules legacy iptables
    section rules.legacy.v6 rules legacy ip6tables
    section nft-kube-proxy nft_tables
    section listeners listeners
    section ipvs virtual_services
}

if command -v sed >/dev/null 2>&1; then
    look
else
    printf '@@vantage rc=127 ms=0\nthis place has no sed\n@@end\n'
fi
exit 0
