#!/bin/bash
# kube-proxy OPTION...
# Process 1 of kube-proxy's container. It runs the real program, and ends with it. While the node has
# /run/testbed/kube-proxy.stop, it runs nothing: the pod is there, the rules stay as they are, and nobody writes them anew.
stop=/run/testbed/kube-proxy.stop
proxy=
trap '[ -z "$proxy" ] || kill "$proxy"; exit 0' TERM INT
# Nothing is ever written there: to read from it is to wait, without a process.
exec {nothing}<> <(:)
pause() { read -r -t 0.2 -u "$nothing"; }

while :; do
  if [ -e "$stop" ]; then
    pause
    continue
  fi
  /opt/testbed/bin/kubebox kube-proxy "$@" &
  proxy=$!
  while [ ! -e "$stop" ] && kill -0 "$proxy" 2>/dev/null; do pause; done
  [ -e "$stop" ] || { wait "$proxy"; exit; }
  kill "$proxy"
  wait "$proxy"
  proxy=
done
