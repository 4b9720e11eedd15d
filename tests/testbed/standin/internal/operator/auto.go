package operator

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// DisableKubeProxyKey is the label that no node has: as nodeSelector it leaves
// kube-proxy without pods.
const DisableKubeProxyKey = "operator.tigera.io/disable-kube-proxy"

// Bootstrap is what the init container is told of the Service kubernetes, so that
// calico-node may keep the ClusterIP.
type Bootstrap struct{ ServiceIPsPorts, APIServerEndpoints string }

// bpfBootstrapRequirements: an error returns before anything is rendered. That a
// rollback which only patches linuxDataplane ends in the first of them is the
// real one's behaviour.
func bpfBootstrapRequirements(installation, endpointConfigMap, service Object, slices []Object) (*Bootstrap, error) {
	if !bootstrapEnabled(installation) {
		return nil, nil
	}
	if !bpfEnabled(installation) {
		return nil, errors.New("bpfNetworkBootstrap is enabled but linuxDataplane is not set to BPF")
	}
	if endpointConfigMap != nil {
		return nil, errors.New("kubernetes service endpoint is defined by the kubernetes-service-endpoints ConfigMap")
	}
	if service == nil {
		return nil, errors.New("failed to get kubernetes service")
	}
	if len(slices) == 0 {
		return nil, errors.New("failed to get kubernetes endpoint slices")
	}
	return &Bootstrap{strings.Join(frontends(service), ","), strings.Join(backends(slices), ",")}, nil
}

func frontends(service Object) []string {
	var all []string
	for _, port := range service.List("spec", "ports") {
		all = append(all, join(service.Text("spec", "clusterIP"), port.Number("port")))
	}
	return all
}

func backends(slices []Object) []string {
	var all []string
	for _, slice := range slices {
		for _, endpoint := range slice.List("endpoints") {
			addresses, _ := endpoint["addresses"].([]any)
			for _, address := range addresses {
				for _, port := range slice.List("ports") {
					all = append(all, join(fmt.Sprint(address), port.Number("port")))
				}
			}
		}
	}
	return all
}

func join(host string, port int64) string { return net.JoinHostPort(host, fmt.Sprint(port)) }

// validateDaemonSetUnmanaged: a kube-proxy that somebody else looks after is left alone.
func validateDaemonSetUnmanaged(daemonSet Object) error {
	for _, label := range []string{"app.kubernetes.io/managed-by", "addonmanager.kubernetes.io/mode"} {
		if value := daemonSet.Text("metadata", "labels", label); value != "" {
			return fmt.Errorf("kube-proxy is managed by an external tool: label %s=%s", label, value)
		}
	}
	const tracking = "argocd.argoproj.io/tracking-id"
	if value := daemonSet.Text("metadata", "annotations", tracking); value != "" {
		return fmt.Errorf("kube-proxy is managed by an external tool: annotation %s=%s", tracking, value)
	}
	return nil
}

// kubeProxyPatch stops kube-proxy once eBPF is on and lets it run once eBPF is
// off; nil when it is as it should be.
func kubeProxyPatch(daemonSet, felix Object) Object {
	const key = DisableKubeProxyKey
	stopped := daemonSet.Text("spec", "template", "spec", "nodeSelector", key) == "true"
	on := isTrue(felix.Bool("spec", "bpfEnabled"))
	if stopped == on {
		return nil
	}
	var value any
	if on {
		value = "true"
	}
	selector := Object{"nodeSelector": Object{key: value}}
	return Object{"spec": Object{"template": Object{"spec": selector}}}
}
