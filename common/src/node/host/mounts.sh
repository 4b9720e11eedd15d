#!/bin/sh
# What is mounted where, for the operations that must know. A part of scripts, not one of its own.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front.

# The path without links, as mountinfo writes it: blanks are \040 there.
as_mounted() (
    real=$(cd -P "$1" 2>/dev/null && pwd -P) || exit 1
    while :; do
        case $real in
            *' '*) real=${real%%' '*}'\040'${real#*' '} ;;
            *) break ;;
        esac
    done
    printf '%s\n' "$real"
)

# Prints "TYPE MOUNTPOINT" of each mount that stands at $1 or below, the newest last; $1 is as as_mounted gives it.
mounts_at() (
    set -f
    while read -r _ _ _ _ point rest; do
        case $point/ in
            "$1"/*) ;;
            *) continue ;;
        esac
        # Any number of fields, then " - TYPE SOURCE OPTIONS".
        rest=${rest#* - }
        printf '%s %s\n' "${rest%% *}" "$point"
    done <"$root/proc/self/mountinfo"
)

# Prints the type of the file system that the directory $1 is in; $1 is as as_mounted gives it.
file_system_of() (
    best='' type=
    while read -r _ _ _ _ point rest; do
        rest=${rest#* - }
        case $1/ in
            "${point%/}"/*)
                # A later mount on the same point hides the earlier one.
                [ "${#point}" -lt "${#best}" ] || best=$point type=${rest%% *}
                ;;
        esac
    done <"$root/proc/self/mountinfo"
    printf '%s\n' "$type"
)
