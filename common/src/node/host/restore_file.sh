#!/bin/sh
# Puts back what was kept at $backup. A link there that leads nowhere says that nothing stood at $path: then what stands
# there now is removed. When nothing is kept at all, nothing was changed, or it was put back already.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front.

remove_both() {
    [ "$found" = absent ] || guard
    said=$(rm -f "$file" 2>&1) || fail "cannot remove $path: $said"
    said=$(rm -f "$kept" 2>&1) || fail "cannot remove $backup: $said"
    look
    [ "$found" = absent ] || fail "$path was removed, and is there again: something writes it"
    changed
}

operation() {
    locate
    rm -f "$tmp" # Of a writer that was killed.
    look
    fact before "$found"
    was=$(found_at "$kept" 2>&1) || fail "cannot read $backup: $was"
    case $was in
        absent) already "nothing is kept at $backup" ;;
        other) refuse "$backup is not a regular file" ;;
        link)
            [ ! -e "$kept" ] || refuse "$backup is a symbolic link that leads somewhere"
            remove_both
            ;;
        "$found")
            # The writer was killed before it wrote.
            said=$(rm -f "$kept" 2>&1) || fail "cannot remove $backup: $said"
            already "$path holds what was kept"
            ;;
    esac
    guard
    rename "$kept" "$file"
    relabel "$file"
    look
    fact sha256 "$found"
    [ "$found" = "$was" ] || fail "$path was put back, and holds something else now"
    changed
}
