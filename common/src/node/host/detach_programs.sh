#!/bin/sh
# Detaches BPF programs whose name begins with "cali" from an interface, and removes the clsact queueing discipline when no
# filter of anybody is left in it. The interface is known by its index.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front.

index_now() {
    now=absent
    if [ -e "$root/sys/class/net/$name" ]; then
        read -r now <"$root/sys/class/net/$name/ifindex" || now=absent
    fi
}

# Sets $clsact to the line of the queueing discipline; empty when there is none.
look_for_clsact() {
    shown=$(tc qdisc show dev "$name" 2>&1) || fail "cannot look at the queueing disciplines of $name: $shown"
    clsact=
    case $newline$shown in
        *"${newline}qdisc clsact "*) clsact=${shown##*"qdisc clsact "} clsact=${clsact%%"$newline"*} ;;
    esac
}

# Sets $program to the name of the filter's program: the kernel's name for it, else the one that it was attached by.
# The line: "filter protocol all pref 49152 bpf chain 0 handle 0x1 LABEL:[SECTION] … id 9 name NAME tag …".
name_program() {
    case $1 in
        *' id '*' name '*)
            program=${1##* name }
            program=${program%% *}
            ;;
        *)
            program=${1#* handle * }
            program=${program%% *}
            case $program in
                *':[cali'*) program=${program#*:[} ;;
            esac
            ;;
    esac
}

# Detaches the filter of a line, which names it: detach_filter DIRECTION LINE.
detach_filter() {
    filter=${2#filter } handle=${2#* handle }
    # shellcheck disable=SC2086 # It is to be split.
    said=$(set -f && tc filter del dev "$name" "$1" ${filter%% bpf *} chain "$chain" handle "${handle%% *}" bpf 2>&1) ||
        trouble=${trouble:-$said}
}

# Looks through the filters of a direction; with $act = yes it detaches Calico's. Counts Calico's and all others.
filters() {
    shown=$(tc filter show dev "$name" "$1" 2>&1) || fail "cannot look at the filters of $name: $shown"
    while IFS= read -r line; do
        case $line in
            'filter '*' bpf chain '*' handle '*)
                name_program "$line"
                chain=${line#* chain } chain=${chain%% *}
                ;;
            'filter '*' handle '*) program= ;;
            # Of other kinds the first line may be all there is.
            'filter '*' bpf chain '* | ' '* | '	'* | '') continue ;;
            *) program= ;;
        esac
        case $program in
            cali*)
                own=$((own + 1))
                [ "$act" = no ] || detach_filter "$1" "$line"
                ;;
            *) others=$((others + 1)) ;;
        esac
    done <<SHOWN
$shown
SHOWN
}

look_at_filters() {
    act=$1 own=0 others=0
    filters ingress
    filters egress
}

detach_tc() {
    need tc
    look_for_clsact
    [ -n "$clsact" ] || already "$name has no clsact"
    look_at_filters no
    fact programs "$own"
    fact others "$others"
    [ "$own" -gt 0 ] || [ "$others" = 0 ] || already "no program of Calico is attached to $name"
    look_at_filters yes
    look_at_filters no
    [ "$own" = 0 ] || fail "cannot detach a program from $name: ${trouble:-it was detached, and is there again}"
    case $clsact in
        *_block*) changed ;; # Its filters may serve other interfaces as well.
    esac
    [ "$others" = 0 ] || changed
    said=$(tc qdisc del dev "$name" clsact 2>&1) || trouble=$said
    look_for_clsact
    [ -z "$clsact" ] || fail "cannot remove clsact from $name: ${trouble:-it was removed, and is there again}"
    changed
}

# Sets $mode and $program; both are empty when no program is attached.
look_at_xdp() {
    shown=$(ip -d link show dev "$name" 2>&1) || fail "cannot look at interface $name: $shown"
    mode='' program=
    case ${shown%%"$newline"*} in
        *' xdpmulti'*) refuse "$name has several XDP programs at once" ;;
        *' xdpgeneric'*) mode=xdpgeneric ;;
        *' xdpoffload'*) mode=xdpoffload ;;
        *' xdp '* | *' xdp/'*) mode=xdp ;;
        *) return 0 ;;
    esac
    id=${shown#*prog/xdp id }
    [ "$id" != "$shown" ] || refuse "this host's ip does not say which program is attached to $name"
    id=${id%%"$newline"*} program=${id#* name }
    if [ "$program" = "$id" ] && command -v bpftool >/dev/null 2>&1; then
        # "118: xdp  name cali_xdp_main  tag …"
        id=$(bpftool prog show id "${id%% *}" 2>/dev/null) || id=
        program=${id#* name }
    fi
    [ "$program" != "$id" ] || refuse "it is not known whose program is attached to $name: it has no name"
    program=${program%% *}
}

detach_xdp() {
    need ip
    look_at_xdp
    case $program in
        cali*) ;;
        '') already "no XDP program is attached to $name" ;;
        *) already "the program that is attached to $name is $program, which is not Calico's" ;;
    esac
    fact programs "$program"
    said=$(ip link set dev "$name" "$mode" off 2>&1) || trouble=$said
    look_at_xdp
    case $program in
        cali*) fail "cannot detach $program from $name: ${trouble:-it was detached, and is there again}" ;;
    esac
    changed
}

operation() {
    index_now
    case $now in
        "$index") ;;
        absent) already "there is no interface $name" ;;
        *) already "interface $name with index $index is gone; there is another one with index $now" ;;
    esac
    trouble=
    if [ "$hook" = tc ]; then
        detach_tc
    else
        detach_xdp
    fi
}
