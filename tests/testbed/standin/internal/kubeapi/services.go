package kubeapi

import (
	"context"
	"net/http"
)

// Service is our cut of a core/v1 Service.
type Service struct {
	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Spec struct {
		Type        string        `json:"type"`
		ClusterIP   string        `json:"clusterIP"`
		ClusterIPs  []string      `json:"clusterIPs"`
		ExternalIPs []string      `json:"externalIPs"`
		Ports       []ServicePort `json:"ports"`
	} `json:"spec"`
}

// ServicePort is one port of a Service.
type ServicePort struct {
	Name     string `json:"name"`
	Protocol string `json:"protocol"`
	Port     int    `json:"port"`
	NodePort int    `json:"nodePort"`
}

// EndpointSlice is our cut of a discovery.k8s.io/v1 EndpointSlice.
type EndpointSlice struct {
	Metadata struct {
		Namespace string            `json:"namespace"`
		Labels    map[string]string `json:"labels"`
	} `json:"metadata"`
	AddressType string         `json:"addressType"`
	Endpoints   []Endpoint     `json:"endpoints"`
	Ports       []EndpointPort `json:"ports"`
}

// Endpoint is one place of an EndpointSlice.
type Endpoint struct {
	Addresses  []string `json:"addresses"`
	NodeName   string   `json:"nodeName"`
	Conditions struct {
		// Ready is true unless said otherwise.
		Ready *bool `json:"ready"`
	} `json:"conditions"`
}

// EndpointPort is one port of an EndpointSlice; its name is that of the Service's port.
type EndpointPort struct {
	Name     string `json:"name"`
	Protocol string `json:"protocol"`
	Port     int    `json:"port"`
}

// ListServices reads all Services in one page.
func (c *Client) ListServices(ctx context.Context) ([]Service, error) {
	var list struct {
		Items []Service `json:"items"`
	}
	err := c.Do(ctx, Request{Method: http.MethodGet, Path: "/api/v1/services", Resource: "services"}, &list)
	return list.Items, err
}

// ListEndpointSlices reads all EndpointSlices in one page, whoever wrote them.
func (c *Client) ListEndpointSlices(ctx context.Context) ([]EndpointSlice, error) {
	var list struct {
		Items []EndpointSlice `json:"items"`
	}
	err := c.Do(ctx, Request{
		Method: http.MethodGet, Path: "/apis/discovery.k8s.io/v1/endpointslices", Resource: "endpointslices.discovery.k8s.io",
	}, &list)
	return list.Items, err
}

// ListFelixConfigurations reads the settings of all nodes and of single ones.
func (c *Client) ListFelixConfigurations(ctx context.Context) ([]FelixConfiguration, error) {
	var list struct {
		Items []FelixConfiguration `json:"items"`
	}
	err := c.Do(ctx, Request{
		Method: http.MethodGet, Path: "/apis/crd.projectcalico.org/v1/felixconfigurations",
		Resource: "FelixConfigurations.crd.projectcalico.org",
	}, &list)
	return list.Items, err
}
