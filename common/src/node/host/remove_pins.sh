#!/bin/sh
# Removes pins from a BPF file system, and its directories that are empty by then. What is pinned lives on while something
# else holds it.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front.

# Only in a BPF file system. A directory that is not there holds nothing.
check_file_system() {
    place=$(as_mounted "${1%/*}") || return 0
    type=$(file_system_of "$place") || fail "cannot read what is mounted"
    [ "$type" = bpf ] || refuse "${1#"$root"} is not in a BPF file system"
}

# Sets $there to those that exist, one per line.
look() {
    there=
    while IFS= read -r pin; do
        if [ -L "$root$pin" ]; then
            refuse "$pin is a symbolic link"
        elif [ -e "$root$pin" ]; then
            check_file_system "$root$pin"
            there=$there$pin$newline
        fi
    done <<PATHS
$paths
PATHS
    there=${there%"$newline"}
}

remove() {
    if [ -d "$1" ]; then
        said=$(rmdir "$1" 2>&1)
    else
        said=$(rm -f "$1" 2>&1)
    fi || trouble=${trouble:-$said}
}

operation() {
    need rm rmdir
    look
    [ -n "$there" ] || already "none of these pins is there"
    trouble=
    while IFS= read -r pin; do
        remove "$root$pin"
    done <<PATHS
$there
PATHS
    look
    [ -z "$there" ] || fail "cannot remove ${there%%"$newline"*}: ${trouble:-it is there again: something pins it}"
    changed
}
