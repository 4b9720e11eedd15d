#!/bin/sh
# Installs the Debian packages that the testbed needs on the machine itself (the nodes get their own by debootstrap).
# Go is not among them: Debian 12 has an older one than the 1.24 that Kubernetes needs.
set -eu
missing=
for pair in debootstrap:debootstrap ip:iproute2 openssl:openssl nsenter:util-linux setsid:util-linux mount:mount kill:procps; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
# Without lists apt does not know which mirror has Debian, and the nodes' root file system is made from that one.
lists=$(apt-get indextargets --format '$(LABEL)' 'Created-By: Packages' 2>/dev/null || true)
[ -n "$missing" ] || [ -z "$lists" ] || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "the testbed needs apt-get update and these Debian packages, which only root can install:$missing" >&2
  exit 1
fi
apt-get update -qq
[ -n "$missing" ] || exit 0
# shellcheck disable=SC2086 # A list of package names, one word each.
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
