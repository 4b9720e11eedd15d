#!/bin/sh
# Removes routes or routing rules one by one, or adds those that were removed. $lines has one per line, as `ip -o` prints
# it, in one blank between words and without the words that say how it fares just now; what the kernel has is brought into
# the same form, and compared word for word.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front.

# The lasting words of each line of the standard input. Words of state may stand anywhere, and an interface or a table may
# be called like one.
lasting_words() (
    set -f
    while IFS= read -r line; do
        IFS=' 	\'
        lasting='' next=keep
        for word in $line; do
            case $next$word in
                drop*) next=keep ;;
                name*) lasting="$lasting $word" next=keep ;;
                keepexpires | keeperror) next=drop ;;
                keeplinkdown | keepdead | keepoffload | keepoffload_failed | keeptrap | keepunresolved) ;;
                keeprt_offload | keeprt_offload_failed | keeprt_trap | keeppervasive | keepnotify) ;;
                'keep[detached]' | 'keep[unresolved]') ;;
                keepdev | keepiif | keepoif | keepproto | keeptable | keeplookup)
                    lasting="$lasting $word" next=name
                    ;;
                *) lasting="$lasting $word" ;;
            esac
        done
        printf '%s\n' "${lasting# }"
    done
)

look() {
    if [ "$object" = route ]; then
        shown=$(ip -o "$version" route show table all 2>&1) || fail "cannot read the routes: $shown"
    else
        shown=$(ip "$version" rule show 2>&1) || fail "cannot read the routing rules: $shown"
    fi
    now=$(lasting_words <<SHOWN
$shown
SHOWN
)
    now=$newline$now$newline
}

# Whether something is left to do for the line $1.
is_open() {
    case $now in
        *"$newline$1$newline"*) [ "$direction" = remove ] ;;
        *) [ "$direction" = add ] ;;
    esac
}

# Does it: the first complaint is kept. What is not named in a route would mean "any" when it is removed.
act() {
    words=$1
    if [ "$object" = rule ]; then
        words="priority ${1%%:*} ${1#*: }"
    elif [ "$direction" = remove ]; then
        case " $1 " in
            *' proto '*) ;;
            *) words="proto boot $1" ;;
        esac
    fi
    command=del
    [ "$direction" = remove ] || command=add
    # shellcheck disable=SC2086 # It is to be split.
    said=$(set -f && ip "$version" "$object" "$command" $words 2>&1) || trouble=${trouble:-$said}
}

# Sets $count to the number of lines that are open, and $first to the first one.
count_open() {
    count=0 first=
    while IFS= read -r line; do
        is_open "$line" || continue
        [ "$count" -gt 0 ] || first=$line
        count=$((count + 1))
    done <<LINES
$lines
LINES
}

operation() {
    need ip
    case "$(ip -V 2>&1)" in
        *iproute2*) ;;
        *) fail "this host's ip is not that of iproute2, which is needed" ;;
    esac
    look
    count_open
    if [ "$count" = 0 ]; then
        [ "$direction" = add ] || already "none of them is there"
        already "all of them are there"
    fi
    wanted=$count trouble=
    while IFS= read -r line; do
        if is_open "$line"; then
            act "$line"
        fi
    done <<LINES
$lines
LINES
    look
    count_open
    fact done "$((wanted - count))"
    if [ "$count" -gt 0 ]; then
        fail "cannot $direction $object $first: ${trouble:-it was done, and something undid it}"
    fi
    changed
}
