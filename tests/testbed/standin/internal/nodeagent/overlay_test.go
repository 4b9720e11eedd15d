package nodeagent

import (
	"encoding/json"
	"slices"
	"testing"

	"kubectl-calico.invalid/standin/internal/hostnet"
	"kubectl-calico.invalid/standin/internal/kubeapi"
)

func TestPeersAreTheOtherNodesWithABlockAndATunnel(t *testing.T) {
	var nodes []kubeapi.Node
	must(t, json.Unmarshal([]byte(`[
		{"metadata":{"name":"node1","annotations":{"projectcalico.org/IPv4VXLANTunnelAddr":"10.200.0.0"}},"spec":{"podCIDR":"10.200.0.0/24"},"status":{"addresses":[{"type":"Hostname","address":"node1"},{"type":"InternalIP","address":"10.99.0.11"}]}},
		{"metadata":{"name":"node2","annotations":{"projectcalico.org/IPv4VXLANTunnelAddr":"10.200.1.0"}},"spec":{"podCIDR":"10.200.1.0/24"},"status":{"addresses":[{"type":"InternalIP","address":"10.99.0.12"}]}},
		{"metadata":{"name":"node3"},"spec":{"podCIDR":"10.200.2.0/24"},"status":{"addresses":[{"type":"InternalIP","address":"10.99.0.13"}]}},
		{"metadata":{"name":"node4","annotations":{"projectcalico.org/IPv4VXLANTunnelAddr":"10.200.3.0"}},"spec":{},"status":{"addresses":[{"type":"InternalIP","address":"10.99.0.14"}]}}]`), &nodes))
	seen := overlayOf(nodes, "node2")
	peers := []hostnet.Peer{{Block: "10.200.0.0/24", Node: "10.99.0.11", Address: "10.200.0.0", MAC: "66:f9:37:c3:7e:94"}}
	tunnel := hostnet.Tunnel{Local: "10.99.0.12", Address: "10.200.1.0", MAC: "66:2d:bf:44:a6:8b", MTU: 1450}
	if seen.block != "10.200.1.0/24" || seen.tunnel != tunnel || !slices.Equal(seen.peers, peers) || !seen.starting {
		t.Errorf("seen %+v", seen)
	}
}

func TestFelixKeepsTheDeviceWhilePoolsOrItsSettingAskForIt(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		mode    string
		setting *bool
		want    bool
	}{
		{"Always", nil, true}, {"CrossSubnet", nil, true}, {"Never", nil, false}, {"", nil, false},
		{"Always", &no, false}, {"Never", &yes, true},
	} {
		var pool kubeapi.IPPool
		var felix kubeapi.FelixConfiguration
		pool.Spec.VXLANMode, felix.Spec.VXLANEnabled = c.mode, c.setting
		if got := vxlanEnabled([]kubeapi.IPPool{pool}, felix); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
