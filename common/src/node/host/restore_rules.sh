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

# How many lines of the text $1 begin with $2.
count_lines() {
    rest=$newline$1 count=0
    while :; do
        case $rest in
            *"$newline$2"*) rest=${rest#*"$newline$2"} count=$((count + 1)) ;;
            *) break ;;
        esac
    done
}

# A chain that is declared is emptied: it then has the rules that the input gives it, and no others.
chain_is_done() {
    declared=${1#:}
    chain=${declared%% *} policy=${declared#* }
    if has_line "$rules" "-X $chain"; then
        return 0
    fi
    has_line "$saved" ":$chain ${policy%% *} " '*' || return 1
    [ "${policy%% *}" = - ] || return 0 # A built-in chain only gets its policy.
    count_lines "$rules" "-A $chain " && wanted=$count
    count_lines "$saved" "-A $chain "
    [ "$count" = "$wanted" ]
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
        '*'*) saved=$("$save" -t "${1#?}" 2>/dev/null) || saved= ;;
        :*) chain_is_done "$1" ;;
        '-A '*) has_line "$saved" "$1" ;;
        '-I '*) is_inserted "${1#-I }" ;;
        '-D '*) ! has_line "$saved" "-A ${1#-D }" ;;
        '-F '*) ! has_line "$saved" "-A ${1#-F } " '*' ;;
        '-X '*) ! has_line "$saved" ":${1#-X } " '*' ;;
        *) return 1 ;;
    esac
}

all_done() {
    saved=
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
