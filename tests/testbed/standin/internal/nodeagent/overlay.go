package nodeagent

import (
	"context"
	"reflect"
	"slices"
	"time"

	"kubectl-calico.invalid/standin/internal/calicolog"
	"kubectl-calico.invalid/standin/internal/hostnet"
	"kubectl-calico.invalid/standin/internal/kubeapi"
)

const (
	// pollInterval is how often the API server is asked; the real program watches.
	pollInterval = 5 * time.Second
	// keepInterval is how often the device is looked at. Felix looks every 10 s at
	// the latest, and at once when the kernel tells it of a change.
	keepInterval = 5 * time.Second
	// tunnelAnnotation holds the address of a node's device. A node without it has
	// no place in the overlay yet.
	tunnelAnnotation = "projectcalico.org/IPv4VXLANTunnelAddr"
)

// overlay is what the API server last said about the network between nodes.
type overlay struct {
	// enabled is false when no pool and no setting asks for VXLAN: then Felix
	// removes its device. Nothing else does: a calico-node that ends leaves it.
	enabled bool
	// starting is true while a node has no place in the overlay yet.
	starting bool
	block    string
	tunnel   hostnet.Tunnel
	peers    []hostnet.Peer
}

// keepOverlay follows the API server and keeps the device, each at its own pace:
// a server that does not answer must not delay the healing of the device, and
// while it turns us away existing traffic goes on (R05).
func (a Agent) keepOverlay(ctx context.Context) {
	changes := make(chan overlay)
	go a.follow(ctx, changes)
	again := time.NewTicker(keepInterval)
	defer again.Stop()
	var known overlay
	for {
		select {
		case <-ctx.Done():
			return
		case known = <-changes:
		case <-again.C:
		}
		if err := known.apply(); err != nil {
			a.Log.Log(calicolog.Warning, "felix/vxlan_mgr.go 506", "Failed to configure VXLAN tunnel device, retrying...",
				calicolog.Field{Key: "error", Value: err})
		}
	}
}

// follow sends what the API server says whenever that is something else.
func (a Agent) follow(ctx context.Context, changes chan<- overlay) {
	var last overlay
	for {
		seen, err := a.observe(ctx)
		switch {
		case err == nil && !reflect.DeepEqual(seen, last):
			select {
			case changes <- seen:
				last = seen
			case <-ctx.Done():
				return
			}
		case err != nil && ctx.Err() == nil:
			a.Log.Log(calicolog.Info, "felix/watchercache.go 194", "Failed to perform list of current data during resync",
				calicolog.Field{Key: "ListRoot", Value: "/calico/resources/v3/projectcalico.org/nodes"},
				calicolog.Field{Key: "error", Value: err})
		}
		pause := pollInterval
		if err == nil && seen.starting {
			pause = startRetry
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

func (a Agent) observe(ctx context.Context) (overlay, error) {
	nodes, err := a.Identity.Client.ListNodes(ctx)
	if err != nil {
		return overlay{}, err
	}
	pools, err := a.Identity.Client.ListIPPools(ctx)
	if err != nil {
		return overlay{}, err
	}
	felix, err := a.Identity.Client.GetFelixConfiguration(ctx)
	if err != nil {
		return overlay{}, err
	}
	seen := overlayOf(nodes, a.Node)
	seen.enabled = vxlanEnabled(pools, felix)
	return seen, nil
}

// vxlanEnabled is Felix's rule: its own setting, else whether any pool asks for it.
func vxlanEnabled(pools []kubeapi.IPPool, felix kubeapi.FelixConfiguration) bool {
	if felix.Spec.VXLANEnabled != nil {
		return *felix.Spec.VXLANEnabled
	}
	return slices.ContainsFunc(pools, func(pool kubeapi.IPPool) bool {
		return pool.Spec.VXLANMode == "Always" || pool.Spec.VXLANMode == "CrossSubnet"
	})
}

func overlayOf(nodes []kubeapi.Node, self string) overlay {
	var seen overlay
	for _, node := range nodes {
		name, address := node.Metadata.Name, node.Metadata.Annotations[tunnelAnnotation]
		if node.Spec.PodCIDR == "" || node.InternalIP() == "" || address == "" {
			seen.starting = true
			continue
		}
		if name == self {
			seen.block = node.Spec.PodCIDR
			seen.tunnel = hostnet.Tunnel{
				Local: node.InternalIP(), Address: address, MAC: hostnet.TunnelMAC(name), MTU: vxlanMTU,
			}
			continue
		}
		seen.peers = append(seen.peers, hostnet.Peer{
			Block: node.Spec.PodCIDR, Node: node.InternalIP(), Address: address, MAC: hostnet.TunnelMAC(name),
		})
	}
	return seen
}

func (o overlay) apply() error {
	if o.block == "" {
		return nil
	}
	if err := hostnet.HoldBlock(o.block); err != nil {
		return err
	}
	if !o.enabled {
		return hostnet.RemoveTunnel()
	}
	return o.tunnel.Keep(o.peers)
}
