#!/bin/sh
# The node probe of kubectl-calico: it looks at a node and prints what it sees. It changes nothing, writes no file,
# needs no argument, and opens no connection but to the node's own container runtime and to the kubelet's health port
# on the loopback address; both only on the host.
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

# The same for a function of this script, which puts $limit in front of what may hang: `timeout` runs programs only.
section_by() {
    id=$1
    shift
    read_clock
    began=$clock
    text=$("$@" 2>&1 </dev/null)
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
    $limit ls -lnA --full-time "$1" 2>/dev/null || $limit ls -lnA "$1"
}

# The last $2 lines of file $1.
end_of_log() {
    if command -v tail >/dev/null 2>&1; then
        $limit tail -n "$2" "$1"
    else
        $limit sed -e ':a' -e '$q' -e "$(($2 + 1)),\$D" -e 'N' -e 'ba' "$1"
    fi
}

boot() {
    cat /proc/sys/kernel/random/boot_id /proc/uptime
}

agent_is() {
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

# Which program distributes routes, as calico-node was told, and BIRD's health where that is BIRD (also when nothing was
# said). Where another one does, asking BIRD would only show that it does not run.
probe_bird() {
    section networking-backend printf '%s\n' "${CALICO_NETWORKING_BACKEND:-}"
    case ${CALICO_NETWORKING_BACKEND:-} in
        vxlan | none) ;;
        *)
            agent_is bird.readiness bird-ready
            agent_is bird.liveness bird-live
            ;;
    esac
}

# ---- What only the host can see ----

# Path of program $1 into $found.
find_program() {
    found=
    for directory in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin /opt/bin /var/lib/rancher/rke2/bin; do
        if [ -x "$root$directory/$1" ]; then
            found=$root$directory/$1
            return 0
        fi
    done
    # Below a made-up root, the programs of this machine do not count.
    [ -z "$root" ] && found=$(command -v "$1" 2>/dev/null)
}

# crictl with the arguments given. Without a configuration of its own it is told the socket that exists; those of
# special distributions come first, because they exist only where they are in use.
cri() {
    if find_program crictl; then
        set -- "$found" "$@"
    elif find_program k3s; then
        set -- "$found" crictl "$@"
    else
        printf 'this host has no crictl\n'
        return 127
    fi
    if [ ! -f "$root/etc/crictl.yaml" ]; then
        for socket in k3s/containerd/containerd.sock k0s/containerd.sock crio/crio.sock cri-dockerd.sock \
            containerd/containerd.sock; do
            if [ -S "$root/run/$socket" ]; then
                export CONTAINER_RUNTIME_ENDPOINT="unix://$root/run/$socket"
                break
            fi
        done
    fi
    $limit "$@"
}

# What crictl prints as JSON, without indentation and without annotations: users keep whole manifests in those.
cri_json() {
    json=$(cri "$@" -o json 2>&1)
    status=$?
    printf '%s\n' "$json" | sed -e 's/^ *//' \
        -e '/^"annotations": {$/,/^},\{0,1\}$/{' -e '/^"annotations": {$/b' -e '/^},\{0,1\}$/b' -e 'd' -e '}'
    return $status
}

# Of processes called $1…: number, a space, the name. The kernel keeps 15 characters of it.
processes() {
    for directory in "$root"/proc/[0-9]*; do
        name=
        read -r name <"$directory/comm" || continue
        for wanted; do
            case $wanted in
                "$name" | "$name"?*)
                    [ "$name" = "$wanted" ] || [ "${#name}" -eq 15 ] || continue
                    printf '%s %s\n' "${directory##*/}" "$wanted"
                    ;;
            esac
        done
    done 2>/dev/null
    return 0
}

# State of the units $2… that are there. Where there is no systemd: the processes that are called like that.
unit() {
    if [ -d "$root/run/systemd/system" ] && find_program systemctl; then
        $limit "$found" show --no-pager \
            -p Id,LoadState,ActiveState,SubState,UnitFileState,Result,NRestarts,ExecMainStatus,StateChangeTimestamp "$@"
        return
    fi
    printf 'no systemd\n'
    processes "$@"
}

# What the kubelet answers about itself.
kubelet_healthz() {
    if find_program curl; then
        $limit "$found" -sS -m 3 http://127.0.0.1:10248/healthz
    elif find_program wget; then
        $limit "$found" -q -T 3 -O - http://127.0.0.1:10248/healthz
    else
        printf 'this host has neither curl nor wget\n'
        return 127
    fi
}

# Where the container runtime looks for plugins and their configuration. Nothing else of its configuration is printed:
# it may hold credentials of registries.
runtime_config() {
    for file in "$root"/etc/containerd/config.toml "$root"/etc/containerd/conf.d/*.toml \
        "$root"/var/lib/rancher/k3s/agent/etc/containerd/config.toml \
        "$root"/var/lib/rancher/rke2/agent/etc/containerd/config.toml \
        "$root"/etc/crio/crio.conf "$root"/etc/crio/crio.conf.d/*; do
        [ -f "$file" ] || continue
        printf '# %s\n' "${file#"$root"}"
        sed -n -e '/^[[:space:]]*\(bin_dirs\|plugin_dirs\)[[:space:]]*=[[:space:]]*\[[^]]*$/,/\]/p' \
            -e '/^[[:space:]]*\(bin_dir\|bin_dirs\|plugin_dirs\|conf_dir\|network_dir\|cni_default_network\|max_conf_num\)[[:space:]]*=[^[]*$/p' \
            -e '/^[[:space:]]*\(bin_dirs\|plugin_dirs\)[[:space:]]*=.*\]/p' "$file"
    done
    return 0
}

# Names and dates of the control plane's and the kubelet's certificates. Keys are not read, but for the kubelet's file,
# which holds both, and of which openssl prints only the certificate.
certificates() {
    pki=$root/etc/kubernetes/pki
    find_program openssl
    for file in "$pki"/*.crt "$pki"/etcd/*.crt "$root"/var/lib/kubelet/pki/kubelet-client-current.pem \
        "$root"/var/lib/kubelet/pki/kubelet.crt; do
        [ -f "$file" ] || continue
        printf 'file=%s\n' "${file#"$root"}"
        [ -z "$found" ] || $limit "$found" x509 -noout -subject -issuer -startdate -enddate -in "$file"
    done
    if [ -z "$found" ]; then
        printf 'this host has no openssl\n'
        return 127
    fi
    return 0
}

# Sockets that listen on the ports of the API server, etcd (two) and the kubelet: 6443, 2379, 2380, 10250.
listening() {
    for file in "$root"/proc/net/tcp "$root"/proc/net/tcp6; do
        [ ! -f "$file" ] || sed -n '/^ *[0-9]*: [0-9A-F]*:\(192B\|094B\|094C\|280A\) [0-9A-F]*:0000 0A /p' "$file"
    done
    return 0
}

# Which static pods there should be, and the flags of the API server and etcd that say which files and ports they use.
static_pods() {
    list_directory "$root/etc/kubernetes/manifests"
    status=$?
    for name in kube-apiserver etcd; do
        file=$root/etc/kubernetes/manifests/$name.yaml
        [ ! -f "$file" ] || sed -n -e 's/^ *- \(--\(secure-port\|etcd-servers\|tls-cert-file\|data-dir\|listen-client-urls\|cert-file\)=\)/\1/p' \
            -e 's/^ *image: /image: /p' "$file"
    done
    return $status
}

# The end of the newest log of the API server's and etcd's containers.
control_plane_logs() {
    for directory in "$root"/var/log/pods/kube-system_kube-apiserver-*/kube-apiserver \
        "$root"/var/log/pods/kube-system_etcd-*/etcd; do
        [ -d "$directory" ] || continue
        newest=$(ls -t "$directory" | sed -n '/^[0-9]*\.log$/{p;q;}')
        [ -n "$newest" ] || continue
        printf '# %s\n' "${directory#"$root"}/$newest"
        end_of_log "$directory/$newest" 20
    done
    return 0
}

kubelet_log() {
    if [ -d "$root/run/systemd/system" ] && find_program journalctl; then
        $limit "$found" -u kubelet -u k3s -u k3s-agent -u rke2-server -u rke2-agent -n 30 --no-pager -o cat
    elif [ -f "$root/var/log/kubelet.log" ]; then
        end_of_log "$root/var/log/kubelet.log" 30
    else
        printf 'neither a journal nor /var/log/kubelet.log\n'
        return 127
    fi
}

probe_host() {
    section_by ls-cni-bin list_directory "$root/opt/cni/bin"
    section_by ls-var-lib-calico list_directory "$root/var/lib/calico"
    section_by ls-run-netns list_directory "$root/run/netns"
    section ip-netns-ids ip -j netns list-id
    section_by runtime-config runtime_config
    section_by crictl-pods cri_json pods
    # A runtime that did not answer once is not asked again.
    [ "$rc" = 124 ] || section_by crictl-ps cri_json ps -a
    section_by unit-kubelet unit kubelet k3s k3s-agent rke2-server rke2-agent k0scontroller k0sworker
    section_by unit-containerd unit containerd crio docker cri-docker
    section_by kubelet-healthz kubelet_healthz
    section_by kubelet-log kubelet_log
    section swap cat "$root/proc/swaps"
    section_by control-plane-processes processes kube-apiserver etcd kube-controller-manager kube-scheduler
    section_by api-port listening
    section_by ls-manifests static_pods
    section_by certificates certificates
    section_by control-plane-logs control_plane_logs
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
    section_by ls-cni-net.d list_directory "$net_d"

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
    agent_is felix.readiness felix-ready
    agent_is felix.liveness felix-live
    if [ "$vantage" = calico-node ]; then
        probe_bird
    fi

    if [ -f "$root/var/log/calico/cni/cni.log" ]; then
        section_by cni-log end_of_log "$root/var/log/calico/cni/cni.log" 200
    fi
    section_by boot boot

    section ip-link ip -j -d link show
    section ip-addr ip -j addr show
    section ip-route ip -j route show
    section uname uname -a
    if [ "$vantage" = host ]; then
        probe_host
    fi
}

if command -v sed >/dev/null 2>&1; then
    probe
else
    printf '@@probe rc=127 ms=0\nthis place has no sed\n@@end\n'
fi
exit 0
