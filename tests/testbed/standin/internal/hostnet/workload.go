package hostnet

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
)

const (
	// hostMAC is what every host side of Calico's veth pairs carries.
	hostMAC = "ee:ee:ee:ee:ee:ee"
	// gateway is the link-local next hop in every workload; the host answers for
	// it by proxy ARP.
	gateway = "169.254.1.1"
)

// VethName is the host side's name for a pod: `cali` and the first eleven hex
// digits of the SHA-1 of NAMESPACE.POD, as Calico makes it.
func VethName(namespace, pod string) string {
	sum := sha1.Sum([]byte(namespace + "." + pod))
	return "cali" + hex.EncodeToString(sum[:])[:11]
}

// Workload is the wiring of one sandbox.
type Workload struct {
	// Host is the name of the host side, see VethName.
	Host string
	// Netns is the path of the sandbox's network namespace.
	Netns string
	// Interface is the name inside the sandbox, normally eth0.
	Interface string
	// Address is the workload's IPv4 address without a prefix length.
	Address string
	// MTU is in bytes.
	MTU int
}

// Connect makes the veth pair, the address and the routes on both sides. A host
// side left by an earlier attempt for the same pod is replaced.
func (w Workload) Connect() error {
	netns, err := netnsName(w.Netns)
	if err != nil {
		return err
	}
	if linkExists(w.Host) {
		if err := IP("link", "del", w.Host); err != nil {
			return err
		}
	}
	mtu := strconv.Itoa(w.MTU)
	steps := [][]string{
		{"link", "add", w.Host, "mtu", mtu, "address", hostMAC, "type", "veth", "peer", "name", w.Interface, "mtu", mtu, "netns", netns},
		{"-n", netns, "link", "set", w.Interface, "up"},
		{"-n", netns, "addr", "add", w.Address + "/32", "dev", w.Interface},
		{"-n", netns, "route", "add", gateway, "dev", w.Interface, "scope", "link"},
		{"-n", netns, "route", "add", "default", "via", gateway, "dev", w.Interface},
		{"link", "set", w.Host, "up"},
		{"route", "replace", w.Address + "/32", "dev", w.Host, "scope", "link"},
	}
	for _, step := range steps {
		if err := IP(step...); err != nil {
			return err
		}
	}
	// Without the delay of 0 the first answer by proxy comes after most of a second.
	return errors.Join(
		sysctl("net/ipv4/neigh/"+w.Host+"/proxy_delay", "0"),
		sysctl("net/ipv4/conf/"+w.Host+"/proxy_arp", "1"),
		sysctl("net/ipv4/conf/"+w.Host+"/forwarding", "1"),
	)
}

// Disconnect removes the veth pair; the address and the host's route go with it.
// Nothing there is success.
func Disconnect(host string) error {
	if !linkExists(host) {
		return nil
	}
	if err := IP("link", "del", host); err != nil && linkExists(host) {
		return fmt.Errorf("remove the workload's link: %w", err)
	}
	return nil
}

func linkExists(name string) bool {
	_, err := os.Stat("/sys/class/net/" + name)
	return err == nil
}
