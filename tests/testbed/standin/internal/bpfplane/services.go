package bpfplane

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"kubectl-calico.invalid/standin/internal/kubeapi"
)

// serviceNameLabel says to which Service an EndpointSlice belongs, whoever wrote it.
const serviceNameLabel = "kubernetes.io/service-name"

// anyNode stands in the NAT table for the node ports of all nodes.
const anyNode = "255.255.255.255"

// Backend is a place that serves.
type Backend struct {
	Address string
	Port    int
	// Local is whether it is on this node.
	Local bool
}

// Entry is one port of one Service, with all that it is reached by.
type Entry struct {
	Protocol string
	// Addresses are its ClusterIP and external addresses, which are reached at Port.
	Addresses []string
	Port      int
	// NodePort is 0 where there is none.
	NodePort int
	Backends []Backend
}

// EntriesOf joins Services with their endpoints, IPv4 only, in a stable order. Services without a ClusterIP have none.
func EntriesOf(services []kubeapi.Service, endpoints []kubeapi.EndpointSlice, node string) []Entry {
	var entries []Entry
	for _, service := range services {
		addresses := addressesOf(service)
		if service.Spec.Type == "ExternalName" || len(addresses) == 0 {
			continue
		}
		for _, port := range service.Spec.Ports {
			protocol := strings.ToLower(cmp.Or(port.Protocol, "TCP"))
			if protocol != "tcp" && protocol != "udp" {
				continue
			}
			entries = append(entries, Entry{
				Protocol: protocol, Addresses: addresses, Port: port.Port, NodePort: port.NodePort,
				Backends: backendsOf(service, port, endpoints, node),
			})
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(strings.Compare(a.Addresses[0], b.Addresses[0]), cmp.Compare(a.Port, b.Port),
			strings.Compare(a.Protocol, b.Protocol))
	})
	return entries
}

func addressesOf(service kubeapi.Service) []string {
	clusterIPs := service.Spec.ClusterIPs
	if len(clusterIPs) == 0 {
		clusterIPs = []string{service.Spec.ClusterIP}
	}
	own := slices.DeleteFunc(slices.Clone(clusterIPs), isNotIPv4)
	if len(own) == 0 {
		return nil
	}
	return append(own, slices.DeleteFunc(slices.Clone(service.Spec.ExternalIPs), isNotIPv4)...)
}

func isNotIPv4(text string) bool {
	address, err := netip.ParseAddr(text)
	return err != nil || !address.Is4()
}

func backendsOf(service kubeapi.Service, port kubeapi.ServicePort, all []kubeapi.EndpointSlice, node string) []Backend {
	var found []Backend
	for _, slice := range all {
		isOurs := slice.Metadata.Namespace == service.Metadata.Namespace &&
			slice.Metadata.Labels[serviceNameLabel] == service.Metadata.Name
		if !isOurs || slice.AddressType != "IPv4" {
			continue
		}
		for _, target := range slice.Ports {
			if target.Name != port.Name || cmp.Or(target.Protocol, "TCP") != cmp.Or(port.Protocol, "TCP") || target.Port == 0 {
				continue
			}
			found = append(found, places(slice, target.Port, node)...)
		}
	}
	slices.SortFunc(found, func(a, b Backend) int {
		return cmp.Or(strings.Compare(a.Address, b.Address), cmp.Compare(a.Port, b.Port))
	})
	return slices.Compact(found)
}

func places(slice kubeapi.EndpointSlice, port int, node string) []Backend {
	var found []Backend
	for _, endpoint := range slice.Endpoints {
		isReady := endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
		if !isReady || len(endpoint.Addresses) == 0 || isNotIPv4(endpoint.Addresses[0]) {
			continue
		}
		found = append(found, Backend{Address: endpoint.Addresses[0], Port: port, Local: endpoint.NodeName == node})
	}
	return found
}
