#!/bin/sh
# Stops and removes pod sandboxes, given as lines "<id> <uid of the pod> <yes when it may be stopped while ready> <pod>".
#
# First the ordinary way, by which the CNI plugin gives the pod's address back. Where that fails and $loopback is "yes", a
# network configuration that does nothing is put in front of all others for $seconds at most, so that stopping succeeds:
# no pod can get a wrong network from it (the runtime finds no address, and the kubelet tries again later), running pods
# are not touched, and the addresses of these sandboxes stay allocated.
#
# That configuration goes when the script ends, however it ends. Should the script be killed, or the pod in which it was
# started, a timer that was set before removes it: systemd's, or a process of the host that belongs to neither.
#
# Without crictl nothing is stopped here; with the configuration in place the kubelet can do it itself, and is waited for.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front.

conflist=
timer=
at_once=4

# Seconds since boot.
clock() {
    read -r now _ </proc/uptime
    now=${now%.*}
}

# --- the runtime ---

# Sets $crictl to its words; none of them holds a blank.
find_crictl() {
    crictl=
    for program in crictl /var/lib/rancher/rke2/bin/crictl; do
        if command -v "$program" >/dev/null 2>&1; then
            crictl=$program
            return
        fi
    done
    if command -v k3s >/dev/null 2>&1; then
        crictl='k3s crictl'
    fi
}

# Prints the arguments of a running kubelet, one per line.
kubelet_arguments() {
    for process in "$root"/proc/[0-9]*; do
        name=
        read -r name 2>/dev/null <"$process/comm" || continue
        if [ "$name" = kubelet ]; then
            tr '\000' '\n' 2>/dev/null <"$process/cmdline" || :
            return
        fi
    done
}

# Prints the value of an option in such a list: "--option=value", or the line after "--option".
option() {
    printf '%s\n' "$2" | sed -n -e "s/^$1=//p" -e "/^$1\$/{n;p;}"
}

# Prints where the runtime may listen, best first.
endpoints() {
    arguments=$(kubelet_arguments)
    option --container-runtime-endpoint "$arguments"
    for file in "$(option --config "$arguments")" /var/lib/kubelet/config.yaml /etc/kubernetes/kubelet.yaml; do
        [ -z "$file" ] || [ ! -f "$root$file" ] ||
            sed -n 's/^containerRuntimeEndpoint: *["'\'']\{0,1\}\([^"'\'' ]*\).*/\1/p' "$root$file"
    done
    printf '%s\n' /run/containerd/containerd.sock /run/k3s/containerd/containerd.sock /run/crio/crio.sock \
        /var/run/cri-dockerd.sock /var/snap/microk8s/common/run/containerd.sock /run/k0s/containerd.sock
}

find_socket() {
    socket=
    for endpoint in $(endpoints); do
        if [ -S "$root${endpoint#unix://}" ]; then
            socket=$root${endpoint#unix://}
            return
        fi
    done
}

# Calls the runtime: ask SECONDS COMMAND...
ask() {
    limit=$1
    shift
    # shellcheck disable=SC2086 # Words.
    $crictl --runtime-endpoint "unix://$socket" --timeout "${limit}s" "$@"
}

# Prints what the runtime knows of sandbox $1: "gone", or its state and the uid of its pod.
sandbox_now() {
    listed=$(ask 10 pods --id "$1" --output json 2>&1) || return 1
    found=gone uid= state=
    while IFS= read -r line; do
        value=${line#*'": "'}
        value=${value%'"'*}
        # Labels and annotations, whose keys may be anything, come after these.
        case $line in
            *' "id": "'*) [ "$found" != gone ] || found=$value ;;
            *' "uid": "'*) [ -n "$uid" ] || uid=$value ;;
            *' "state": "'*) [ -n "$state" ] || state=$value ;;
        esac
    done <<LISTED
$listed
LISTED
    case $found in
        gone) printf 'gone' ;;
        "$1") printf '%s %s' "$state" "$uid" ;;
        *) return 1 ;;
    esac
}

# Whether the sandbox is as the plan expects it: prints "gone", "right", or what is wrong: judge ID UID READY.
judge() {
    if ! now=$(sandbox_now "$1"); then
        printf 'the runtime does not say what it is'
        return
    fi
    case $now in
        gone | "SANDBOX_NOTREADY $2") ;;
        "SANDBOX_READY $2")
            if [ "$3" != yes ]; then
                printf 'it is ready'
                return
            fi
            ;;
        *)
            printf 'it belongs to another pod'
            return
            ;;
    esac
    case $now in
        gone) printf gone ;;
        *) printf right ;;
    esac
}

# --- stopping and removing ---

# Prints "<removed|gone|left> <id> <why>": remove_one SECONDS ID UID READY.
remove_one() {
    judged=$(judge "$2" "$3" "$4")
    case $judged in
        right) ;;
        gone)
            printf 'gone %s\n' "$2"
            return
            ;;
        *)
            printf 'left %s %s\n' "$2" "$judged"
            return
            ;;
    esac
    if said=$(ask "$1" stopp "$2" 2>&1 && ask "$1" rmp "$2" 2>&1); then
        if [ "$(sandbox_now "$2")" = gone ]; then
            printf 'removed %s\n' "$2"
            return
        fi
        said='it was removed, and the runtime still lists it'
    fi
    printf 'left %s %.500s\n' "$2" "$(one_line "$said")"
}

# Removes these sandboxes at the same time: remove_batch SECONDS LINES.
remove_batch() {
    while read -r id uid ready _; do
        remove_one "$1" "$id" "$uid" "$ready" &
    done <<BATCH
$2
BATCH
    wait
}

# Moves the next few lines of $pending to $batch.
take_batch() {
    batch= taken=0
    while [ "$taken" -lt "$at_once" ] && [ -n "$pending" ]; do
        line=${pending%%"$newline"*}
        case $pending in
            *"$newline"*) pending=${pending#*"$newline"} ;;
            *) pending= ;;
        esac
        batch=$batch${batch:+$newline}$line
        taken=$((taken + 1))
    done
}

# Adds what was said of a batch to $removed, $gone, and of those that are left to $left and $whys.
take_results() {
    progress=no
    while read -r result id why; do
        case $result in
            removed) removed=$removed${removed:+ }$id progress=yes ;;
            gone) gone=$gone${gone:+ }$id progress=yes ;;
            left) whys=$whys$id$newline$why$newline ;;
        esac
    done <<RESULTS
$1
RESULTS
    while read -r id uid ready pod; do
        case " $removed $gone " in
            *" $id "*) ;;
            *) left=$left${left:+$newline}$id\ $uid\ $ready\ $pod ;;
        esac
    done <<BATCH
$batch
BATCH
}

# Goes through the lines in $pending; those that are left are in $left afterwards. With "give up" the rest is not tried
# once nothing of a whole batch could be removed: remove_all SECONDS UNTIL [GIVE-UP].
remove_all() {
    left= whys=
    while [ -n "$pending" ]; do
        clock
        [ "$now" -lt "$2" ] || break
        take_batch
        take_results "$(remove_batch "$1" "$batch")"
        if [ "$progress" = no ] && [ "${3:-}" = 'give up' ]; then
            break
        fi
    done
    [ -z "$pending" ] || left=$left${left:+$newline}$pending
    pending=
}

# --- the configuration that does nothing ---

# Sets $directory to where the runtime looks for network configurations, and $own to the path of ours there.
find_directory() {
    directory=
    if [ -n "$crictl" ]; then
        directory=$(ask 10 info 2>/dev/null | sed -n 's/.*"confDir": *"\([^"]*\)".*/\1/p')
        directory=${directory%%"$newline"*}
    fi
    for directory in "$directory" /etc/cni/net.d /var/lib/rancher/k3s/agent/etc/cni/net.d; do
        if [ -n "$directory" ] && [ -d "$root$directory" ]; then
            own=$root$directory/00-kubectl-calico-loopback.conflist
            return 0
        fi
    done
    return 1
}

# Removes what an attempt of this run left that was killed; its timer has not come yet.
remove_earlier() {
    find_directory || return 0
    case $(cat "$own" 2>/dev/null) in
        *'"kubectl-calico":"'"$run-"*) rm -f "$own" ;;
    esac
    rm -f "$own.kubectl-calico-$run-"*.tmp
}

# What the timer does: leaves the control groups of our pod, which end with it, waits, and removes only what this very
# script wrote. It prints its process group as soon as it is out of them: what the timer is to outlive may end now.
on_timer='
for members in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do
    [ ! -e "$members" ] || echo 0 2>/dev/null >"$members" || :
done
remove() {
    [ "$(cat "$2" 2>/dev/null)" != "$3" ] || rm -f "$2"
    rm -f "$4"
}
if [ "$5" = now ]; then
    remove "$@"
    exit 0
fi
(sleep "$1"; remove "$@") </dev/null >/dev/null 2>&1 &
echo $$
'

# Sets the timer.
set_timer() {
    clock
    end=$((now + seconds))
    if [ -d "$root/run/systemd/system" ] && command -v systemd-run >/dev/null 2>&1; then
        timer=kubectl-calico-loopback-$stamp
        said=$(systemd-run --quiet --collect --unit="$timer" --on-active="${seconds}s" --timer-property=AccuracySec=100ms \
            /bin/sh -c "$on_timer" sh "$seconds" "$conflist" "$content" "$tmp" now 2>&1) && return
    fi
    need setsid
    timer=$(setsid sh -c "$on_timer" sh "$seconds" "$conflist" "$content" "$tmp" later) || fail "cannot set the timer"
    case $timer in
        '' | *[!0-9]*) fail "cannot set the timer" ;;
    esac
}

cancel_timer() {
    case $timer in
        '') ;;
        kubectl-calico-*) systemctl stop "$timer.timer" >/dev/null 2>&1 || : ;;
        *)
            clock
            # Later its number may be another's.
            [ "$now" -ge "$end" ] || kill -- "-$timer" 2>/dev/null || :
            ;;
    esac
    timer=
}

put_loopback() {
    find_directory || refuse "there is no directory of network configurations"
    need mv sleep
    read -r uptime _ </proc/uptime
    stamp=$run-$$-${uptime%.*}
    content='{"name":"k8s-pod-network","cniVersion":"0.3.1","plugins":[{"type":"loopback"}],"kubectl-calico":"'$stamp'"}'
    conflist=$own
    tmp=$conflist.kubectl-calico-$stamp.tmp
    set_timer
    printf '%s\n' "$content" 2>/dev/null >"$tmp" || fail "cannot write into $directory"
    chmod 600 "$tmp"
    mv -f "$tmp" "$conflist" 2>/dev/null || fail "cannot write into $directory"
    fact loopback used
}

remove_loopback() {
    [ -n "$conflist" ] || return 0
    [ "$(cat "$conflist" 2>/dev/null)" != "$content" ] || rm -f "$conflist"
    rm -f "$tmp"
    conflist=
    cancel_timer
}

tidy_up() {
    remove_loopback
}

# --- without crictl ---

# Sets $known to where the runtime keeps a folder for each sandbox, if it is somewhere that we know.
find_folder() {
    known=
    for folder in /var/lib/containerd /var/lib/rancher/k3s/agent/containerd /var/lib/rancher/rke2/agent/containerd \
        /var/snap/microk8s/common/var/lib/containerd /var/lib/k0s/containerd; do
        folder=$folder/io.containerd.grpc.v1.cri/sandboxes
        if [ -d "$root$folder" ]; then
            known=$root$folder
            return
        fi
    done
}

# Drops from $pending the sandboxes that are gone: adds them to $gone or $removed, as $1 says.
drop_gone() {
    still=
    while read -r id uid ready pod; do
        if [ -d "$known/$id" ]; then
            still=$still${still:+$newline}$id\ $uid\ $ready\ $pod
        elif [ "$1" = gone ]; then
            gone=$gone${gone:+ }$id
        else
            removed=$removed${removed:+ }$id
        fi
    done <<PENDING
$pending
PENDING
    pending=$still
}

without_crictl() {
    [ "$loopback" = yes ] || refuse "this host has no crictl"
    find_folder
    [ -n "$known" ] || refuse "this host has no crictl, and its sandboxes cannot be seen in another way"
    remove_earlier
    drop_gone gone
    [ -n "$pending" ] || finish_with ''
    put_loopback
    while [ -n "$pending" ]; do
        clock
        if [ "$now" -ge "$deadline" ]; then
            left=$pending
            finish_with 'the kubelet has not removed it in time (this host has no crictl)'
        fi
        sleep 1
        drop_gone removed
    done
    finish_with ''
}

# --- the whole ---

# Ends the script; what is left is left because of $1.
finish_with() {
    remove_loopback
    [ -z "$removed" ] || fact removed "$removed"
    [ -z "$gone" ] || fact gone "$gone"
    if [ -n "$left" ]; then
        count=0
        while read -r _; do
            count=$((count + 1))
        done <<LEFT
$left
LEFT
        first=${left%% *} pod=${left%%"$newline"*}
        fail "sandbox $first of ${pod##* } is left ($count in all): $1"
    fi
    [ -n "$removed" ] || already "the sandboxes are gone"
    changed
}

# Refuses, before anything is done, when one of the sandboxes is not what the plan expects.
guard_all() {
    while read -r id uid ready pod; do
        judged=$(judge "$id" "$uid" "$ready")
        case $judged in
            gone | right) ;;
            *) refuse "sandbox $id of $pod is to stay: $judged" ;;
        esac
    done <<SANDBOXES
$sandboxes
SANDBOXES
}

# Why the first of those that are left is left.
first_why() {
    id=${left%% *}
    case "$newline$whys" in
        *"$newline$id$newline"*)
            why=${whys#*"$id$newline"}
            printf '%s' "${why%%"$newline"*}"
            ;;
        *) printf 'there was no time for it' ;;
    esac
}

with_loopback() {
    put_loopback
    pending=$left
    while :; do
        remove_all 10 "$deadline"
        clock
        if [ -z "$left" ] || [ "$now" -ge "$deadline" ]; then
            return
        fi
        pending=$left
        sleep 1 # The runtime may not have read it yet.
    done
}

operation() {
    need cat chmod rm sed tr
    removed= gone= left= pending=$sandboxes
    clock
    deadline=$((now + seconds - seconds / 12))
    find_crictl
    if [ -z "$crictl" ]; then
        without_crictl
    fi
    find_socket
    [ -n "$socket" ] || refuse "the container runtime listens at none of the usual places"
    ask 10 version >/dev/null 2>&1 || fail "the container runtime does not answer"
    remove_earlier
    guard_all
    if [ "$loopback" = yes ]; then
        remove_all 20 999999999 'give up'
    else
        remove_all 60 999999999
    fi
    if [ -n "$left" ] && [ "$loopback" = yes ]; then
        clock
        deadline=$((now + seconds - seconds / 12))
        with_loopback
    fi
    finish_with "$(first_why)"
}
