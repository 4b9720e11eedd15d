package hostnet

import (
	"encoding/json"
	"maps"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"kubectl-calico.invalid/standin/internal/recording"
)

// inNode holds what to do in the test process inside a node's namespace.
const inNode = "STANDIN_TEST_IN_NODE"

// one and two are the nodes of the test, named as in the recordings.
var (
	one = Peer{Block: "192.168.166.128/26", Node: "10.99.0.11", Address: "192.168.166.128", MAC: TunnelMAC("node1")}
	two = Peer{Block: "192.168.104.0/26", Node: "10.99.0.12", Address: "192.168.104.0", MAC: TunnelMAC("node2")}
)

func end(peer Peer) Tunnel {
	return Tunnel{Local: peer.Node, Address: peer.Address, MAC: peer.MAC, MTU: 1450}
}

func TestTunnelCarriesTraffic(t *testing.T) {
	switch os.Getenv(inNode) {
	case "":
		needsRoot(t)
	case "keep one":
		must(t, end(one).Keep([]Peer{two}))
		asRecorded(t)
		corrected(t)
		return
	case "keep two":
		must(t, end(two).Keep([]Peer{one}))
		return
	case "reach two":
		if err := reach(two); err != nil {
			t.Errorf("the other end does not answer: %v", err)
		}
		return
	case "miss two":
		if reach(two) == nil {
			t.Error("the other end answers, by another way than the tunnel")
		}
		return
	case "remove two":
		must(t, RemoveTunnel())
		must(t, RemoveTunnel())
		return
	}
	first, second := netns(t, "one"), netns(t, "two")
	must(t, IP("-n", first, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", second))
	for namespace, node := range map[string]Peer{first: one, second: two} {
		must(t, IP("-n", namespace, "link", "set", "lo", "up"))
		must(t, IP("-n", namespace, "addr", "add", node.Node+"/24", "dev", "eth0"))
		must(t, IP("-n", namespace, "link", "set", "eth0", "up"))
	}
	again(t, first, inNode+"=keep one")
	again(t, second, inNode+"=keep two")
	again(t, first, inNode+"=reach two")
	// The control: without the device at the other end nothing answers.
	again(t, second, inNode+"=remove two")
	again(t, first, inNode+"=miss two")
	if routes := show(t, "-n", second, "route", "show"); strings.Contains(routes, TunnelName) {
		t.Errorf("a route stays\n%s", routes)
	}
}

// reach connects to a port of which the other end says that nobody listens.
func reach(peer Peer) error {
	_, err := net.DialTimeout("tcp", peer.Address+":7", time.Second)
	if err != nil && strings.Contains(err.Error(), "connection refused") {
		return nil
	}
	return err
}

// asRecorded compares device, routes, neighbours and forwarding entries with
// those of node1 in the recording R02.
func asRecorded(t *testing.T) {
	r, err := recording.Open("R02")
	must(t, err)
	probe := string(r.Files["nodes/node1/probe.txt"])
	var recorded, ours []struct {
		Name    string         `json:"ifname"`
		Address string         `json:"address"`
		MTU     int            `json:"mtu"`
		Info    map[string]any `json:"linkinfo"`
	}
	must(t, json.Unmarshal([]byte(section(t, probe, "ip-link")), &recorded))
	must(t, query(&ours, "ip", "-j", "-d", "link", "show", "dev", TunnelName))
	found := false
	for _, link := range recorded {
		if link.Name != TunnelName {
			continue
		}
		found = true
		theirs, _ := json.Marshal(link.Info)
		mine, _ := json.Marshal(withoutNewer(ours[0].Info, link.Info))
		if string(theirs) != string(mine) || link.Address != ours[0].Address || link.MTU != ours[0].MTU {
			t.Errorf("recorded %s %d %s\nmade     %s %d %s", link.Address, link.MTU, theirs, ours[0].Address, ours[0].MTU, mine)
		}
	}
	if !found {
		t.Error("R02 has no " + TunnelName)
	}
	have, err := readEntries()
	must(t, err)
	if want := wanted([]Peer{two}); !maps.Equal(have.routes, want.routes) ||
		!maps.Equal(have.neighbours, want.neighbours) || !maps.Equal(have.forwarding, want.forwarding) {
		t.Errorf("have %v", have)
	}
	contains(t, section(t, probe, "ip-route"), `"dst":"192.168.104.0/26","gateway":"192.168.104.0","dev":"vxlan.calico","flags":["onlink"]`)
	contains(t, show(t, "-j", "route", "show"), `"dst":"192.168.104.0/26","gateway":"192.168.104.0","dev":"vxlan.calico","flags":["onlink"]`)
}

// withoutNewer drops what a newer iproute2 prints and the recording's did not.
func withoutNewer(ours, recorded map[string]any) map[string]any {
	mine, _ := ours["info_data"].(map[string]any)
	theirs, _ := recorded["info_data"].(map[string]any)
	for key := range mine {
		if _, ok := theirs[key]; !ok {
			delete(mine, key)
		}
	}
	return ours
}

// corrected breaks the device in the ways that Felix puts right.
func corrected(t *testing.T) {
	tunnel := end(one)
	for name, step := range map[string][]string{
		"down":    {"link", "set", TunnelName, "down"},
		"mtu":     {"link", "set", TunnelName, "mtu", "1300"},
		"address": {"addr", "add", "192.168.1.1/32", "dev", TunnelName},
		"route":   {"route", "del", two.Block},
		"gone":    {"link", "del", TunnelName},
	} {
		must(t, IP(step...))
		must(t, tunnel.Keep([]Peer{two}))
		addresses := show(t, "addr", "show", "dev", TunnelName)
		contains(t, addresses, "mtu 1450", "UP", one.Address+"/32")
		if strings.Contains(addresses, "192.168.1.1") {
			t.Errorf("%s: a foreign address stays\n%s", name, addresses)
		}
		contains(t, show(t, "route", "show"), two.Block+" via "+two.Address+" dev "+TunnelName+" onlink")
	}
	must(t, IP("link", "del", TunnelName))
	must(t, IP("link", "add", TunnelName, "type", "vxlan", "id", "5000", "dstport", "4790"))
	must(t, tunnel.Keep([]Peer{two}))
	contains(t, show(t, "-d", "link", "show", "dev", TunnelName), "id 4096", "dstport 4789")
	index := show(t, "-o", "link", "show", "dev", TunnelName)
	// What is right is not made anew, and a peer that is gone leaves nothing.
	must(t, tunnel.Keep(nil))
	if after := show(t, "-o", "link", "show", "dev", TunnelName); after != index {
		t.Errorf("another device\n%s%s", index, after)
	}
	have, err := readEntries()
	must(t, err)
	if len(have.routes)+len(have.neighbours)+len(have.forwarding) != 0 {
		t.Errorf("left: %v", have)
	}
	must(t, tunnel.Keep([]Peer{two}))
}

func TestTunnelAddressIsTheFirstOfTheBlock(t *testing.T) {
	if address, err := TunnelAddress("10.200.1.7/24"); err != nil || address != "10.200.1.0" {
		t.Errorf("%q, %v", address, err)
	}
	if address, err := TunnelAddress("nonsense"); err == nil {
		t.Errorf("%q of nonsense", address)
	}
}

// section is the body of one section of a recorded probe.
func section(t *testing.T, probe, id string) string {
	t.Helper()
	_, rest, found := strings.Cut(probe, "@@"+id+" ")
	_, body, lines := strings.Cut(rest, "\n")
	body, _, ended := strings.Cut(body, "\n@@end")
	if !found || !lines || !ended {
		t.Fatalf("the recorded probe has no section %s", id)
	}
	// `ip -j` prints one line for each family; IPv4 comes first.
	body, _, _ = strings.Cut(body, "\n")
	return body
}
