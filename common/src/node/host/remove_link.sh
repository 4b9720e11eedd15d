#!/bin/sh
# Removes a network interface. It is known by its index: another one of the same name is left alone.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front.

index_now() {
    now=absent
    if [ -e "$root/sys/class/net/$name" ]; then
        read -r now <"$root/sys/class/net/$name/ifindex" || now=absent
    fi
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
    said=$(ip link delete dev "$name" 2>&1) || fail "cannot remove interface $name: $said"
    index_now
    [ "$now" != "$index" ] || fail "interface $name was removed, and is still there"
    changed
}
