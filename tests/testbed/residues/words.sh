# Words that the lines in src/testbed/residues/ are made of. Sourced, in front of them.
export LC_ALL=C
umask 022

# put MODE PATH [TEXT]: a file, with its folder.
put() {
  mkdir -p "${2%/*}"
  printf '%s\n' "${3:-}" >"$2"
  chmod "$1" "$2"
}

# sock PATH: a socket that nobody listens on, as a dead process leaves it.
sock() {
  mkdir -p "${1%/*}"
  socat -u OPEN:/dev/null "UNIX-SENDTO:/dev/null,bind=$1,unlink-close=0"
}

# veth NAME NAMESPACE: a pair whose other end is eth0 of a network namespace that belongs to no sandbox.
veth() {
  ip netns add "$2"
  ip link add "$1" type veth peer name eth0 netns "$2"
  ip link set "$1" up
}

# pair NAME PEER: a pair with both ends here.
pair() {
  ip link add "$1" type veth peer name "$2"
  ip link set "$1" up
  ip link set "$2" up
}

# rules BACKEND FAMILY FILE [TABLE...]: restores a file of rules, all of it or some tables.
rules() {
  backend=$1 family=$2 file=$3
  shift 3
  program=iptables
  [ "$family" = 4 ] || program=ip6tables
  text=$(sed -e '/^#/d' -e "s/^$family|//" -e '/^[46]|/d' -e "s/FAMILY/$family/g" "$file")
  for table in "${@:-filter nat mangle raw}"; do
    for each in $table; do
      printf '%s\n' "$text" | sed -n "/^\\*$each\$/,/^COMMIT/p" | "$program-$backend-restore" --noflush -w 30
    done
  done
}

# map PIN NAME: a pinned BPF map.
map() {
  mkdir -p "${1%/*}"
  bpftool map create "$1" type hash key 4 value 4 entries 16 name "$2"
}

# program PIN TYPE FUNCTION: a pinned BPF program, from the object file that was put beside this script.
program() {
  mkdir -p "${1%/*}"
  bpftool prog load "/run/testbed/residues/$3.o" "$1" type "$2"
}

# settled: waits until the kernel has found the new addresses to be nobody else's, and has made their routes.
settled() {
  tries=0
  while ip -6 address show tentative | grep -q inet6; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { echo "addresses stay tentative" >&2; return 1; }
    sleep 0.1
  done
}
