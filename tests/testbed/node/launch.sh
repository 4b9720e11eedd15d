#!/bin/sh
# launch.sh RECORD LOG CGROUPS PROGRAM [ARGUMENT...]
# Starts one long-running program of the testbed. The process writes its own record (its line of /proc/PID/stat: pid and
# start time) before it becomes the program, so that nothing can run without a record, even if the caller is killed.
# CGROUPS is a colon-separated list of cgroup folders that the process joins.
record=$1 log=$2 cgroups=$3
shift 3
/bin/cat "/proc/$$/stat" >"$record.new" && /bin/mv "$record.new" "$record" || exit 1
old_ifs=$IFS
IFS=:
for group in $cgroups; do echo 0 >"$group/cgroup.procs" || exit 1; done
IFS=$old_ifs
exec "$@" >>"$log" 2>&1 </dev/null
