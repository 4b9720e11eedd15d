package bpfplane

import (
	"encoding/json"
	"fmt"
	"net"
	"os"

	"kubectl-calico.invalid/standin/internal/atomicfile"
)

// StateFile holds what the real maps would: it is the node's, and outlives calico-node like them.
const StateFile = "/var/run/calico/standin-bpf.json"

// state is what the maps would tell.
type state struct {
	Entries []Entry
	// NodeAddresses are those at which node ports are reached.
	NodeAddresses []string
}

func readState(path string) (state, error) {
	var s state
	data, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(data, &s)
}

func (s state) write(path string) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the state: %w", err)
	}
	return atomicfile.Write(path, data, 0o600)
}

// nodeAddresses are the IPv4 addresses of the node itself.
func nodeAddresses() []string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var found []string
	for _, one := range all {
		if network, ok := one.(*net.IPNet); ok && network.IP.To4() != nil && !network.IP.IsLoopback() {
			found = append(found, network.IP.String())
		}
	}
	return found
}
