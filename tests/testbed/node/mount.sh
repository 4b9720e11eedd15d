#!/bin/sh
# mount.sh NODE DIRECTORY ROOTFS PROGRAMS IMAGES
# Runs as process 1 of a node, in fresh namespaces but still on the machine's file system: builds the node's root from the
# shared tree (read only) and the node's own layer, pivots into it and hands over to the node's supervisor.
set -eu
node=$1 directory=$2 rootfs=$3 programs=$4 images=$5
root=$directory/root

mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=$rootfs,upperdir=$directory/upper,workdir=$directory/work" "$root"
mkdir -p "$root/var/lib/containerd" "$root/var/lib/kubelet" "$root/var/log" \
  "$root/opt/testbed/bin" "$root/opt/testbed/images" "$root/.machine"

# An overlay cannot lie on an overlay: containerd's and kubelet's stores stay on the real disk.
mount --bind "$directory/containerd" "$root/var/lib/containerd"
mount --bind "$directory/kubelet" "$root/var/lib/kubelet"
mount --bind "$directory/log" "$root/var/log"
mount --bind "$programs" "$root/opt/testbed/bin"
mount -o remount,bind,ro "$root/opt/testbed/bin"
mount --bind "$images" "$root/opt/testbed/images"
mount -o remount,bind,ro "$root/opt/testbed/images"

mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t devtmpfs devtmpfs "$root/dev"
mkdir -p "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"

if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  # cgroup v2. A group with processes of its own cannot have controllers for its children, so everything so far moves to a leaf.
  # The process that waits for this one outside shows as 0; whoever started it moves it as well, so this is tried for a while.
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  mkdir -p "$root/sys/fs/cgroup/init"
  read -r controllers <"$root/sys/fs/cgroup/cgroup.controllers"
  tries=0
  until grep -qw memory "$root/sys/fs/cgroup/cgroup.subtree_control"; do
    [ "$tries" -lt 100 ] || { echo "the node's cgroup hands down no controllers" >&2; exit 1; }
    [ "$tries" = 0 ] || sleep 0.1
    tries=$((tries + 1))
    while read -r process; do
      [ "$process" = 0 ] || echo "$process" >"$root/sys/fs/cgroup/init/cgroup.procs" || true
    done <"$root/sys/fs/cgroup/cgroup.procs"
    for controller in $controllers; do echo "+$controller" >"$root/sys/fs/cgroup/cgroup.subtree_control" || true; done
  done
else
  mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
  for hierarchy in /sys/fs/cgroup/*/; do
    name=$(basename "$hierarchy")
    [ "$name" != unified ] && [ ! -L "/sys/fs/cgroup/$name" ] && [ -e "$hierarchy/cgroup.procs" ] || continue
    mkdir "$root/sys/fs/cgroup/$name"
    case $name in
      systemd) mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd" ;;
      *) mount -t cgroup -o "$name" cgroup "$root/sys/fs/cgroup/$name" ;;
    esac
  done
fi
mount -t bpf bpf "$root/sys/fs/bpf" 2>/dev/null || true # Only data-plane work needs it, and some kernels lack it.

hostname "$node"
cd "$root"
pivot_root . .machine
exec chroot . /usr/local/sbin/node-supervisor "$node"
