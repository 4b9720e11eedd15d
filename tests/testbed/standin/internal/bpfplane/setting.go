// Package bpfplane is the testbed's model of Felix's eBPF data plane on one node: when it is on, what of it is in the
// kernel, and that Services are translated for exactly as long.
package bpfplane

import (
	"strings"

	"kubectl-calico.invalid/standin/internal/kubeapi"
)

// Setting is what Felix is told about its eBPF data plane.
type Setting struct {
	Enabled bool
	// Cleanup lets Felix remove kube-proxy's rules.
	Cleanup bool
	// HealthzPort is where Felix answers in kube-proxy's place, 0 for nowhere.
	HealthzPort int
}

// SettingOf is what holds on a node: the environment before FelixConfiguration node.NODE, and that before default.
func SettingOf(lookup func(string) string, all []kubeapi.FelixConfiguration, node string) Setting {
	setting := Setting{Cleanup: true}
	for _, name := range []string{"default", "node." + node} {
		for _, one := range all {
			if one.Metadata.Name == name {
				setting.tell(one)
			}
		}
	}
	if told, ok := truth(lookup("FELIX_BPFENABLED")); ok {
		setting.Enabled = told
	}
	if told, ok := truth(lookup("FELIX_BPFKUBEPROXYIPTABLESCLEANUPENABLED")); ok {
		setting.Cleanup = told
	}
	return setting
}

func (s *Setting) tell(stored kubeapi.FelixConfiguration) {
	if told := stored.Spec.BPFEnabled; told != nil {
		s.Enabled = *told
	}
	if told := stored.Spec.BPFCleanup; told != nil {
		s.Cleanup = *told
	}
	if told := stored.Spec.BPFHealthzPort; told != nil {
		s.HealthzPort = *told
	}
}

// truth reads a flag as Felix does; what is neither yes nor no says nothing.
func truth(text string) (value, ok bool) {
	switch strings.ToLower(text) {
	case "true", "1", "yes", "y", "t":
		return true, true
	case "false", "0", "no", "n", "f":
		return false, true
	}
	return false, false
}

// changes names what differs, as Felix's log does: each of it makes Felix restart.
func (s Setting) changes(other Setting) []string {
	var keys []string
	if s.Enabled != other.Enabled {
		keys = append(keys, "BPFEnabled")
	}
	if s.Cleanup != other.Cleanup {
		keys = append(keys, "BPFKubeProxyIptablesCleanupEnabled")
	}
	if s.HealthzPort != other.HealthzPort {
		keys = append(keys, "BPFKubeProxyHealthzPort")
	}
	return keys
}
