package kubeapi

import (
	"context"
	"net/http"
)

// Node is our cut of a core/v1 Node.
type Node struct {
	Metadata struct {
		Name        string            `json:"name"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		PodCIDR string `json:"podCIDR"`
	} `json:"spec"`
	Status struct {
		Addresses []struct {
			Type    string `json:"type"`
			Address string `json:"address"`
		} `json:"addresses"`
	} `json:"status"`
}

// InternalIP is the node's first address of that type, or "".
func (n Node) InternalIP() string {
	for _, a := range n.Status.Addresses {
		if a.Type == "InternalIP" {
			return a.Address
		}
	}
	return ""
}

// GetNode reads one node.
func (c *Client) GetNode(ctx context.Context, name string) (Node, error) {
	var node Node
	err := c.Do(ctx, Request{
		Method: http.MethodGet, Path: "/api/v1/nodes/" + name, Resource: "nodes", Name: name,
	}, &node)
	return node, err
}

// ListNodes reads all nodes in one page: a testbed has a handful.
func (c *Client) ListNodes(ctx context.Context) ([]Node, error) {
	var list struct {
		Items []Node `json:"items"`
	}
	err := c.Do(ctx, Request{Method: http.MethodGet, Path: "/api/v1/nodes", Resource: "nodes"}, &list)
	return list.Items, err
}

// ClusterInformation is our cut of crd.projectcalico.org/v1 ClusterInformation.
type ClusterInformation struct {
	Spec struct {
		// DatastoreReady is false while an upgrade or migration holds Calico off.
		DatastoreReady *bool `json:"datastoreReady"`
	} `json:"spec"`
}

// ClusterInformationPath is what every ADD and DEL of Calico asks for first.
const ClusterInformationPath = "/apis/crd.projectcalico.org/v1/clusterinformations/default"

// GetClusterInformation reads ClusterInformation/default. Resource is written as
// Calico's client writes it, kind instead of plural.
func (c *Client) GetClusterInformation(ctx context.Context) (ClusterInformation, error) {
	var info ClusterInformation
	err := c.Do(ctx, Request{
		Method:   http.MethodGet,
		Path:     ClusterInformationPath,
		Resource: "ClusterInformations.crd.projectcalico.org",
		Name:     "default",
	}, &info)
	return info, err
}

// IPPool is our cut of crd.projectcalico.org/v1 IPPool.
type IPPool struct {
	Spec struct {
		CIDR string `json:"cidr"`
		// VXLANMode is Always, CrossSubnet or Never; empty means Never.
		VXLANMode string `json:"vxlanMode"`
		Disabled  bool   `json:"disabled"`
	} `json:"spec"`
}

// ListIPPools reads all pools in one page.
func (c *Client) ListIPPools(ctx context.Context) ([]IPPool, error) {
	var list struct {
		Items []IPPool `json:"items"`
	}
	err := c.Do(ctx, Request{
		Method: http.MethodGet, Path: "/apis/crd.projectcalico.org/v1/ippools", Resource: "IPPools.crd.projectcalico.org",
	}, &list)
	return list.Items, err
}

// FelixConfiguration is our cut of crd.projectcalico.org/v1 FelixConfiguration.
type FelixConfiguration struct {
	Metadata struct {
		// Name is default, or node. and the name of a node.
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		// BPFEnabled asks for the eBPF data plane.
		BPFEnabled *bool `json:"bpfEnabled"`
		// BPFCleanup lets it remove kube-proxy's rules; true unless said otherwise.
		BPFCleanup *bool `json:"bpfKubeProxyIptablesCleanupEnabled"`
		// BPFHealthzPort is where it answers in kube-proxy's place. 3.28 has no such field.
		BPFHealthzPort *int `json:"bpfKubeProxyHealthzPort"`
		// VXLANEnabled overrules what the pools say.
		VXLANEnabled *bool `json:"vxlanEnabled"`
	} `json:"spec"`
}

// GetFelixConfiguration reads FelixConfiguration/default; none there is an empty one.
func (c *Client) GetFelixConfiguration(ctx context.Context) (FelixConfiguration, error) {
	var felix FelixConfiguration
	err := c.Do(ctx, Request{
		Method: http.MethodGet, Path: "/apis/crd.projectcalico.org/v1/felixconfigurations/default",
		Resource: "FelixConfigurations.crd.projectcalico.org", Name: "default",
	}, &felix)
	if Code(err) == http.StatusNotFound {
		return FelixConfiguration{}, nil
	}
	return felix, err
}

// PatchNodeStatus changes a node through its status subresource (conditions,
// and annotations too) by a strategic merge patch.
func (c *Client) PatchNodeStatus(ctx context.Context, name string, patch any) error {
	return c.Do(ctx, Request{
		Method:      http.MethodPatch,
		Path:        "/api/v1/nodes/" + name + "/status",
		ContentType: "application/strategic-merge-patch+json",
		Body:        patch,
		Resource:    "nodes",
		Name:        name,
	}, nil)
}

// AnnotatePod sets annotations through the pod's status subresource, which is
// the only way the CNI plugin's role grants.
func (c *Client) AnnotatePod(ctx context.Context, namespace, name string, annotations map[string]string) error {
	return c.Do(ctx, Request{
		Method:      http.MethodPatch,
		Path:        "/api/v1/namespaces/" + namespace + "/pods/" + name + "/status",
		ContentType: "application/merge-patch+json",
		Body:        map[string]any{"metadata": map[string]any{"annotations": annotations}},
		Resource:    "pods",
		Name:        name,
	}, nil)
}

// CreateToken asks for a token of a ServiceAccount with the server's default
// audience, valid for the given number of seconds.
func (c *Client) CreateToken(ctx context.Context, namespace, account string, seconds int) (string, error) {
	var answer struct {
		Status struct {
			Token string `json:"token"`
		} `json:"status"`
	}
	err := c.Do(ctx, Request{
		Method: http.MethodPost,
		Path:   "/api/v1/namespaces/" + namespace + "/serviceaccounts/" + account + "/token",
		Body: map[string]any{
			"apiVersion": "authentication.k8s.io/v1",
			"kind":       "TokenRequest",
			"spec":       map[string]any{"audiences": []string{}, "expirationSeconds": seconds},
		},
		Resource: "serviceaccounts",
		Name:     account,
	}, &answer)
	return answer.Status.Token, err
}
