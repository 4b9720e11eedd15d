#!/bin/sh
# Changes packet filter rules in one transaction per table: iptables-restore takes all of a table or nothing of it.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front.

# Sets $restore and $save to the programs of the wanted implementation.
find_programs() {
    restore=$prefix-$backend-restore save=$prefix-$backend-save
    if command -v "$restore" >/dev/null 2>&1 && command -v "$save" >/dev/null 2>&1; then
        return
    fi
    restore=$prefix-restore save=$prefix-save
    need "$restore" "$save"
    case "$backend $("$restore" --version 2>&1)" in
        "nft "*nf_tables* | "legacy "*legacy*) ;;
        *) refuse "this host has no $prefix-$backend" ;;
    esac
}

# Whether the text $1 has a line that is $2, or begins with it when $3 is "*".
has_line() {
    case "$newline$1$newline" in
        *"$newline$2$newline"*) return 0 ;;
        *"$newline$2"*) [ "${3:-}" = '*' ] ;;
        *) return 1 ;;
    esac
}

# How many rules each chain has in the text $1, a line "CHAIN NUMBER" each. The rules of a chain stand together, as
# iptables-save prints them. One pass: a table may have tens of thousands of lines.
rule_counts() (
    chain='' count=0
    while IFS= read -r line; do
        case $line in
            '-A '*) line=${line#-A } ;;
            *) continue ;;
        esac
        if [ "${line%% *}" != "$chain" ]; then
            [ -z "$chain" ] || printf '%s %s\n' "$chain" "$count"
            chain=${line%% *} count=0
        fi
        count=$((count + 1))
    done <<TEXT
$1
TEXT
    [ -z "$chain" ] || printf '%s %s\n' "$chain" "$count"
)

# The lines of the table that declare its chains, which are few beside its rules and stand in front of them.
declarations() (
    while IFS= read -r line; do
        case $line in
            :*) printf '%s\n' "$line" ;;
            '-A '*) exit ;;
        esac
    done <<SAVED
$saved
SAVED
)

# The lines of the input that are about the table whose line is $1.
section_of() (
    found=no
    while IFS= read -r line; do
        case $line in
            "$1") found=yes ;;
            COMMIT) found=no ;;
        esac
        [ "$found" = no ] || printf '%s\n' "$line"
    done <<RULES
$rules
RULES
)

# Looks at a table: its line in the input is $1. A chain that is declared is emptied, and then has the rules that the
# input gives it and no others: false when a chain has another number of rules.
look_at_table() {
    section=$(section_of "$1")
    saved=$("$save" -t "${1#?}" 2>/dev/null) || saved=
    chains=$(declarations)
    there=$(rule_counts "$saved")
    wanted=$(rule_counts "$section")
    while IFS= read -r count; do
        if has_line "$section" ":${count%% *} - " '*'; then
            has_line "$there" "$count" || return 1
        fi
    done <<WANTED
$wanted
WANTED
}

# Whether a declared chain is there, without rules if the input gives it none.
chain_is_done() {
    declared=${1#:}
    chain=${declared%% *} policy=${declared#* }
    if has_line "$section" "-X $chain"; then
        return 0
    fi
    has_line "$chains" ":$chain ${policy%% *} " '*' || return 1
    [ "${policy%% *}" = - ] || return 0 # A built-in chain only gets its policy.
    has_line "$wanted" "$chain " '*' || ! has_line "$there" "$chain " '*'
}

# Whether "CHAIN RULE" or "CHAIN NUMBER RULE" is there, wherever in its chain: others may have come before it since.
is_inserted() {
    chain=${1%% *} rule=${1#* }
    case ${rule%% *} in
        *[!0-9]*) ;;
        *) rule=${rule#* } ;;
    esac
    has_line "$saved" "-A $chain $rule"
}

# Whether a line of the input has nothing left to do. Rules are compared as iptables-save spells them.
is_done() {
    case $1 in
        '' | '#'* | COMMIT) ;;
        '*'*) look_at_table "$1" ;;
        :*) chain_is_done "$1" ;;
        '-A '*) has_line "$saved" "$1" ;;
        '-I '*) is_inserted "${1#-I }" ;;
        '-D '*) ! has_line "$saved" "-A ${1#-D }" ;;
        '-F '*) ! has_line "$saved" "-A ${1#-F } " '*' ;;
        '-X '*) ! has_line "$chains" ":${1#-X } " '*' ;;
        *) return 1 ;;
    esac
}

all_done() {
    while IFS= read -r line; do
        is_done "$line" || return 1
    done <<RULES
$rules
RULES
}

operation() {
    find_programs
    if all_done; then
        already "the rules are so already"
    fi
    said=$(printf '%s\n' "$rules" | "$restore" --noflush --wait=30 2>&1) ||
        fail "$restore refused the change, and nothing of that table was changed: $said"
    all_done || fail "the rules were changed, and are not as they should be"
    changed
}
