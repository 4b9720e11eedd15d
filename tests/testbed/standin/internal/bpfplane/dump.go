package bpfplane

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Tool is `calico-node -bpf`: what a person asks the data plane with.
type Tool struct {
	Out, Err io.Writer
	// Pins and State are pinFolder and StateFile, but for tests.
	Pins, State string
}

// NewTool asks the node's own data plane.
func NewTool(out, err io.Writer) Tool {
	return Tool{Out: out, Err: err, Pins: pinFolder, State: StateFile}
}

// Run carries out one command and returns the exit code. A map that cannot be opened is logged, and the code is 0 all the
// same, as with the real one: its dump commands return no error.
func (t Tool) Run(args []string) int {
	isIPv6 := false
	words := slices.DeleteFunc(slices.Clone(args), func(word string) bool {
		isFlag := word == "-6" || word == "--ipv6"
		isIPv6 = isIPv6 || isFlag
		return isFlag
	})
	for _, word := range words {
		if strings.HasPrefix(word, "-") {
			return t.refuse(unknownFlag(word))
		}
	}
	switch strings.Join(words, " ") {
	case "nat dump":
		t.report("Failed to dump NAT maps", t.dumpNAT(isIPv6))
	case "ifstate dump":
		t.report("Failed to dump interface states map.", t.dumpInterfaces())
	case "connect-time clean":
	case "version":
		fmt.Fprintln(t.Out, "v3.28.4")
	default:
		return t.refuse(fmt.Sprintf("unknown command %q for \"calico-bpf\"", strings.Join(words, " ")))
	}
	return 0
}

func unknownFlag(word string) string {
	if name, isLong := strings.CutPrefix(word, "--"); isLong {
		name, _, _ = strings.Cut(name, "=")
		return "unknown flag: --" + name
	}
	return fmt.Sprintf("unknown shorthand flag: %q in %s", word[1:2], word)
}

func (t Tool) refuse(why string) int {
	fmt.Fprintf(t.Err, "Error: %s\nRun 'calico-bpf --help' for usage.\n", why)
	return 1
}

func (t Tool) report(message string, err error) {
	if err != nil {
		fmt.Fprintf(t.Err, "time=%q level=error msg=%q error=%q\n", time.Now().UTC().Format(time.RFC3339), message, err)
	}
}

// open fails as the real one does where there is no such map.
func (t Tool) open(name string) error {
	_, err := os.Stat(filepath.Join(t.Pins, name))
	return err
}

func (t Tool) dumpNAT(isIPv6 bool) error {
	if isIPv6 {
		return t.open("cali_v6_nat_fe3")
	}
	if err := t.open(natFrontends); err != nil {
		return err
	}
	known, err := readState(t.State)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for id, entry := range known.Entries {
		entry.dump(t.Out, id, known.NodeAddresses)
	}
	return nil
}

func (e Entry) dump(out io.Writer, id int, nodeAddresses []string) {
	local, number := 0, map[string]int{"tcp": 6, "udp": 17}[e.Protocol]
	for _, backend := range e.Backends {
		if backend.Local {
			local++
		}
	}
	frontend := func(address string, port int) {
		fmt.Fprintf(out, "%s port %d proto %d id %d count %d local %d\n", address, port, number, id, len(e.Backends), local)
		for i, backend := range e.Backends {
			fmt.Fprintf(out, "\t%d:%d\t %s\n", id, i, net.JoinHostPort(backend.Address, fmt.Sprint(backend.Port)))
		}
	}
	for _, address := range e.Addresses {
		frontend(address, e.Port)
	}
	if e.NodePort != 0 {
		for _, address := range append(slices.Clone(nodeAddresses), anyNode) {
			frontend(address, e.NodePort)
		}
	}
}

// dumpInterfaces tells of the devices on which programs are in both directions.
func (t Tool) dumpInterfaces() error {
	if err := t.open(interfaces); err != nil {
		return fmt.Errorf("failed to open map: %w", err)
	}
	have, err := attached()
	if err != nil {
		return err
	}
	names, err := devices()
	if err != nil {
		return err
	}
	for _, name := range names {
		device, err := net.InterfaceByName(name)
		if err != nil || !have[hook{name, "ingress"}] || !have[hook{name, "egress"}] {
			continue
		}
		fmt.Fprintf(t.Out, "%5d : %s\n", device.Index, interfaceState(name, device.Index, !exists(DirtyFile)))
	}
	return nil
}

// interfaceState is one value of the map. The numbers of policies are made up, but not negative: there is a policy.
func interfaceState(name string, index int, isReady bool) string {
	flags := map[bool]string{true: "workload,", false: ""}[strings.HasPrefix(name, "cali")]
	if isReady {
		flags += "v4Ready,"
	}
	switch {
	case name == "vxlan.calico":
		flags += "vxlan,"
	case !strings.HasPrefix(name, "cali"):
		flags += "host,"
	}
	return fmt.Sprintf("{flags: %s XDPPolicyV4: -1, IngressPolicyV4: %d, EgressPolicyV4: %d, XDPPolicyV6: -1, IngressPolicyV6: -1, "+
		"EgressPolicyV6: -1, IngressFilter: -1, EgressFilter: -1, name: %s}", flags, 2*index, 2*index+1, name)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
