package hostnet

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// The wiring is tried in a network namespace that stands for the host, so that
// the machine's own network is never touched; it needs root on Linux.
const (
	// inHost holds the pod's namespace in the test process inside the host's.
	inHost = "STANDIN_TEST_IN_HOST"
	// inPod holds the address to reach in the test process inside the pod's.
	inPod = "STANDIN_TEST_IN_POD"
)

func TestWiringCarriesTraffic(t *testing.T) {
	if address := os.Getenv(inPod); address != "" {
		conn, err := net.DialTimeout("tcp", address, 5*time.Second)
		must(t, err)
		must(t, conn.Close())
		return
	}
	if os.Getenv(inHost) != "" {
		wireAndUnwire(t)
		return
	}
	needsRoot(t)
	host, pod := netns(t, "host"), netns(t, "pod")
	again(t, host, inHost+"="+pod)
}

// wireAndUnwire runs inside the namespace of the host.
func wireAndUnwire(t *testing.T) {
	w := Workload{
		Host: VethName("shop", "cart-1"), Netns: "/run/netns/" + os.Getenv(inHost),
		Interface: "eth0", Address: "10.200.1.1", MTU: 1450,
	}
	must(t, IP("link", "set", "lo", "up"))
	// Proxy ARP answers for the gateway only if the host has a route to it by
	// another interface: on a node that is the default route.
	must(t, IP("link", "add", "uplink", "type", "veth", "peer", "name", "wire"))
	must(t, IP("addr", "add", "10.99.0.12/24", "dev", "uplink"))
	must(t, IP("link", "set", "uplink", "up"))
	must(t, IP("link", "set", "wire", "up"))
	must(t, IP("route", "add", "default", "via", "10.99.0.1"))
	must(t, EnableForwarding())
	must(t, HoldBlock("10.200.1.0/24"))
	// The second time replaces what the first left, as after a failed ADD.
	must(t, w.Connect())
	must(t, IP("-n", os.Getenv(inHost), "link", "del", "eth0"))
	must(t, w.Connect())
	routes := show(t, "route", "show")
	if !strings.Contains(routes, "10.200.1.1 dev "+w.Host+" scope link") {
		t.Errorf("the host's routes\n%s", routes)
	}
	if link := show(t, "link", "show", w.Host); !strings.Contains(link, hostMAC) || !strings.Contains(link, "mtu 1450") {
		t.Errorf("the host side %s", link)
	}
	// The workload reaches its host, by way of the link-local gateway.
	listener, err := net.Listen("tcp", "10.99.0.12:0")
	must(t, err)
	again(t, os.Getenv(inHost), inPod+"="+listener.Addr().String())
	must(t, listener.Close())
	must(t, Disconnect(w.Host))
	must(t, Disconnect(w.Host))
	if routes := show(t, "route", "show"); strings.Contains(routes, "10.200.1.1 ") {
		t.Errorf("a route stays\n%s", routes)
	}
}

func TestForeignNamespacesAreRefused(t *testing.T) {
	if name, err := netnsName("/proc/1/ns/net"); err == nil {
		t.Errorf("taken for %s", name)
	}
	if name, err := netnsName("/var/run/netns/cni-1"); err != nil || name != "cni-1" {
		t.Errorf("%q, %v", name, err)
	}
}
