package nodeagent

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"kubectl-calico.invalid/standin/internal/bpfplane"
	"kubectl-calico.invalid/standin/internal/calicolog"
	"kubectl-calico.invalid/standin/internal/hostnet"
	"kubectl-calico.invalid/standin/internal/kubeapi"
)

const (
	// startRetry is the pause between attempts to start.
	startRetry = time.Second
	// vxlanMTU is what the recorded calico-node chose on hosts with an MTU of 1500.
	vxlanMTU = 1450
	// refreshBase is a quarter of the token's lifetime; up to as much again is
	// added by chance, so that nodes do not refresh together.
	refreshBase = tokenSeconds / 4 * time.Second
)

// Agent is the running calico-node.
type Agent struct {
	Node     string
	StateDir string
	NetDir   string
	Identity Identity
	Health   *Health
	Lookup   func(string) string
	Log      *calicolog.Logger
	// Plane is the eBPF data plane.
	Plane *bpfplane.Plane
}

// Run serves health and keeps the node up until ctx ends.
func (a Agent) Run(ctx context.Context) error {
	listener, err := net.Listen("tcp", HealthAddress)
	if err != nil {
		return fmt.Errorf("serve health: %w", err)
	}
	server := &http.Server{Handler: a.Health.Handler(), ReadHeaderTimeout: probeTimeout}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	if !a.startUp(ctx) {
		return nil
	}
	go a.refreshToken(ctx)
	go a.Plane.Run(ctx)
	a.keepOverlay(ctx)
	return nil
}

// startUp repeats until the API server lets us in; only then is the node's name
// written, for which the CNI plugin waits. It is false when ctx ended first.
func (a Agent) startUp(ctx context.Context) bool {
	for {
		err := a.start(ctx)
		if err == nil {
			break
		}
		a.Log.Log(calicolog.Warning, "startup/startup.go 459", "Connection to the datastore failed, retrying",
			calicolog.Field{Key: "error", Value: err})
		if !sleep(ctx, startRetry) {
			return false
		}
	}
	a.Health.Started()
	return true
}

func (a Agent) start(ctx context.Context) error {
	node, err := a.Identity.Client.GetNode(ctx, a.Node)
	if err != nil {
		return err
	}
	if node.Spec.PodCIDR == "" {
		return fmt.Errorf("node %s has no spec.podCIDR yet", a.Node)
	}
	if _, err := a.Identity.Client.GetClusterInformation(ctx); err != nil {
		return err
	}
	if err := hostnet.EnableForwarding(); err != nil {
		return err
	}
	if err := hostnet.HoldBlock(node.Spec.PodCIDR); err != nil {
		return err
	}
	tunnel, err := hostnet.TunnelAddress(node.Spec.PodCIDR)
	if err != nil {
		return err
	}
	if err := a.Identity.Client.PatchNodeStatus(ctx, a.Node, nodeIsUp(node, tunnel, time.Now())); err != nil {
		return err
	}
	return a.writeState()
}

// writeState writes the two files in the recorded form: no newline at the end.
func (a Agent) writeState() error {
	for name, value := range map[string]string{"mtu": strconv.Itoa(vxlanMTU), "nodename": a.Node} {
		if err := os.WriteFile(filepath.Join(a.StateDir, name), []byte(value), 0o644); err != nil {
			return fmt.Errorf("write calico-node's state: %w", err)
		}
	}
	return nil
}

// nodeIsUp is the condition and the annotations that a started calico-node sets.
func nodeIsUp(node kubeapi.Node, tunnel string, now time.Time) map[string]any {
	at := now.UTC().Format(time.RFC3339)
	return map[string]any{
		"metadata": map[string]any{"annotations": map[string]string{
			"projectcalico.org/IPv4Address": withPrefix(node.InternalIP()),
			tunnelAnnotation:                tunnel,
		}},
		"status": map[string]any{"conditions": []map[string]string{{
			"type": "NetworkUnavailable", "status": "False", "reason": "CalicoIsUp",
			"message": "Calico is running on this node", "lastHeartbeatTime": at, "lastTransitionTime": at,
		}}},
	}
}

// withPrefix adds the prefix length that the address has on its interface, or 32.
func withPrefix(address string) string {
	addresses, err := net.InterfaceAddrs()
	if err == nil {
		for _, a := range addresses {
			if network, ok := a.(*net.IPNet); ok && network.IP.String() == address {
				return network.String()
			}
		}
	}
	return address + "/32"
}

// refreshToken rewrites the CNI kubeconfig at start and then by the lifetime of
// the token alone: a refused token does not hurry it (R02).
func (a Agent) refreshToken(ctx context.Context) {
	for {
		if err := writeCNIKubeconfig(ctx, a.Identity, a.NetDir, a.Lookup); err != nil {
			a.Log.Log(calicolog.Error, "cni-config-monitor/token_watch.go 108", "Failed to update CNI token, retrying...",
				calicolog.Field{Key: "error", Value: err})
			if !sleep(ctx, time.Minute) {
				return
			}
			continue
		}
		a.Log.Log(calicolog.Info, "cni-config-monitor/token_watch.go 280", "Wrote updated CNI kubeconfig file.",
			calicolog.Field{Key: "path", Value: filepath.Join(a.NetDir, kubeconfigName)})
		if !sleep(ctx, refreshBase+jitter(refreshBase)) {
			return
		}
	}
}

func jitter(limit time.Duration) time.Duration {
	n, err := rand.Int(rand.Reader, big.NewInt(int64(limit)))
	if err != nil {
		return 0
	}
	return time.Duration(n.Int64())
}

// sleep waits and is false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
