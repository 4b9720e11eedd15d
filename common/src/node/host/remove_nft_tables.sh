#!/bin/sh
# Removes tables of nftables, all that are there in one transaction.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front.

# Sets $there to those that exist, one per line: "ip calico".
look() {
    all=$(nft list tables 2>&1) || fail "cannot list the tables of nftables: $all"
    all=$newline$all$newline
    there=
    while IFS= read -r table; do
        case $all in
            *"${newline}table $table$newline"*) there=$there$table$newline ;;
        esac
    done <<TABLES
$tables
TABLES
    there=${there%"$newline"}
}

# `delete`, because old programs do not know `destroy`.
transaction() {
    while IFS= read -r table; do
        printf 'delete table %s\n' "$table"
    done <<TABLES
$there
TABLES
}

operation() {
    need nft
    look
    [ -n "$there" ] || already "none of these tables is there"
    fact tables "$there"
    said=$(transaction | nft -f - 2>&1) || {
        look
        [ -n "$there" ] || changed
        fail "nft refused the change, and nothing was changed: $said"
    }
    look
    [ -z "$there" ] || fail "table ${there%%"$newline"*} was removed, and is there again: something writes it"
    changed
}
