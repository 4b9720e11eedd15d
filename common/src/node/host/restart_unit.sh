#!/bin/sh
# Restarts a systemd unit, once in a run. Process 1 does it a second later, because our own connection may go through what
# is restarted: then the result is lost, and asking again gives it.
#
# $noted keeps, until the next boot, which start of the unit this run found: only that one is ended, so that asking again
# restarts nothing.
# shellcheck disable=SC2034,SC2154 # Parameters come from in front.

property() {
    systemctl show --property="$1" --value "$unit" 2>/dev/null
}

# Each start of a unit is an invocation of its own.
look() {
    now=$(property InvocationID) || fail "cannot ask systemd about $unit"
    now=${now:-none}
}

note() {
    said=$(printf '%s\n' "$was" 2>&1 >"$noted.tmp") || fail "cannot write $noted: $said"
    said=$(mv -f "$noted.tmp" "$noted" 2>&1) || fail "cannot write $noted: $said"
}

order() {
    if command -v systemd-run >/dev/null 2>&1; then
        said=$(systemd-run --quiet --collect --on-active=1 --timer-property=AccuracySec=100ms \
            systemctl restart "$unit" 2>&1) || fail "cannot order the restart of $unit: $said"
    else
        said=$(systemctl --no-block restart "$unit" 2>&1) || fail "cannot order the restart of $unit: $said"
    fi
}

wait_for_restart() {
    waited=0
    while :; do
        look
        if [ "$now" != "$was" ] && [ "$(property ActiveState)" = active ]; then
            return
        fi
        [ "$waited" -lt "$seconds" ] || fail "$unit was not active again within $seconds s"
        sleep 1
        waited=$((waited + 1))
    done
}

operation() {
    [ -d "$root/run/systemd/system" ] || refuse "there is no systemd on this host: restart $unit by its own means"
    need systemctl mv sleep
    noted=$root/run/kubectl-calico-$run-$unit.restarted
    [ "$(property LoadState)" = loaded ] || refuse "this host has no unit $unit"
    look
    was=$now
    [ ! -e "$noted" ] || read -r was <"$noted" || fail "cannot read $noted"
    if [ "$now" != "$was" ]; then
        wait_for_restart
        already "$unit was restarted by this run already"
    fi
    note
    order
    wait_for_restart
    changed
}
