#!/bin/sh
# Removes a file that is ours: of a name that is ours, or with the content that the plan expects.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front.

operation() {
    locate
    look
    fact before "$found"
    if [ "$found" = link ] && [ "$marker" = yes ] && [ ! -e "$file" ]; then
        : # Our own note that nothing stood there.
    elif [ "$found" = absent ]; then
        already "$path is not there"
    else
        guard
    fi
    said=$(rm -f "$file" 2>&1) || fail "cannot remove $path: $said"
    to_disk "${file%/*}"
    look
    [ "$found" = absent ] || fail "$path was removed, and is there again: something writes it"
    changed
}
