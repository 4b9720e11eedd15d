# The test of kubectl-calico whether a node reaches the API server at an endpoint: $host and $port, with the cluster's
# authority in $authority (PEM). It changes nothing, writes no file, and opens connections to that endpoint only.
#
# It runs inside the calico-node container (by exec, read from standard input) or on the host, under any POSIX shell.
#
# Output: sections, one command each,
#     @@<id> rc=<exit code> ms=<milliseconds>
#     <what the command printed, both streams>
#     @@end
# - A line of output that starts with "@@" gets one more "@" in front; the reader takes it off again.
# - A command has 5 seconds (rc=124 when they were not enough), if `timeout` exists. rc=127: this place has no such program.

export LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
limit=
if command -v timeout >/dev/null 2>&1 && timeout 5 true 2>/dev/null; then
    limit='timeout 5'
fi

# Milliseconds since boot into $clock, to 10 ms, without starting a program.
read_clock() {
    uptime=0.00
    read -r uptime _ </proc/uptime || :
    hundredths=${uptime#*.}
    clock=$((${uptime%.*} * 1000 + ${hundredths#0} * 10))
}

# Runs a function of this script as section $1.
section() {
    id=$1
    shift
    read_clock
    began=$clock
    text=$("$@" 2>&1 </dev/null)
    rc=$?
    text=$(printf '%s\n' "$text" | sed 's/^@@/@@@/')
    read_clock
    if [ -n "$text" ]; then
        printf '@@%s rc=%s ms=%s\n%.16384s\n@@end\n' "$id" "$rc" "$((clock - began))" "$text"
    else
        printf '@@%s rc=%s ms=%s\n@@end\n' "$id" "$rc" "$((clock - began))"
    fi
}

# Whether a connection is accepted. Names are resolved as every program here does. Only bash can open one by itself.
connection() {
    if ! command -v bash >/dev/null 2>&1; then
        printf 'there is no bash here\n'
        return 127
    fi
    $limit bash -c 'exec 5<>"/dev/tcp/$1/$2"' bash "$host" "$port"
}

# What the API server says of its version, when its certificate is of the cluster's authority and has the endpoint's name.
# The authority comes by a descriptor: nothing is written.
identity() {
    if [ -z "$authority" ]; then
        printf 'the authority of the cluster is not known\n'
        return 127
    fi
    case $host in
        *:*) bracketed=[$host] name_is=-verify_ip ;;
        *[!0-9.]*) bracketed=$host name_is=-verify_hostname ;;
        *) bracketed=$host name_is=-verify_ip ;;
    esac
    if command -v curl >/dev/null 2>&1; then
        printf 'means: curl\n'
        $limit curl -sS --noproxy '*' --max-time 4 --cacert /dev/fd/9 "https://$bracketed:$port/version" 9<<AUTHORITY
$authority
AUTHORITY
    elif command -v openssl >/dev/null 2>&1; then
        printf 'means: openssl\n'
        printf 'GET /version HTTP/1.0\r\nHost: %s\r\nConnection: close\r\n\r\n' "$bracketed:$port" |
            $limit openssl s_client -quiet -connect "$bracketed:$port" -CAfile /dev/fd/9 -verify_return_error "$name_is" "$host" 9<<AUTHORITY
$authority
AUTHORITY
    else
        printf 'there is neither curl nor openssl here\n'
        return 127
    fi
}

if command -v sed >/dev/null 2>&1; then
    section connection connection
    section identity identity
else
    printf '@@connection rc=127 ms=0\nthis place has no sed\n@@end\n'
fi
exit 0
