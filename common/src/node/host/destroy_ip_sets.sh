#!/bin/sh
# Destroys ipsets that no rule refers to. While one of them is in use, none is destroyed.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front.

# Seconds until the kernel has let go of a set: nftables frees removed rules a moment after the transaction.
patience=5

# Sets $there to those that exist, one per line.
look() {
    all=$(ipset list -name 2>&1) || fail "cannot list the ipsets: $all"
    all=$newline$all$newline
    there=
    while IFS= read -r name; do
        case $all in
            *"$newline$name$newline"*) there=$there$name$newline ;;
        esac
    done <<NAMES
$names
NAMES
    there=${there%"$newline"}
}

# Sets $references to the number of users of the set $1.
count_references() {
    shown=$(ipset -terse list "$1" 2>&1) || fail "cannot look at ipset $1: $shown"
    case $shown in
        *"${newline}References: "*) references=${shown#*"${newline}References: "} ;;
        *) fail "this host's ipset does not say who uses ipset $1" ;;
    esac
    references=${references%%"$newline"*}
}

# Sets $used to the first set that is in use.
find_used() {
    used=
    while IFS= read -r name; do
        count_references "$name"
        [ "$references" = 0 ] || used=${used:-$name}
        [ -z "$used" ] || break
    done <<NAMES
$there
NAMES
}

wait_until_unused() {
    find_used
    while [ -n "$used" ]; do
        [ "$patience" -gt 0 ] || refuse "ipset $used is in use by $references rules or sets, which are to go first"
        patience=$((patience - 1))
        sleep 1
        find_used
    done
}

operation() {
    need ipset sleep
    look
    [ -n "$there" ] || already "none of these ipsets is there"
    wait_until_unused
    trouble=
    while IFS= read -r name; do
        said=$(ipset destroy "$name" 2>&1) || trouble=${trouble:-$name: $said}
    done <<NAMES
$there
NAMES
    look
    [ -z "$there" ] || fail "cannot destroy ipset ${trouble:-${there%%"$newline"*}: it is there again}"
    changed
}
