package hostnet

import (
	"crypto/sha1"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// TunnelName is the VXLAN device of Calico's overlay for IPv4.
const TunnelName = "vxlan.calico"

// Calico's defaults for the overlay (FelixConfiguration vxlanVNI and vxlanPort).
const (
	tunnelVNI  = 4096
	tunnelPort = 4789
)

// Tunnel is the node's own end of the overlay.
type Tunnel struct {
	// Local is the node's address, which encapsulated packets carry.
	Local string
	// Address is the device's own, see TunnelAddress.
	Address string
	// MAC is the device's hardware address, see TunnelMAC.
	MAC string
	// MTU is in bytes.
	MTU int
}

// Peer is another node's end.
type Peer struct {
	// Block holds the pods of that node, as a prefix.
	Block string
	// Node is that node's address, to which packets are encapsulated.
	Node string
	// Address and MAC are those of its device.
	Address string
	MAC     string
}

// TunnelAddress is the first address of a node's block, which no pod gets.
func TunnelAddress(block string) (string, error) {
	prefix, err := netip.ParsePrefix(block)
	if err != nil {
		return "", fmt.Errorf("no address for %s in block %q: %w", TunnelName, block, err)
	}
	return prefix.Masked().Addr().String(), nil
}

// TunnelMAC is the hardware address that Felix gives to a node's device, so that
// every node can compute it: the letter f and the first five bytes of the SHA-1
// of the node's name.
func TunnelMAC(node string) string {
	sum := sha1.Sum([]byte(node))
	return net.HardwareAddr(append([]byte("f"), sum[:5]...)).String()
}

// Keep makes the device what it has to be, and its routes, neighbours and
// forwarding entries those of the peers. What is right already is not touched,
// and a hardware address is never corrected: Felix does that only since v3.30.
func (t Tunnel) Keep(peers []Peer) error {
	if err := t.keepDevice(); err != nil {
		return err
	}
	return keepPeers(peers)
}

// RemoveTunnel deletes the device; its routes and entries go with it. Nothing
// there is success.
func RemoveTunnel() error { return Disconnect(TunnelName) }

// device is what `ip -j -d link show` and `ip -j addr show` print of a VXLAN link.
type device struct {
	MTU   int      `json:"mtu"`
	Flags []string `json:"flags"`
	Info  struct {
		Kind string `json:"info_kind"`
		Data struct {
			VNI      int    `json:"id"`
			Local    string `json:"local"`
			Parent   string `json:"link"`
			Port     int    `json:"port"`
			Learning bool   `json:"learning"`
		} `json:"info_data"`
	} `json:"linkinfo"`
	Addresses []struct {
		Family string `json:"family"`
		Local  string `json:"local"`
		Length int    `json:"prefixlen"`
	} `json:"addr_info"`
}

func (t Tunnel) keepDevice() error {
	parent, err := interfaceWith(t.Local)
	if err != nil {
		return err
	}
	found, err := t.find()
	if err != nil {
		return err
	}
	if found != nil && !t.fits(*found, parent) {
		if err := RemoveTunnel(); err != nil {
			return err
		}
		found = nil
	}
	if found == nil {
		return t.add(parent)
	}
	return t.correct(*found)
}

func (t Tunnel) find() (*device, error) {
	if !linkExists(TunnelName) {
		return nil, nil
	}
	var found []device
	if err := query(&found, "ip", "-j", "-d", "addr", "show", "dev", TunnelName); err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%d links are called %s", len(found), TunnelName)
	}
	return &found[0], nil
}

// fits is false for a device that only a new one can replace.
func (t Tunnel) fits(d device, parent string) bool {
	data := d.Info.Data
	return d.Info.Kind == "vxlan" && data.VNI == tunnelVNI && data.Port == tunnelPort &&
		data.Local == t.Local && data.Parent == parent && !data.Learning
}

func (t Tunnel) add(parent string) error {
	steps := [][]string{
		{"link", "add", TunnelName, "address", t.MAC, "mtu", strconv.Itoa(t.MTU), "type", "vxlan",
			"id", strconv.Itoa(tunnelVNI), "local", t.Local, "dev", parent, "dstport", strconv.Itoa(tunnelPort), "nolearning"},
		{"addr", "add", t.Address + "/32", "dev", TunnelName},
		{"link", "set", TunnelName, "up"},
	}
	return inOrder(steps)
}

// correct puts right what can be changed on the device.
func (t Tunnel) correct(d device) error {
	var steps [][]string
	present, up := false, false
	for _, address := range d.Addresses {
		if address.Family != "inet" {
			continue
		}
		if address.Local == t.Address && address.Length == 32 {
			present = true
			continue
		}
		steps = append(steps, []string{"addr", "del", fmt.Sprintf("%s/%d", address.Local, address.Length), "dev", TunnelName})
	}
	for _, flag := range d.Flags {
		up = up || flag == "UP"
	}
	if !present {
		steps = append(steps, []string{"addr", "add", t.Address + "/32", "dev", TunnelName})
	}
	if d.MTU != t.MTU {
		steps = append(steps, []string{"link", "set", TunnelName, "mtu", strconv.Itoa(t.MTU)})
	}
	if !up {
		steps = append(steps, []string{"link", "set", TunnelName, "up"})
	}
	return inOrder(steps)
}

func inOrder(steps [][]string) error {
	for _, step := range steps {
		if err := IP(step...); err != nil {
			return err
		}
	}
	return nil
}

// interfaceWith names the link that has this address.
func interfaceWith(address string) (string, error) {
	links, err := net.Interfaces()
	if err != nil {
		return "", fmt.Errorf("list the links: %w", err)
	}
	for _, link := range links {
		addresses, err := link.Addrs()
		if err != nil {
			return "", fmt.Errorf("list the addresses of %s: %w", link.Name, err)
		}
		for _, a := range addresses {
			if network, ok := a.(*net.IPNet); ok && network.IP.String() == address {
				return link.Name, nil
			}
		}
	}
	return "", fmt.Errorf("no link has the node's address %s", address)
}
