#!/bin/sh
# Renames a file within its directory to a name that nobody reads. Nothing is deleted.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front.

operation() {
    locate
    look
    fact before "$found"
    was=$(found_at "$kept" 2>&1) || fail "cannot read $backup: $was"
    if [ "$found" = absent ]; then
        if [ "$was" = absent ]; then
            already "$path is not there"
        fi
        already "$path is moved aside already"
    fi
    guard
    [ "$was" = absent ] || refuse "$path was moved aside before and is there again: something writes it"
    rename "$file" "$kept"
    moved=$found
    look
    [ "$found" = absent ] || fail "$path was moved aside, and is there again: something writes it"
    [ "$(found_at "$kept")" = "$moved" ] || fail "$path was moved aside, and is not what $backup holds"
    changed
}
