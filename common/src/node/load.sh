# The load test of kubectl-calico: whether this host's kernel takes a BPF program and attaches it as Calico's are attached.
# $object is the object file in base64: one program of two instructions, which lets everything pass.
#
# It runs on the host itself, as root. All happens in a network namespace and a mount namespace that are this script's own
# and end with it: the host's interfaces and files are not touched, and there is nothing to tidy up.
#
# Output: sections, one command each,
#     @@<id> rc=<exit code> ms=<milliseconds>
#     <what the command printed, both streams>
#     @@end
# - A command has 10 seconds (rc=124 when they were not enough), if `timeout` exists. rc=127: this host has no such program.

export LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH
limit=
if command -v timeout >/dev/null 2>&1 && timeout 10 true 2>/dev/null; then
    limit='timeout 10'
fi

attach() {
    for program in unshare mount base64 tc ip; do
        if ! command -v "$program" >/dev/null 2>&1; then
            printf 'this host has no %s\n' "$program"
            return 127
        fi
    done
    # The file is put into a file system in memory that nobody else sees.
    $limit unshare --net --mount sh -c '
        mount -t tmpfs none /mnt || exit 126
        printf "%s" "$1" | base64 -d >/mnt/program.o || exit 126
        ip link set dev lo up || exit 126
        tc qdisc add dev lo clsact || exit
        tc filter add dev lo ingress bpf direct-action object-file /mnt/program.o section prog || exit
        tc filter show dev lo ingress' sh "$object"
}

text=$(attach 2>&1 </dev/null)
rc=$?
printf '@@vantage rc=0 ms=0\nhost\n@@end\n'
printf '@@load rc=%s ms=0\n%s\n@@end\n' "$rc" "$(printf '%s\n' "$text" | sed 's/^@@/@@@/')"
exit 0
