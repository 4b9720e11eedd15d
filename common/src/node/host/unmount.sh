#!/bin/sh
# Unmounts a file system of the expected type, also when it was mounted there more than once.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front.

# Sets $type to that of the topmost mount at exactly this point; empty when there is none.
look() {
    type=
    place=$(as_mounted "$root$path") || return 0
    found=$(mounts_at "$place") || fail "cannot read what is mounted"
    while read -r it point; do
        [ "$point" != "$place" ] || type=$it
    done <<MOUNTS
$found
MOUNTS
}

operation() {
    need umount
    look
    [ -n "$type" ] || already "nothing is mounted at $path"
    rounds=0
    while [ -n "$type" ]; do
        if [ "$type" != "$kind" ]; then
            [ "$rounds" -gt 0 ] || refuse "a file system of type $type is mounted at $path, not $kind"
            fail "under what was unmounted at $path there is a file system of type $type"
        fi
        [ "$rounds" -lt 16 ] || fail "$path was unmounted, and is mounted again: something mounts it"
        said=$(umount "$root$path" 2>&1) || fail "cannot unmount $path: $said"
        rounds=$((rounds + 1))
        look
    done
    changed
}
