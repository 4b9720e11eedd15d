package hostnet

import (
	"maps"
	"slices"
)

// entries is what the kernel knows of the peers, by the key that it is unique in.
type entries struct {
	// routes are the tunnel addresses by block.
	routes map[string]string
	// neighbours are the hardware addresses by tunnel address.
	neighbours map[string]string
	// forwarding are the nodes' addresses by hardware address.
	forwarding map[string]string
}

// keepPeers removes what belongs to no peer and adds what is missing. Routes are
// removed first and added last: no packet is sent to a neighbour not yet known.
func keepPeers(peers []Peer) error {
	have, err := readEntries()
	if err != nil {
		return err
	}
	want := wanted(peers)
	for _, block := range surplus(have.routes, want.routes) {
		if err := IP("route", "del", block, "dev", TunnelName); err != nil {
			return err
		}
	}
	for _, address := range surplus(have.neighbours, want.neighbours) {
		if err := IP("neigh", "del", address, "dev", TunnelName); err != nil {
			return err
		}
	}
	for _, mac := range surplus(have.forwarding, want.forwarding) {
		if _, err := run("bridge", "fdb", "del", mac, "dev", TunnelName, "self"); err != nil {
			return err
		}
	}
	return add(have, want)
}

func add(have, want entries) error {
	for _, mac := range surplus(want.forwarding, have.forwarding) {
		if _, err := run("bridge", "fdb", "replace", mac, "dev", TunnelName, "dst", want.forwarding[mac], "self", "permanent"); err != nil {
			return err
		}
	}
	for _, address := range surplus(want.neighbours, have.neighbours) {
		if err := IP("neigh", "replace", address, "lladdr", want.neighbours[address], "dev", TunnelName, "nud", "permanent"); err != nil {
			return err
		}
	}
	for _, block := range surplus(want.routes, have.routes) {
		// Without a protocol, as the recorded Felix v3.28 does; since v3.29 it marks these routes, too.
		if err := IP("route", "replace", block, "via", want.routes[block], "dev", TunnelName, "onlink"); err != nil {
			return err
		}
	}
	return nil
}

func wanted(peers []Peer) entries {
	want := entries{routes: map[string]string{}, neighbours: map[string]string{}, forwarding: map[string]string{}}
	for _, peer := range peers {
		want.routes[peer.Block] = peer.Address
		want.neighbours[peer.Address] = peer.MAC
		want.forwarding[peer.MAC] = peer.Node
	}
	return want
}

// readEntries asks the kernel. Neighbours that are not permanent count as missing.
func readEntries() (entries, error) {
	have := wanted(nil)
	var routes []struct{ Dst, Gateway string }
	if err := query(&routes, "ip", "-j", "route", "show", "dev", TunnelName); err != nil {
		return have, err
	}
	for _, route := range routes {
		have.routes[route.Dst] = route.Gateway
	}
	var neighbours []struct{ Dst, Lladdr string }
	if err := query(&neighbours, "ip", "-4", "-j", "neigh", "show", "nud", "permanent", "dev", TunnelName); err != nil {
		return have, err
	}
	for _, neighbour := range neighbours {
		have.neighbours[neighbour.Dst] = neighbour.Lladdr
	}
	var forwarding []struct{ Mac, Dst string }
	if err := query(&forwarding, "bridge", "-j", "fdb", "show", "dev", TunnelName); err != nil {
		return have, err
	}
	for _, entry := range forwarding {
		have.forwarding[entry.Mac] = entry.Dst
	}
	return have, nil
}

// surplus lists the keys of a whose value b does not have, sorted.
func surplus(a, b map[string]string) []string {
	var keys []string
	for _, key := range sortedKeys(a) {
		if value, ok := b[key]; !ok || value != a[key] {
			keys = append(keys, key)
		}
	}
	return keys
}

func sortedKeys(m map[string]string) []string {
	return slices.Sorted(maps.Keys(m))
}
