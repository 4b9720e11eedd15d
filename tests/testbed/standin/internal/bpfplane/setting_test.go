package bpfplane

import (
	"slices"
	"strings"
	"testing"

	"kubectl-calico.invalid/standin/internal/kubeapi"
)

func TestEnvironmentWinsOverTheNodeAndTheNodeOverAll(t *testing.T) {
	const all, one, other = `{"metadata":{"name":"default"},"spec":{"bpfEnabled":true,"bpfKubeProxyIptablesCleanupEnabled":false}}`,
		`{"metadata":{"name":"node.node1"},"spec":{"bpfEnabled":false}}`, `{"metadata":{"name":"node.node2"},"spec":{"bpfEnabled":false}}`
	for _, c := range []struct {
		stored, environment string
		want                Setting
	}{
		{"", "", Setting{false, true, 0}},
		{all, "", Setting{true, false, 0}},
		{one + "," + all, "", Setting{false, false, 0}},
		{all + "," + other, "", Setting{true, false, 0}},
		{all, "false", Setting{false, false, 0}},
		{one, "True", Setting{true, true, 0}},
		{all, "maybe", Setting{true, false, 0}},
	} {
		lookup := func(name string) string {
			if name == "FELIX_BPFENABLED" {
				return c.environment
			}
			return ""
		}
		stored := decode[[]kubeapi.FelixConfiguration](t, "["+c.stored+"]")
		if got := SettingOf(lookup, stored, "node1"); got != c.want {
			t.Errorf("%s with %q: %+v", c.stored, c.environment, got)
		}
	}
}

func TestChangesAreNamedAsInTheLog(t *testing.T) {
	changes := Setting{true, true, 0}.changes(Setting{false, false, 10256})
	if !slices.Equal(changes, []string{"BPFEnabled", "BPFKubeProxyIptablesCleanupEnabled", "BPFKubeProxyHealthzPort"}) {
		t.Errorf("changes %q", changes)
	}
}

func TestFileSystemIsLookedFor(t *testing.T) {
	if isMounted("sysfs /sys sysfs rw 0 0\nbpf /run/calico/bpffs bpf rw 0 0\nx") || !isMounted("bpf /sys/fs/bpf bpf rw 0 0\n") {
		t.Error("the BPF file system is taken for another")
	}
}

const netShow = `[{"xdp":[],"tc":[{"devname":"eth0","ifindex":2,"kind":"clsact/ingress","name":"cali_tc_preambl:[*fsobj]","id":9},
	{"devname":"eth0","ifindex":2,"kind":"clsact/egress","name":"admin_tc","id":8}],"flow_dissector":[]}]`

func TestOnlyProgramsOfCalicoCountAsAttached(t *testing.T) {
	found, err := parseAttached([]byte(netShow))
	if err != nil || len(found) != 1 || !found[hook{"eth0", "ingress"}] {
		t.Errorf("found %v, %v", found, err)
	}
	if _, err := parseAttached([]byte("no JSON")); err == nil {
		t.Error("anything is taken for an answer")
	}
}

func TestDataInterfaces(t *testing.T) {
	for name, want := range map[string]bool{
		"eth0": true, "enp0s1": true, "vxlan.calico": true, "bond0": true, "lo": false, "em1": false, "kube-ipvs0": false, "docker0": false,
	} {
		if dataInterface.MatchString(name) != want {
			t.Errorf("%s: not %v", name, want)
		}
	}
}

func TestInterfaceStates(t *testing.T) {
	for _, c := range []struct {
		name    string
		isReady bool
		flags   string
	}{{"cali0123456789a", true, "workload,v4Ready,"}, {"cali0123456789a", false, "workload,"}, {"eth0", true, "v4Ready,host,"}, {"vxlan.calico", true, "v4Ready,vxlan,"}} {
		got := interfaceState(c.name, 5, c.isReady)
		if !strings.HasPrefix(got, "{flags: "+c.flags+" XDPPolicyV4: -1, IngressPolicyV4: 10, ") || !strings.HasSuffix(got, ", name: "+c.name+"}") {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

func TestToolWithoutMaps(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		// The real tool logs that, and exits with 0.
		{"nat dump", 0, `level=error msg="Failed to dump NAT maps" error="stat `},
		{"nat dump -6", 0, "cali_v6_nat_fe3: no such file or directory"},
		{"ifstate dump", 0, `msg="Failed to dump interface states map." error="failed to open map: stat `},
		{"nat dump --json", 1, "Error: unknown flag: --json"},
		{"nat dump -j", 1, `Error: unknown shorthand flag: "j" in -j`},
		{"cleanup", 1, `Error: unknown command "cleanup" for "calico-bpf"`},
		{"connect-time clean", 0, ""},
	} {
		var out, err strings.Builder
		code := Tool{Out: &out, Err: &err, Pins: t.TempDir(), State: t.TempDir() + "/none"}.Run(strings.Fields(c.args))
		if code != c.code || out.String() != "" || !strings.Contains(err.String(), c.says) {
			t.Errorf("%s: %d, says %q", c.args, code, err.String())
		}
	}
}
