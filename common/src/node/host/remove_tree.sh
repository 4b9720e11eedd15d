#!/bin/sh
# Removes a directory of Calico with all that is in it, or a socket. It stays in its file system: nothing may be mounted
# below.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front.

# Refuses while something is mounted there or below.
check_mounts() {
    place=$(as_mounted "$file") || fail "cannot enter $path"
    found=$(mounts_at "$place") || fail "cannot read what is mounted"
    [ -z "$found" ] || refuse "${found#* } is mounted: what is mounted in $path is to be unmounted first"
}

# Not every rm can be told to stay in its file system; find can.
remove() {
    if rm -f --one-file-system >/dev/null 2>&1; then
        said=$(rm -rf --one-file-system "$file" 2>&1) || trouble=$said
    else
        need find rmdir
        said=$(find "$file" -xdev -depth \( -type d -exec rmdir {} \; -o -exec rm -f {} \; \) 2>&1) || trouble=$said
    fi
}

operation() {
    need rm
    file=$root$path trouble=
    if [ -L "$file" ]; then
        refuse "$path is a symbolic link"
    elif [ -d "$file" ]; then
        check_mounts
    elif [ ! -e "$file" ]; then
        already "$path is not there"
    fi
    remove
    if [ -e "$file" ] || [ -L "$file" ]; then
        fail "cannot remove $path: ${trouble:-it was removed, and is there again: something writes it}"
    fi
    changed
}
