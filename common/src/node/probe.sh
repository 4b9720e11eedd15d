#!/bin/sh
# The node probe of kubectl-calico: it looks at a node and prints what it sees. It changes nothing, writes no file,
# opens no connection and needs no argument.
#
# It runs inside the calico-node container (by exec, read from standard input) or on the host (`sh probe.sh`), under any
# POSIX shell. It uses the shell, sed and raw commands only; everything is interpreted later, elsewhere.
#
# Output: sections, one command each,
#     @@<id> rc=<exit code> ms=<milliseconds>
#     <what the command printed, both streams>
#     @@end
# - A line of output that starts with "@@" gets one more "@" in front, so that nothing printed can look like a marker;
#   the reader takes it off again.
# - A command has 5 seconds (rc=124 when they were not enough), if `timeout` exists. A section holds 256 KiB at most;
#   what is larger is cut, or for a file left out, and then rc=27.
#
# No secret is printed. Of calico-kubeconfig: known harmless lines, the SHA-256 of the CA (of its PEM text with its final
# newline), and the token's header and claims without its signature; a token of another form is only called "opaque".
# In all files and logs: values of JSON keys such as "token" and "password", signatures of tokens, private keys and what
# follows "Bearer" are blanked.
#
# CALICO_PROBE_ROOT=<directory> puts a directory in front of every path that is looked at, for tests.

export LC_ALL=C
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin
root=${CALICO_PROBE_ROOT:-}
cap=262144
cap_blocks=512 # the same in find's blocks of 512 bytes
newline='
'

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

# Runs a command as section $1.
section() {
    id=$1
    shift
    read_clock
    began=$clock
    text=$($limit "$@" 2>&1 </dev/null)
    rc=$?
    print_section "$id" "$rc" "$(printf '%s\n' "$text" | sed 's/^@@/@@@/')"
}

# The same for what may hold secrets: files and logs.
section_blanked() {
    id=$1
    shift
    read_clock
    began=$clock
    text=$($limit "$@" 2>&1 </dev/null)
    rc=$?
    print_section "$id" "$rc" "$(printf '%s\n' "$text" | blank_secrets)"
}

# All lines are taken as one, because a JSON value may stand on the line after its key.
blank_secrets() {
    sed -E -e ':a' -e '$!{' -e 'N' -e 'ba' -e '}' \
        -e 's/("[^"]*(token|password|passwd|secret|credential|client[_-]?key|private)[^"]*"[[:space:]]*:[[:space:]]*")([^"\\]|\\.)*("|$)/\1blanked"/Ig' \
        -e 's/(eyJ[A-Za-z0-9_-]*\.eyJ[A-Za-z0-9_-]*)\.[A-Za-z0-9_-]*/\1.blanked/g' \
        -e 's/(Bearer )[^[:space:]",]*/\1blanked/Ig' \
        -e 's/(-----BEGIN [A-Z ]*PRIVATE KEY-----)[^-]*/\1 blanked /g' \
        -e 's/(^|\n)@@/\1@@@/g'
}

# Prints file $2 as section $1, unless it is too large.
section_file() {
    if [ -n "$(find -H "$2" -prune -type f -size +"$cap_blocks" 2>/dev/null)" ]; then
        read_clock
        began=$clock
        print_section "$1" 27 "the file is larger than $cap bytes"
    else
        section_blanked "$1" cat "$2"
    fi
}

# The lines of a kubeconfig (standard input) that hold no secret; all others are left out.
harmless_lines() {
    while IFS= read -r line || [ -n "$line" ]; do
        indent=${line%%[! -]*}
        key=${line#"$indent"}
        value=${key#*:}
        value=${value# }
        key=${key%%:*}
        case $key in
            server | certificate-authority | tls-server-name)
                case $value in
                    *@*) printf '%s%s: blanked\n' "$indent" "$key" ;;
                    *) printf '%s\n' "$line" ;;
                esac
                ;;
            certificate-authority-data) printf '%s%s: %s\n' "$indent" "$key" "$(hash_of_base64 "$value")" ;;
            token) printf '%s%s: %s\n' "$indent" "$key" "$(header_and_claims "$value")" ;;
            apiVersion | kind | clusters | cluster | users | user | contexts | context | current-context | name | \
                namespace | insecure-skip-tls-verify) printf '%s\n' "$line" ;;
        esac
    done
}

# The text between quotes.
unquoted() {
    text=$1
    case $text in
        \"*\") text=${text#\"} text=${text%\"} ;;
        \'*\') text=${text#\'} text=${text%\'} ;;
    esac
    printf '%s' "$text"
}

# SHA-256 of the PEM text in $1. The letter keeps the shell from dropping newlines at its end.
hash_of_base64() {
    pem=$(unquoted "$1" | base64 -d 2>/dev/null && printf x) || { printf 'sha256:unknown'; return; }
    pem=${pem%x}
    case $pem in
        -----BEGIN*"$newline") ;;
        -----BEGIN*) pem=$pem$newline ;;
        *) printf 'sha256:unknown'; return ;;
    esac
    sum=$(printf '%s' "$pem" | sha256sum 2>/dev/null) || sum=unknown
    printf 'sha256:%s' "${sum%% *}"
}

# The first two of the three parts of a JWT. The third is its signature.
header_and_claims() {
    token=$(unquoted "$1")
    case $token in
        *[!A-Za-z0-9_.-]* | *.*.*.*) printf 'opaque' ;;
        eyJ*.eyJ*.*) printf '%s' "${token%.*}" ;;
        *) printf 'opaque' ;;
    esac
}

# Section calico-kubeconfig, or why there is none.
section_kubeconfig() {
    read_clock
    began=$clock
    text=$($limit cat "$1" 2>&1 </dev/null)
    rc=$?
    if [ "$rc" -eq 0 ]; then
        text=$(printf '%s\n' "$text" | harmless_lines)
    fi
    print_section calico-kubeconfig "$rc" "$(printf '%s\n' "$text" | sed 's/^@@/@@@/')"
}

list_directory() {
    ls -lnA --full-time "$1" 2>/dev/null || ls -lnA "$1"
}

end_of_log() {
    if command -v tail >/dev/null 2>&1; then
        tail -n 200 "$1"
    else
        sed -e ':a' -e '$q' -e '201,$D' -e 'N' -e 'ba' "$1"
    fi
}

boot() {
    cat /proc/sys/kernel/random/boot_id /proc/uptime
}

felix_is() {
    for program in "$root/bin/calico-node" "$root/usr/bin/calico-node"; do
        if [ -x "$program" ]; then
            section "$1" "$program" "-$2"
            return
        fi
    done
    for program in "$root/bin/calico" "$root/usr/bin/calico"; do
        if [ -x "$program" ]; then
            section "$1" "$program" component node health "--$2"
            return
        fi
    done
}

probe() {
    limit=
    if command -v timeout >/dev/null 2>&1 && timeout 5 true 2>/dev/null; then
        limit='timeout 5'
    fi

    vantage=host
    net_d=$root/etc/cni/net.d
    if [ -d "$root/host/etc/cni/net.d" ]; then
        vantage=calico-node
        net_d=$root/host/etc/cni/net.d
    elif [ -x "$root/bin/calico-node" ] || [ -x "$root/usr/bin/calico-node" ]; then
        vantage=calico-node
    fi

    section vantage printf '%s\n' "$vantage"
    section time date -u '+%Y-%m-%dT%H:%M:%SZ'
    section_kubeconfig "$net_d/calico-kubeconfig"
    limit_kept=$limit
    limit= # a function cannot be given to timeout
    section ls-cni-net.d list_directory "$net_d"
    limit=$limit_kept

    count=0
    set --
    for path in "$net_d"/*.conflist "$net_d"/*.conf "$net_d"/*.json; do
        [ -f "$path" ] || continue
        count=$((count + 1))
        [ "$count" -le 20 ] || break
        name=$(printf '%s' "${path##*/}" | sed -e ':a' -e '$!{' -e 'N' -e 'ba' -e '}' -e 's/[^A-Za-z0-9._-]/_/g')
        section_file "conf-$name" "$path"
        set -- "$@" "$path"
    done
    if [ "$#" -gt 0 ]; then
        section sha256-cni-net.d sha256sum "$@"
    fi

    section_file calico-nodename "$root/var/lib/calico/nodename"
    section_file calico-mtu "$root/var/lib/calico/mtu"
    felix_is felix.readiness felix-ready
    felix_is felix.liveness felix-live

    limit=
    if [ "$vantage" = host ]; then
        section ls-cni-bin list_directory "$root/opt/cni/bin"
    fi
    if [ -f "$root/var/log/calico/cni/cni.log" ]; then
        section_blanked cni-log end_of_log "$root/var/log/calico/cni/cni.log"
    fi
    section boot boot
    limit=$limit_kept

    section ip-link ip -j -d link show
    section ip-addr ip -j addr show
    section ip-route ip -j route show
    section uname uname -a
}

if command -v sed >/dev/null 2>&1; then
    probe
else
    printf '@@probe rc=127 ms=0\nthis place has no sed\n@@end\n'
fi
exit 0
