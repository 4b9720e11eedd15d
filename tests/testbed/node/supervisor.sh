#!/bin/bash
# node-supervisor NODE
# Process 1 of a node. There is no systemd in a node; this keeps containerd and the kubelet running.
# A service SERVICE is held back while /run/testbed/SERVICE.stop exists; /run/testbed/SERVICE.pid holds its process.
# kube-proxy is a pod (../kube-proxy), which heeds its file there as well.
node=$1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/testbed/bin

umount -l /.machine && rmdir /.machine
mount --make-rshared / # A hostPath with HostToContainer propagation needs a shared root.
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0
mkdir -p /run/testbed /etc/kubernetes/manifests

keep() {
  local service=$1
  shift
  while :; do
    if [ -e "/run/testbed/$service.stop" ]; then
      sleep 0.2
      continue
    fi
    "$@" >>"/var/log/$service.log" 2>&1 &
    echo $! >"/run/testbed/$service.pid"
    wait $!
    rm -f "/run/testbed/$service.pid"
    sleep 0.3
  done
}

keep containerd containerd &
until ctr version >/dev/null 2>&1; do sleep 0.1; done
for archive in /opt/testbed/images/*.tar; do
  ctr --namespace k8s.io images import "$archive" >/dev/null || echo "cannot import $archive" >&2
done
keep kubelet kubebox kubelet --config /etc/kubernetes/kubelet.yaml --kubeconfig /etc/kubernetes/kubelet.conf \
  --hostname-override "$node" --node-ip "$(cat /etc/kubernetes/node-ip)" --v=2 &

trap 'exit 0' TERM
while :; do
  wait
  sleep 1
done
