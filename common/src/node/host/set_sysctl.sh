#!/bin/sh
# Sets a kernel parameter until the next boot. $entry is its path below /proc/sys.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front.

# The value with one blank between its words, as the kernel prints tabs.
read_value() {
    [ -r "$root/proc/sys/$entry" ] || refuse "this kernel has no parameter $key"
    now=$(cat "$root/proc/sys/$entry" 2>&1) || fail "cannot read $key: $now"
    # shellcheck disable=SC2086 # It is to be split.
    now=$(set -f && set -- $now && printf '%s' "$*")
}

operation() {
    need cat
    read_value
    fact before "$now"
    if [ "$now" = "$value" ]; then
        already "$key is $value already"
    fi
    [ "$now" = "$expected" ] || refuse "$key is $now, not $expected as expected"
    (printf '%s\n' "$value" >"$root/proc/sys/$entry") 2>/dev/null || fail "the kernel does not take $value for $key"
    read_value
    [ "$now" = "$value" ] || fail "$key was set to $value, and is $now"
    changed
}
