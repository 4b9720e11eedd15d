#!/bin/sh
# Removes a network interface. It is known by its index: another one of the same name is left alone. A pod's interface is left
# alone as well while a process lives at its other end: runtimes that no API server knows of name theirs alike.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front.

index_now() {
    now=absent
    if [ -e "$root/sys/class/net/$name" ]; then
        read -r now <"$root/sys/class/net/$name/ifindex" || now=absent
    fi
}

guard_other_end() {
    case $kind/$name in
        veth/cali*) ;;
        *) return 0 ;;
    esac
    case $shown in
        *" link-netnsid "*)
            refuse "the other end of interface $name is in a namespace without a name: whether somebody uses it cannot be told"
            ;;
        *" link-netns "*) ;;
        *) return 0 ;;
    esac
    namespace=${shown#*" link-netns "}
    namespace=${namespace%%[!A-Za-z0-9._-]*}
    [ -e "$root/run/netns/$namespace" ] || refuse "namespace $namespace of interface $name cannot be looked at"
    for process in "$root"/proc/[0-9]*/ns/net; do
        # shellcheck disable=SC3013 # Every shell that is sh on Linux compares files so, and none needs a program for it.
        if [ "$process" -ef "$root/run/netns/$namespace" ]; then
            process=${process#"$root/proc/"}
            refuse "process ${process%%/*} lives in namespace $namespace, where the other end of interface $name is"
        fi
    done
}

operation() {
    need ip
    index_now
    case $now in
        "$index") ;;
        absent) already "there is no interface $name" ;;
        *) already "interface $name with index $index is gone; there is another one with index $now" ;;
    esac
    # The kind stands alone in front of its line: "    veth addrgenmode …".
    shown=$(ip -d link show dev "$name" 2>&1) || fail "cannot look at interface $name: $shown"
    case "$shown " in
        "$index: $name: "*"$newline    $kind "* | "$index: $name@"*"$newline    $kind "*) ;;
        *) refuse "interface $name is not of kind $kind" ;;
    esac
    guard_other_end
    said=$(ip link delete dev "$name" 2>&1) || fail "cannot remove interface $name: $said"
    index_now
    [ "$now" != "$index" ] || fail "interface $name was removed, and is still there"
    changed
}
