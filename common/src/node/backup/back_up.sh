#!/bin/sh
# What a node has of Calico, and what the removal of Calico could touch there, for an archive. It only looks: it changes
# nothing and writes no file. It runs on the host, read from standard input, under any POSIX shell.
#
# Output: pieces, and a last line "@@backup complete":
#     @@piece <path in the archive> rc=<exit code> form=<plain|gzip>
#     <what it holds, in base64>
#     @@end
#
# No secret is printed. Of a kubeconfig only known harmless lines are taken. Keys are not taken. In configurations the
# values of JSON keys such as "token" and "password", and signatures of tokens, are blanked.
#
# CALICO_HOST_ROOT=<directory> puts a directory in front of every path, and CALICO_HOST_PATH=<path> is where programs are
# looked for, both for tests.

export LC_ALL=C
export PATH="${CALICO_HOST_PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin}"
export TMPDIR=/run
root=${CALICO_HOST_ROOT:-}

limit=
if command -v timeout >/dev/null 2>&1; then
    limit='timeout 20'
fi
form=plain
if command -v gzip >/dev/null 2>&1; then
    form=gzip
fi

pack() {
    if [ "$form" = gzip ]; then
        gzip -c
    else
        cat
    fi
}

# Prints a piece: its path, exit code and text.
piece() {
    printf '@@piece %s rc=%s form=%s\n' "$1" "$2" "$form"
    [ -z "$3" ] || printf '%s\n' "$3" | pack | base64
    printf '@@end\n'
}

# What a program prints, as the piece $1. A program that this host does not have is told by 127.
output_of() {
    path=$1
    shift
    if ! command -v "$1" >/dev/null 2>&1; then
        piece "$path" 127 ''
        return
    fi
    # shellcheck disable=SC2086 # It is to be split.
    text=$($limit "$@" 2>/dev/null </dev/null)
    piece "$path" "$?" "$text"
}

# All lines are taken as one, because a JSON value may stand on the line after its key.
blank_secrets() {
    sed -E -e ':a' -e '$!{' -e 'N' -e 'ba' -e '}' \
        -e 's/("[^"]*(token|password|passwd|secret|credential|client[_-]?key|private)[^"]*"[[:space:]]*:[[:space:]]*")([^"\\]|\\.)*("|$)/\1blanked"/Ig' \
        -e 's/(eyJ[A-Za-z0-9_-]*\.eyJ[A-Za-z0-9_-]*)\.[A-Za-z0-9_-]*/\1.blanked/g' \
        -e 's/(Bearer )[^[:space:]",]*/\1blanked/Ig'
}

# The lines of a kubeconfig that hold no secret: a known key, and a plain word or address.
harmless_lines() {
    sed -n -E '/^[ -]*(apiVersion|kind|clusters|cluster|contexts|context|users|user|current-context|name|namespace|server):[ ]*"?[][A-Za-z0-9._:/-]*"?[ ]*$/p'
}

# The file $1 of the host as a piece; $2 is what makes it harmless.
file() {
    case $1 in
        *[!A-Za-z0-9._/@:-]*) return ;; # Nobody's name for a file of Calico.
    esac
    if [ -z "$(find "$root$1" -prune -type f -size -512 2>/dev/null)" ]; then
        piece "files$1" 27 ''
    elif grep -q 'PRIVATE KEY' "$root$1" 2>/dev/null; then
        piece "files$1" 77 ''
    else
        text=$($2 <"$root$1" 2>/dev/null)
        piece "files$1" "$?" "$text"
    fi
}

# Calico's files in a directory of CNI configurations.
configurations() {
    for it in "$root$1"/*; do
        [ -f "$it" ] || continue
        name=${it#"$root"}
        case ${it##*/} in
            *kubeconfig*)
                case $name in
                    *calico* | *canal*) file "$name" harmless_lines ;;
                esac
                ;;
            *)
                if grep -q calico "$it" 2>/dev/null; then
                    file "$name" blank_secrets
                fi
                ;;
        esac
    done
}

state() {
    find "$root/var/lib/calico" -xdev -type f 2>/dev/null | sort | while IFS= read -r it; do
        file "${it#"$root"}" blank_secrets
    done
}

if ! command -v base64 >/dev/null 2>&1; then
    echo "this host has no program base64, which is needed" >&2
    exit 1
fi
for directory in /etc/cni/net.d /var/lib/rancher/k3s/agent/etc/cni/net.d /var/snap/microk8s/current/args/cni-network /var/run/multus/cni/net.d; do
    configurations "$directory"
done
state
for it in iptables-legacy iptables-nft ip6tables-legacy ip6tables-nft; do
    output_of "$it-save.txt" "$it-save"
done
if ! command -v iptables-nft-save >/dev/null 2>&1 && ! command -v iptables-legacy-save >/dev/null 2>&1; then
    output_of iptables-save.txt iptables-save
    output_of ip6tables-save.txt ip6tables-save
fi
output_of nft-list-ruleset.txt nft list ruleset
output_of ipset-save.txt ipset save
output_of ip-link.txt ip -d link show
output_of ip-address.txt ip address show
output_of ip-route-v4.txt ip -4 route show table all
output_of ip-route-v6.txt ip -6 route show table all
output_of ip-rule-v4.txt ip -4 rule show
output_of ip-rule-v6.txt ip -6 rule show
output_of bpf-pins.txt find /sys/fs/bpf
output_of mounts.txt cat /proc/self/mountinfo
printf '@@backup complete\n'
