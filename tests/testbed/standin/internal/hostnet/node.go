package hostnet

import (
	"fmt"
	"sort"
)

// ProtocolFelix is the routing protocol number that Felix marks its routes with.
const ProtocolFelix = "80"

// EnableForwarding makes the host a router.
func EnableForwarding() error { return sysctl("net/ipv4/ip_forward", "1") }

// HoldBlock keeps traffic to unused addresses of the node's own block from
// leaving by the default route, as Felix does.
func HoldBlock(cidr string) error {
	return IP("route", "replace", "blackhole", cidr, "proto", ProtocolFelix)
}

// Peers are the other nodes' blocks, each with the address of its node.
type Peers map[string]string

// Sync routes every block of want through its node and removes the routes of
// blocks that were in have and are no longer wanted.
func Sync(have, want Peers) error {
	for _, cidr := range sortedKeys(have) {
		if _, keep := want[cidr]; keep {
			continue
		}
		if err := IP("route", "del", cidr, "proto", ProtocolFelix); err != nil {
			return fmt.Errorf("remove the route to block %s: %w", cidr, err)
		}
	}
	for _, cidr := range sortedKeys(want) {
		if have[cidr] == want[cidr] {
			continue
		}
		if err := IP("route", "replace", cidr, "via", want[cidr], "proto", ProtocolFelix); err != nil {
			return fmt.Errorf("route block %s through %s: %w", cidr, want[cidr], err)
		}
	}
	return nil
}

func sortedKeys(p Peers) []string {
	keys := make([]string, 0, len(p))
	for k := range p {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
