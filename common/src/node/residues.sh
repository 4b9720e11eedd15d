#!/bin/sh
# The scan for residues of kubectl-calico: it looks for what Calico may have left on a machine, and prints what it sees.
# It changes nothing, writes no file, needs no argument, and opens no connection. It must run on the host itself, as root
# (`sh residues.sh`), under any POSIX shell. It uses the shell, ls, sed and raw commands only; what is Calico's and what
# only looks like it is decided later, elsewhere.
#
# Output: sections, one command each,
#     @@<id> rc=<exit code> ms=<milliseconds>
#     <what the command printed, both streams>
#     @@end
# - A line of output that starts with "@@" gets one more "@" in front; the reader takes it off again.
# - A command has 10 seconds (rc=124 when they were not enough), if `timeout` exists. A section holds 4 MiB at most; what
#   is larger is cut, and then rc=27. rc=127: the host has no such program.
#
# No secret is printed. Of calico-kubeconfig only name and SHA-256 are; in configurations of networks, values of JSON keys
# such as "token" and "password" are blanked.
#
# CALICO_RESIDUES_ROOT=<directory> puts a directory in front of every path that is looked at, for tests.

export LC_ALL=C
export PATH="${CALICO_RESIDUES_PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin}"
root=${CALICO_RESIDUES_ROOT:-}
cap=4194304
newline='
'
limit=
if command -v timeout >/dev/null 2>&1 && timeout 10 true 2>/dev/null; then
    limit='timeout 10'
fi

# Where container runtimes look for configurations and plugins: everybody's, k3s', microk8s'.
configuration_directories='/etc/cni/net.d /var/lib/rancher/k3s/agent/etc/cni/net.d /var/snap/microk8s/current/args/cni-network'
plugin_directories='/opt/cni/bin /var/lib/rancher/k3s/data/current/bin /var/snap/microk8s/current/opt/cni/bin'

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

# Runs a program if the host has it.
program() {
    if ! command -v "$1" >/dev/null 2>&1; then
        printf 'this host has no %s\n' "$1"
        return 127
    fi
    $limit "$@"
}

# Of what the command prints that comes after "--": the lines that one of the patterns before it matches, each once. Ends as
# the command ended.
filtered() {
    expression=
    while [ "$1" != -- ]; do
        expression="$expression/$1/b keep$newline"
        shift
    done
    shift
    edited "${expression}d$newline:keep${newline}p" "$@"
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

# Of $@, what exists, as `ls -lnd` shows it.
entries() {
    [ "$#" -gt 0 ] || return 0
    existing=0
    for path; do
        shift
        if [ -e "$path" ] || [ -L "$path" ]; then
            set -- "$@" "$path"
            existing=$((existing + 1))
        fi
    done
    [ "$existing" -gt 0 ] || return 0
    $limit ls -lnd --full-time "$@" 2>/dev/null || $limit ls -lnd "$@"
}

# Everything in the directories that others share, and the places that are Calico's own.
paths() {
    set --
    for directory in $configuration_directories $plugin_directories; do
        set -- "$@" "$root$directory" "$root$directory"/*
    done
    for directory in /run /var/run; do
        # Nearly everywhere the second is a link to the first.
        [ -L "$root$directory" ] || set -- "$@" "$root$directory/calico" "$root$directory/nodeagent"
    done
    entries "$@" "$root/var/lib/calico" \
        "$root/var/log/calico" "$root/etc/calico" "$root"/etc/calico/* \
        "$root"/usr/libexec/kubernetes/kubelet-plugins/volume/exec/nodeagent~uds \
        "$root"/var/lib/kubelet/volumeplugins/nodeagent~uds \
        "$root"/etc/kubernetes/kubelet-plugins/volume/exec/nodeagent~uds \
        "$root"/var/lib/kubelet/plugins/csi.tigera.io "$root"/var/lib/kubelet/plugins_registry/csi.tigera.io-reg.sock \
        "$root"/var/lib/cni/networks/k8s-pod-network "$root"/var/lib/cni/results/k8s-pod-network-* \
        "$root"/var/lib/cni/cache/results/k8s-pod-network-* \
        "$root/etc/NetworkManager/conf.d/calico.conf" "$root"/etc/sysctl.d/*calico* \
        "$root/etc/systemd/system/calico-node.service"
}

# SHA-256 of the files in the directories that others share.
sums() {
    set --
    for directory in $configuration_directories; do
        for path in "$root$directory"/*; do
            [ ! -f "$path" ] || set -- "$@" "$path"
        done
    done
    for directory in $plugin_directories; do
        for path in "$root$directory"/calico "$root$directory"/calico-ipam "$root$directory"/calico*.tmp; do
            [ ! -f "$path" ] || set -- "$@" "$path"
        done
    done
    for path in "$root"/var/lib/cni/results/k8s-pod-network-* "$root"/var/lib/cni/cache/results/k8s-pod-network-*; do
        [ ! -f "$path" ] || set -- "$@" "$path"
    done
    [ "$#" -eq 0 ] || program sha256sum "$@"
}

# All lines are taken as one, because a JSON value may stand on the line after its key.
configuration() {
    $limit sed -E -e ':a' -e '$!{' -e 'N' -e 'ba' -e '}' \
        -e 's/("[^"]*(token|password|passwd|secret|credential|client[_-]?key|private)[^"]*"[[:space:]]*:[[:space:]]*")([^"\\]|\\.)*("|$)/\1blanked"/Ig' "$1"
}

# Each network configuration as a section of its own, which is called like its path.
configurations() {
    count=0
    for directory in $configuration_directories; do
        for path in "$root$directory"/*.conflist "$root$directory"/*.conf "$root$directory"/*.json \
            "$root$directory"/*.cilium_bak; do
            [ -f "$path" ] || continue
            count=$((count + 1))
            [ "$count" -le 40 ] || return
            [ -z "$(find -H "$path" -prune -type f -size +512 2>/dev/null)" ] || continue # Of 256 KiB and more.
            section "conf-$(printf '%s' "${path#"$root"}" | sed 's/[^A-Za-z0-9._-]/_/g')" configuration "$path"
        done
    done
}

# What is mounted below Calico's directories, and every BPF file system.
mounts() {
    sed -n -e '/^[^ ]* \(\/var\)\{0,1\}\/run\/calico\//p' -e '/^[^ ]* [^ ]* bpf /p' "$root/proc/self/mounts"
}

# Files of /run/netns with the numbers of their inodes.
namespace_inodes() {
    set -- "$root"/run/netns/*
    [ -e "$1" ] || return 0
    $limit ls -1iL "$@"
}

# Numbers of the network namespaces in which a process lives.
namespaces_in_use() {
    ls -l "$root"/proc/[0-9]*/ns/net 2>/dev/null | sed -n 's/.* -> net:\[\([0-9]*\)\]$/\1/p'
    return 0
}

# Routes that Calico may have made, and all of tables without a name: one of these may be Calico's. One line each.
routes() {
    filtered ' proto 80 ' ' proto 80$' ' proto 12 ' ' proto 12$' ' proto bird ' ' proto bird$' ' table [0-9]' \
        '^this host' -- \
        ip -o "$1" route show table all
}

# Rules of iptables as iptables-save prints them. Printed are the names of the tables, what a program complains about, and
# lines that may be Calico's: nodes of large clusters have tens of thousands of other ones.
# rules nft|legacy iptables|ip6tables
rules() {
    save=$2-$1-save
    if ! command -v "$save" >/dev/null 2>&1; then
        # A host may have but one implementation, under the plain name.
        case "$1 $("$2-save" --version 2>/dev/null)" in
            "nft "*nf_tables*) save=$2-save ;;
            "legacy "*nf_tables* | "legacy ") ;;
            "legacy "*) save=$2-save ;;
        esac
    fi
    filtered '^\*' '^COMMIT' '^# Table' '^ip6*tables' '^this host' cali felix- tunl0 -- "$save"
}

# Whether the kernel has what a missing program would show: where it has not, there is nothing to be shown.
kernel() {
    for symbol in nft_do_chain ip_set_test; do
        if [ ! -r "$root/proc/kallsyms" ]; then
            answer=unknown
        elif [ -n "$(sed -n "/ $symbol\([[:space:]].*\)\{0,1\}\$/{p;q;}" "$root/proc/kallsyms")" ]; then
            answer=yes
        else
            answer=no
        fi
        printf '%s %s\n' "$symbol" "$answer"
    done
    for file in ip_tables_names ip6_tables_names; do
        # The file is there as soon as that part of the kernel is, and lists the tables that are in use.
        if [ ! -e "$root/proc/net/$file" ]; then
            answer=no
        elif ! tables=$(cat "$root/proc/net/$file" 2>/dev/null); then
            answer=unknown
        elif [ -n "$tables" ]; then
            answer=yes
        else
            answer=no
        fi
        printf '%s %s\n' "$file" "$answer"
    done
    printf 'calico_programs %s\n' "$(calico_programs)"
}

# Whether a BPF program of Calico is loaded: the kernel lists compiled ones among its symbols, unless it is hardened.
calico_programs() {
    if [ -n "$(sed -n '/ bpf_prog_[0-9a-f]*_cali/{p;q;}' "$root/proc/kallsyms" 2>/dev/null)" ]; then
        printf yes
        return
    fi
    settings=
    for key in bpf_jit_enable bpf_jit_kallsyms bpf_jit_harden; do
        value=
        read -r value 2>/dev/null <"$root/proc/sys/net/core/$key" || :
        settings=$settings$value
    done
    case $settings in
        110 | 210) printf no ;;
        *) printf unknown ;;
    esac
}

# Below each BPF file system: what is $1 (a condition of find).
below_bpf() {
    sed -n 's/^[^ ]* \([^ ]*\) bpf .*/\1/p' "$root/proc/self/mounts" | while IFS= read -r directory; do
        [ ! -d "$root$directory" ] || program find "$root$directory" -xdev -mindepth 1 "$@" || exit
    done
}

bpf_directories() {
    below_bpf -type d
}

bpf_pins() {
    below_bpf ! -type d
}

# Filters of the interfaces that have a place for them.
filters() {
    devices=$(edited 's/^qdisc clsact .* dev \([^ ]*\) .*/\1/p' tc qdisc show) || {
        code=$?
        printf '%s\n' "$devices"
        [ "$code" != 127 ] || printf 'this host has no tc\n'
        return "$code"
    }
    for device in $devices; do
        for direction in ingress egress; do
            printf '# %s %s\n' "$device" "$direction"
            $limit tc filter show dev "$device" "$direction" || return
        done
    done
}

# Programs that are attached to cgroups; only Calico's are printed.
cgroup_programs() {
    if [ -z "$(sed -n '/^[^ ]* [^ ]* cgroup2 /{p;q;}' "$root/proc/self/mounts")" ]; then
        # Hosts with cgroup v1 have it mounted nowhere: what is loaded for a cgroup tells whether there is anything.
        filtered ' cgroup_[a-z_0-9]* *name cali' '^this host' -- bpftool prog show
        return
    fi
    filtered calico_ cali_ '^this host' -- bpftool cgroup tree
}

# Numbers and names of Calico's programs.
programs() {
    filtered ' name cali' '^this host' -- bpftool prog show
}

virtual_services() {
    [ -e "$root/proc/net/ip_vs" ] || return 0
    sed -n '4,$p' "$root/proc/net/ip_vs"
}

scan() {
    section machine cat "$root/proc/sys/kernel/hostname"
    section time date -u '+%Y-%m-%dT%H:%M:%SZ'
    section paths paths
    section sha256 sums
    configurations
    section mounts mounts
    section ip-link program ip -j -d link show
    section ip-addr program ip -j addr show
    section netns-ids program ip -j netns list-id
    section netns-inodes namespace_inodes
    section netns-in-use namespaces_in_use
    section route.v4 routes -4
    section route.v6 routes -6
    section routing-rule.v4 program ip -4 rule show
    section routing-rule.v6 program ip -6 rule show
    section rules.nft.v4 rules nft iptables
    section rules.nft.v6 rules nft ip6tables
    section rules.legacy.v4 rules legacy iptables
    section rules.legacy.v6 rules legacy ip6tables
    section nft-tables program nft list tables
    section ip-sets program ipset list -terse
    section kernel kernel
    section bpf-directories bpf_directories
    section bpf-pins bpf_pins
    section tc-filters filters
    section bpf-programs programs
    section bpf-cgroups cgroup_programs
    section ipvs virtual_services
}

if command -v sed >/dev/null 2>&1 && command -v ls >/dev/null 2>&1; then
    scan
else
    printf '@@machine rc=127 ms=0\nthis place has no sed or no ls\n@@end\n'
fi
exit 0
