# Removes what a scan of kubectl-calico showed of Calico on this machine, and nothing else. To be run as root, on a machine
# that has left its cluster: sh FILE
#
# Each piece of work runs in a shell of its own: it looks first, acts only on what the scan showed, and looks again. At the
# first that fails everything stops. What was done is not done again, so the file can simply be run once more.
# CALICO_HOST_ROOT=<directory> puts a directory in front of every path, for tests.
# shellcheck shell=sh disable=SC2154 # The machine's name and the number of pieces come from in front.
set -u
name=
read -r name </proc/sys/kernel/hostname || :
if [ "$name" != "$machine" ]; then
    printf 'This is for %s, and this machine is called %s. Nothing was done.\n' "$machine" "$name" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ] && [ -z "${CALICO_HOST_ROOT:-}" ]; then
    printf 'Only root can do this. Nothing was done.\n' >&2
    exit 1
fi

# work NUMBER TITLE: the script comes by standard input.
work() {
    printf '%s of %s: %s\n' "$1" "$count" "$2"
    if ! sh -s; then
        printf 'Stopped: what comes after was not done.\n' >&2
        exit 1
    fi
}

ended() {
    printf 'Done. Scan again to see that nothing is left.\n'
    exit 0
}
