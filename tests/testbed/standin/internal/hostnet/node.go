package hostnet

// ProtocolFelix is the routing protocol number that Felix marks its blackhole
// routes with.
const ProtocolFelix = "80"

// EnableForwarding makes the host a router.
func EnableForwarding() error { return sysctl("net/ipv4/ip_forward", "1") }

// HoldBlock keeps traffic to unused addresses of the node's own block from
// leaving by the default route, as Felix does.
func HoldBlock(cidr string) error {
	return IP("route", "replace", "blackhole", cidr, "proto", ProtocolFelix)
}
