package operator

import "errors"

// bpfEnabled is Installation.Spec.BPFEnabled.
func bpfEnabled(installation Object) bool {
	return installation.Text("spec", "calicoNetwork", "linuxDataplane") == "BPF"
}

func bootstrapEnabled(installation Object) bool {
	return installation.Text("spec", "calicoNetwork", "bpfNetworkBootstrap") == "Enabled"
}

func kubeProxyManaged(installation Object) bool {
	return installation.Text("spec", "calicoNetwork", "kubeProxyManagement") == "Enabled"
}

// fillDefaults sets what the administrator left open, as the real one does before
// it validates, and returns the patch that writes it to the Installation: nil when
// nothing was open.
func fillDefaults(installation Object, version Version) Object {
	network := Object{}
	fill := func(key string, value any) {
		if installation.Part("spec", "calicoNetwork")[key] == nil {
			installation.Ensure("spec", "calicoNetwork")[key] = value
			network[key] = value
		}
	}
	fill("linuxDataplane", "Iptables")
	fill("hostPorts", "Enabled")
	fill("bgp", "Enabled")
	fill("nodeAddressAutodetectionV4", map[string]any{"firstFound": true})
	if version.autoMode() {
		fill("bpfNetworkBootstrap", "Disabled")
		fill("kubeProxyManagement", "Disabled")
	}
	spec := Object{}
	if len(network) > 0 {
		spec["calicoNetwork"] = network
	}
	if installation.Text("spec", "variant") == "" {
		installation.Ensure("spec")["variant"] = "Calico"
		spec["variant"] = "Calico"
	}
	if len(spec) == 0 {
		return nil
	}
	return Object{"spec": spec}
}

// validateCustomResource says what the operator refuses to install.
func validateCustomResource(installation Object) error {
	if !bpfEnabled(installation) {
		return nil
	}
	network := installation.Part("spec", "calicoNetwork")
	if hasPool(network, ipv4) && network.Part("nodeAddressAutodetectionV4") == nil {
		return errors.New("spec.calicoNetwork.nodeAddressAutodetectionV4 is required for the BPF dataplane")
	}
	if hasPool(network, ipv6) && network.Part("nodeAddressAutodetectionV6") == nil {
		return errors.New("spec.calicoNetwork.nodeAddressAutodetectionV6 is required for the BPF dataplane")
	}
	if installation.Text("spec", "nonPrivileged") == "Enabled" {
		return errors.New("Non-privileged Calico is not supported when BPF dataplane is enabled")
	}
	return nil
}

type family func(cidr string) bool

func ipv6(cidr string) bool {
	for _, character := range cidr {
		if character == ':' {
			return true
		}
	}
	return false
}

func ipv4(cidr string) bool { return !ipv6(cidr) }

// hasPool: without pools named, the default pool is one of IPv4.
func hasPool(network Object, of family) bool {
	pools := network.List("ipPools")
	if len(pools) == 0 {
		return of("10.0.0.0/8")
	}
	for _, pool := range pools {
		if of(pool.Text("cidr")) {
			return true
		}
	}
	return false
}
