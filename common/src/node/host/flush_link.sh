#!/bin/sh
# Takes all addresses from a network interface that cannot be removed, and sets it down. It is known by its index and kind.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front.

# Sets $addresses, and $up to 1 or 0 (the lowest bit of its flags).
look() {
    addresses=$(ip -o address show dev "$name" 2>&1) || fail "cannot read the addresses of $name: $addresses"
    read -r flags <"$root/sys/class/net/$name/flags" || fail "cannot read the state of $name"
    up=$((flags & 1))
}

operation() {
    need ip
    now=absent
    if [ -e "$root/sys/class/net/$name" ]; then
        read -r now <"$root/sys/class/net/$name/ifindex" || now=absent
    fi
    case $now in
        "$index") ;;
        absent) already "there is no interface $name" ;;
        *) already "interface $name with index $index is gone; there is another one with index $now" ;;
    esac
    # The kind stands alone in front of its line: "    ipip remote any …".
    shown=$(ip -d link show dev "$name" 2>&1) || fail "cannot look at interface $name: $shown"
    case "$shown " in
        "$index: $name: "*"$newline    $kind "* | "$index: $name@"*"$newline    $kind "*) ;;
        *) refuse "interface $name is not of kind $kind" ;;
    esac
    look
    if [ -z "$addresses" ] && [ "$up" = 0 ]; then
        already "$name has no address, and is down"
    fi
    # Down first: the kernel gives an interface that is up a link-local address of its own accord.
    said=$(ip link set dev "$name" down 2>&1) || fail "cannot set $name down: $said"
    said=$(ip address flush dev "$name" 2>&1) || fail "cannot take the addresses from $name: $said"
    look
    [ -z "$addresses" ] || fail "the addresses were taken from $name, and it has one again: something gives it one"
    [ "$up" = 0 ] || fail "$name was set down, and is up again: something sets it up"
    changed
}
