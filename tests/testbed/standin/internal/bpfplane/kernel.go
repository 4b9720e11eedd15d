package bpfplane

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

const (
	// pinFolder is where Felix pins its maps.
	pinFolder = "/sys/fs/bpf/tc/globals"
	// object holds the program that is attached; the image has it where the real one has its own.
	object = "/usr/lib/calico/bpf/cali_tc_preamble.o"
	// program is its name, as far as the kernel keeps it.
	program = "cali_tc_preambl"
	// nft lies where no PATH leads: the real image has none.
	nft = "/usr/lib/testbed/nft"
)

// bpfMap is a map as Felix 3.28 pins it; sizes are smaller, and nothing is in them.
type bpfMap struct {
	name, kind  string
	key, value  int
	noPrealloc  bool
	mostEntries int
}

// natFrontends is what `nat dump` opens first, interfaces what `ifstate dump` opens.
const (
	natFrontends = "cali_v4_nat_fe3"
	interfaces   = "cali_iface4"
)

var bpfMaps = []bpfMap{
	{natFrontends, "lpm_trie", 16, 16, true, 1024},
	{"cali_v4_nat_be", "hash", 8, 8, true, 1024},
	{"cali_v4_nat_aff", "lru_hash", 24, 24, false, 1024},
	{"cali_v4_ct3", "hash", 16, 88, true, 1024},
	{"cali_v4_routes", "lpm_trie", 8, 8, true, 1024},
	{"cali_v4_ip_sets", "lpm_trie", 20, 4, true, 1024},
	{"cali_v4_arp2", "lru_hash", 8, 12, false, 1024},
	{"cali_v4_fsafes2", "lpm_trie", 12, 4, true, 1024},
	{"cali_v4_srmsg", "lru_hash", 16, 8, false, 1024},
	{interfaces, "hash", 4, 64, true, 1000},
	{"cali_state4", "percpu_array", 4, 512, false, 2},
	{"cali_counters3", "percpu_hash", 8, 160, true, 1024},
	{"cali_progs_ing2", "prog_array", 4, 4, false, 64},
	{"cali_progs_egr2", "prog_array", 4, 4, false, 64},
	{"cali_jump_ing2", "prog_array", 4, 4, false, 64},
	{"cali_jump_egr2", "prog_array", 4, 4, false, 64},
}

// dataInterface is 3.28's default of bpfDataIfacePattern, as far as a node here can have such devices.
var dataInterface = regexp.MustCompile(`^((en|wl|ww|sl|ib)[Popsx].*|(eth|wlan|wwan|bond).*|vxlan\.calico$)`)

func run(input, name string, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// pinMaps makes the maps that are not there yet.
func pinMaps() error {
	if err := os.MkdirAll(pinFolder, 0o700); err != nil {
		return err
	}
	for _, m := range bpfMaps {
		path := filepath.Join(pinFolder, m.name)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		args := []string{"map", "create", path, "type", m.kind, "key", fmt.Sprint(m.key), "value", fmt.Sprint(m.value),
			"entries", fmt.Sprint(m.mostEntries), "name", m.name[:min(15, len(m.name))]}
		if m.noPrealloc {
			// BPF_F_NO_PREALLOC, without which the kernel makes no such trie.
			args = append(args, "flags", "1")
		}
		if _, err := run("", "bpftool", args...); err != nil {
			return err
		}
	}
	return nil
}

// hook is one direction of one device.
type hook struct{ device, direction string }

// attached asks the kernel where programs of Calico's are.
func attached() (map[hook]bool, error) {
	text, err := run("", "bpftool", "--json", "net", "show")
	if err != nil {
		return nil, err
	}
	return parseAttached(text)
}

func parseAttached(text []byte) (map[hook]bool, error) {
	var all []struct {
		TC []struct{ Devname, Kind, Name string } `json:"tc"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("decode the answer of bpftool net show: %w", err)
	}
	found := map[hook]bool{}
	for _, one := range all {
		for _, filter := range one.TC {
			direction, isHook := strings.CutPrefix(filter.Kind, "clsact/")
			if isHook && strings.HasPrefix(filter.Name, "cali_") {
				found[hook{filter.Devname, direction}] = true
			}
		}
	}
	return found, nil
}

// devices are those that Felix handles: workloads', and those that lead out of the node.
func devices() ([]string, error) {
	entries, err := os.ReadDir("/sys/class/net")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if name := entry.Name(); strings.HasPrefix(name, "cali") || dataInterface.MatchString(name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// attachAll attaches the program wherever it is missing, and says whether it did.
func attachAll() (bool, error) {
	names, err := devices()
	if err != nil {
		return false, err
	}
	have, err := attached()
	if err != nil {
		return false, err
	}
	var missing []hook
	for _, name := range names {
		for _, direction := range []string{"ingress", "egress"} {
			if at := (hook{name, direction}); !have[at] {
				missing = append(missing, at)
			}
		}
	}
	if len(missing) == 0 {
		return false, nil
	}
	return true, attach(missing)
}

// attach pins the program only for as long as tc needs to find it: Felix's programs have no pins either.
func attach(hooks []hook) error {
	pin := filepath.Join(pinFolder, program)
	if err := os.Remove(pin); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if _, err := run("", "bpftool", "prog", "load", object, pin, "type", "classifier"); err != nil {
		return err
	}
	defer os.Remove(pin)
	var failed error
	for _, at := range hooks {
		// It may be there already, and a device may have gone: the filter tells.
		_, _ = run("", "tc", "qdisc", "add", "dev", at.device, "clsact")
		_, err := run("", "tc", "filter", "replace", "dev", at.device, at.direction, "prio", "49152", "handle", "1",
			"bpf", "direct-action", "object-pinned", pin)
		if _, gone := os.Stat("/sys/class/net/" + at.device); gone == nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// detachAll deletes, as Felix does, the whole clsact qdisc where it finds a program of its own, and then its pins.
func detachAll() error {
	have, err := attached()
	if err != nil {
		return err
	}
	for at := range have {
		if at.direction == "ingress" || !have[hook{at.device, "ingress"}] {
			_, deleted := run("", "tc", "qdisc", "del", "dev", at.device, "clsact")
			err = errors.Join(err, deleted)
		}
	}
	pins, globbed := filepath.Glob(filepath.Join(pinFolder, "cali_*"))
	err = errors.Join(err, globbed)
	for _, pin := range pins {
		err = errors.Join(err, os.Remove(pin))
	}
	return err
}

// translate gives the kernel other entries, or none.
func translate(entries []Entry, pools []string) error {
	_, err := run(ruleset(entries, pools), nft, "-f", "-")
	return err
}

func stopTranslating() error {
	_, err := run(fmt.Sprintf("table ip %[1]s\ndelete table ip %[1]s\n", Table), nft, "-f", "-")
	return err
}

// removeProxyRules does once what Felix does whenever it sees such rules. IPv4 only, as FELIX_IPV6SUPPORT is off.
func removeProxyRules() error {
	saved, err := run("", "iptables-save")
	if err != nil {
		return err
	}
	text := cleanup(string(saved))
	if text == "" {
		return nil
	}
	_, err = run(text, "iptables-restore", "--noflush", "--wait", "5")
	return err
}
