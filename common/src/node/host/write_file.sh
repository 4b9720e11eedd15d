#!/bin/sh
# Writes a file under a temporary name in its directory and renames it: readers see the old content or the new one, and a
# container runtime notices (it does not notice a file that is renamed into the directory from elsewhere).
#
# What stood there is kept as $backup; a link there that leads nowhere says that nothing stood there. What this run kept
# already is not kept anew.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front.

tidy_up() {
    [ -z "$tmp" ] || rm -f "$tmp"
}

# Whether what stands there now may be of an earlier attempt of this run: what it kept is what the plan expects. Only
# content that is different each time it is made (a token) needs this; other content is known by its hash.
is_own_attempt() {
    [ "$fresh" = yes ] || return 1
    was=$(found_at "$kept")
    case $was in
        absent | other) return 1 ;;
        link) [ "$expected" = absent ] || [ "$expected" = any ] ;;
        *) [ "$expected" = "$was" ] || [ "$expected" = any ] ;;
    esac
}

check() {
    look
    case $found in
        absent | link | other) guard ;;
        *) is_own_attempt || guard ;;
    esac
}

# A hard link is there in one instant and keeps owner, mode and times; some file systems have none.
keep() {
    if [ -e "$kept" ] || [ -L "$kept" ]; then
        return
    elif [ "$found" = absent ]; then
        said=$(ln -s 'nothing stood here' "$kept" 2>&1) || fail "cannot note that nothing stood there: $said"
    elif ! ln "$file" "$kept" 2>/dev/null; then
        said=$(cp -p "$file" "$tmp" 2>&1) || fail "cannot keep the old content: $said"
        rename "$tmp" "$kept"
    fi
}

set_mode() {
    said=$(chmod "$mode" "$1" 2>&1) || fail "cannot set the mode of $path: $said"
    if [ "$(id -u)" = 0 ]; then
        said=$(chown 0:0 "$1" 2>&1) || fail "cannot set the owner of $path: $said"
    fi
}

operation() {
    locate
    need base64 chmod chown cp id ln stat
    [ -d "${file%/*}" ] || refuse "there is no directory ${path%/*}"
    rm -f "$tmp"
    look
    fact before "$found"
    fact sha256 "$wanted"
    if [ "$found" = "$wanted" ]; then
        if [ "$(stat -c %a "$file")" = "${mode#0}" ]; then
            already "$path holds that already"
        fi
        set_mode "$file"
        relabel "$file"
        changed
    fi
    check
    keep

    payload >"$tmp" 2>/dev/null || fail "cannot write $path: its content could not be decoded or the disk is full"
    written=$(found_at "$tmp") || written=unknown
    [ "$written" = "$wanted" ] || fail "cannot write $path: what was written is not what was sent"
    set_mode "$tmp"
    to_disk "$tmp"
    check # It may have taken a while.
    rename "$tmp" "$file"
    relabel "$file"

    look
    [ "$found" = "$wanted" ] || fail "$path was written, and holds something else now"
    changed
}
