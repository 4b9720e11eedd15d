#!/bin/sh
# The beginning of every host operation of kubectl-calico. An operation's script is, in this order: its parameters as
# assignments, its payload (a function that prints it) if it has one, this file, the operation's own file, and the call.
#
# It is read from standard input by any POSIX shell, as root, in the host's namespaces. Everything is in functions and the
# call is the last line: of a script that arrives only in part nothing is done.
#
# Each operation looks first, acts only on what the plan expects to find, and looks again. Done twice, it changes nothing
# the second time. Whatever kills it leaves a file with its old content or its new one, and a second run tidies up.
#
# Output: lines "key=value", and as the last line "@@operation state=<state>" with its exit code:
#     changed 0, already 0 (there was nothing to do), refused 6 (nothing was done), failed 1
#
# CALICO_HOST_ROOT=<directory> puts a directory in front of every path, and CALICO_HOST_PATH=<path> is where programs are
# looked for, both for tests.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front, and each operation uses what it needs.

set -eu
umask 077
export LC_ALL=C
export PATH="${CALICO_HOST_PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin}"
export TMPDIR=/run # Some shells keep a here-document in a file for a moment: in memory, then.
root=${CALICO_HOST_ROOT:-}
tmp=
newline='
'

# What the operation leaves when it ends early; operations that have something to tidy up define it anew.
tidy_up() {
    :
}

# The text in one line.
one_line() (
    set -f
    IFS=$newline
    # shellcheck disable=SC2086 # It is to be split.
    set -- $1
    IFS=' '
    printf '%s' "$*"
)

fact() {
    printf '%s=%s\n' "$1" "$(one_line "$2")"
}

# Ends the script: finish STATE WHY CODE.
finish() {
    trap - EXIT
    trap '' HUP INT PIPE TERM
    tidy_up || :
    [ -z "$2" ] || fact why "$2"
    printf '@@operation state=%s\n' "$1"
    exit "$3"
}

changed() {
    finish changed '' 0
}

already() {
    finish already "$1" 0
}

refuse() {
    finish refused "$1" 6
}

fail() {
    finish failed "$1" 1
}

trap 'finish failed "the script ended early" 1' EXIT
trap 'exit 143' HUP INT PIPE TERM

need() {
    for program; do
        command -v "$program" >/dev/null 2>&1 || fail "this host has no program $program, which is needed"
    done
}

# Says what stands at $1: absent, link, other, or the SHA-256 of a file.
found_at() {
    if [ -L "$1" ]; then
        echo link
    elif [ ! -e "$1" ]; then
        echo absent
    elif [ ! -f "$1" ]; then
        echo other
    else
        sum=$(sha256sum <"$1") || return 1
        echo "${sum%% *}"
    fi
}

# Where a file operation works. The directory may be reached through links: that is the administrator's choice.
locate() {
    need mv rm sha256sum
    file=$root$path
    tmp=$root$path.kubectl-calico-$run.tmp
    kept=$root$backup
}

look() {
    found=$(found_at "$file" 2>&1) || fail "cannot read $path: $found"
}

# Refuses unless what stands there is what the plan expects: $expected is absent, any, or a SHA-256.
guard() {
    look
    case $found in
        link) refuse "$path is a symbolic link" ;;
        other) refuse "$path is not a regular file" ;;
    esac
    case $expected in
        any | "$found") ;;
        absent) refuse "$path is there, and was not expected to be" ;;
        *)
            if [ "$found" = absent ]; then
                refuse "$path is gone"
            fi
            refuse "$path holds something else than expected"
            ;;
    esac
}

# Gives a file the label that its place asks for, where SELinux is at work.
relabel() {
    if [ -e "$root/sys/fs/selinux/enforce" ] && command -v restorecon >/dev/null 2>&1; then
        said=$(restorecon "$1" 2>&1) || fail "cannot set the SELinux label of $path: $said"
    fi
}

# Asks for the content to reach the disk. Old programs do not know how; nothing depends on it but a loss of power.
to_disk() {
    if command -v timeout >/dev/null 2>&1 && command -v sync >/dev/null 2>&1; then
        timeout 10 sync "$1" >/dev/null 2>&1 || :
    fi
}

# Renames within a directory, which is one instant: rename FROM TO.
rename() {
    said=$(mv -f "$1" "$2" 2>&1) || fail "cannot rename ${1#"$root"}: $said"
    to_disk "${2%/*}"
}
