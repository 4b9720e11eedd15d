package cniplugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"kubectl-calico.invalid/standin/internal/calicolog"
	"kubectl-calico.invalid/standin/internal/hostnet"
	"kubectl-calico.invalid/standin/internal/kubeapi"
)

// Wiring changes the host's network; tests put their own here.
type Wiring interface {
	Connect(w hostnet.Workload) error
	Disconnect(host string) error
}

// Plugin holds the places on the host; New fills in the real ones.
type Plugin struct {
	// NodenameFile is written by calico-node when it has started.
	NodenameFile string
	// MTUFile holds calico-node's choice for an mtu of 0 in the configuration.
	MTUFile string
	// Addresses is where assigned addresses are kept.
	Addresses Pool
	// StuckDir holds one file for each sandbox, named by its id, whose address a
	// test does not let go.
	StuckDir string
	Wiring   Wiring
	Dial     Dial
	Log      *calicolog.Logger
}

// defaultMTU is used when neither the configuration nor calico-node chose one.
const defaultMTU = 1500

// errMaxRetries is what Calico's IPAM says when it cannot release an address
// because its block changes at every attempt. It hits one sandbox and no other.
var errMaxRetries = errors.New("Hit max retries")

// Run carries out one command and prints its answer.
func (p *Plugin) Run(ctx context.Context, in Input, out io.Writer) error {
	switch in.Command {
	case "ADD":
		result, err := p.add(ctx, in)
		if err != nil {
			p.Log.Log(calicolog.Error, "plugin.go 163", "Final result of CNI ADD was an error. error="+err.Error())
			return err
		}
		return result.Write(out)
	case "DEL":
		err := p.del(ctx, in)
		if err != nil {
			p.Log.Log(calicolog.Error, "plugin.go 594", "Final result of CNI DEL was an error. error="+err.Error())
		}
		return err
	case "CHECK":
		// Calico's own CHECK looks at nothing.
		return nil
	case "VERSION":
		return WriteVersions(out)
	default:
		return &Error{Code: codeEnvironment, Msg: "unknown CNI_COMMAND: " + in.Command}
	}
}

func (p *Plugin) add(ctx context.Context, in Input) (Result, error) {
	client, err := p.connect(ctx, in)
	if err != nil {
		return Result{}, err
	}
	pod := p.describe(in)
	p.Log.Log(calicolog.Info, "k8s.go 77", "Extracted identifiers for CmdAddK8s", pod...)
	node, err := client.GetNode(ctx, in.Conf.Nodename)
	if err != nil {
		return Result{}, fmt.Errorf("failed to read Node %s: %w", in.Conf.Nodename, err)
	}
	if node.Spec.PodCIDR == "" {
		return Result{}, fmt.Errorf("no address block for node %s: its spec.podCIDR is empty", in.Conf.Nodename)
	}
	address, err := p.Addresses.Assign(node.Spec.PodCIDR, in.ContainerID)
	if err != nil {
		return Result{}, err
	}
	if err := p.wire(ctx, client, in, address); err != nil {
		// The runtime calls DEL after a failed ADD, but with credentials that
		// stopped working meanwhile that DEL would leave the address behind.
		_, _ = p.Addresses.Release(in.ContainerID)
		_ = p.Wiring.Disconnect(hostnet.VethName(in.Namespace, in.Pod))
		return Result{}, err
	}
	return Result{
		CNIVersion:    in.Conf.CNIVersion,
		HostInterface: hostnet.VethName(in.Namespace, in.Pod),
		Address:       address,
	}, nil
}

func (p *Plugin) wire(ctx context.Context, client *kubeapi.Client, in Input, address string) error {
	pod, host := p.describe(in), hostnet.VethName(in.Namespace, in.Pod)
	p.Log.Log(calicolog.Info, "k8s.go 387", fmt.Sprintf("Calico CNI using IPs: [%s/32]", address), pod...)
	p.Log.Log(calicolog.Info, "dataplane_linux.go 68", "Setting the host side veth name to "+host, pod...)
	err := p.Wiring.Connect(hostnet.Workload{
		Host: host, Netns: in.Netns, Interface: in.Interface, Address: address, MTU: p.mtu(in.Conf.MTU),
	})
	if err != nil {
		return err
	}
	err = client.AnnotatePod(ctx, in.Namespace, in.Pod, map[string]string{
		"cni.projectcalico.org/containerID": in.ContainerID,
		"cni.projectcalico.org/podIP":       address + "/32",
		"cni.projectcalico.org/podIPs":      address + "/32",
	})
	if err != nil {
		return fmt.Errorf("failed to update pod %s/%s: %w", in.Namespace, in.Pod, asCalicoError(err))
	}
	p.Log.Log(calicolog.Info, "k8s.go 500", "Wrote updated endpoint to datastore", pod...)
	return nil
}

func (p *Plugin) del(ctx context.Context, in Input) error {
	if _, err := p.connect(ctx, in); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(p.StuckDir, in.ContainerID)); err == nil {
		return errMaxRetries
	}
	id := calicolog.Field{Key: "ContainerID", Value: in.ContainerID}
	p.Log.Log(calicolog.Info, "k8s.go 608", "Cleaning up netns", id)
	// A newer sandbox of the same pod has the same host side: the link is removed
	// only while the address still belongs to this sandbox.
	owned, err := p.Addresses.Release(in.ContainerID)
	if err != nil {
		return err
	}
	if owned {
		if err := p.Wiring.Disconnect(hostnet.VethName(in.Namespace, in.Pod)); err != nil {
			return err
		}
	}
	p.Log.Log(calicolog.Info, "k8s.go 621", "Teardown processing complete.", id)
	return nil
}

func (p *Plugin) mtu(configured int) int {
	if configured > 0 {
		return configured
	}
	data, err := os.ReadFile(p.MTUFile)
	if err != nil {
		return defaultMTU
	}
	if mtu, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil && mtu > 0 {
		return mtu
	}
	return defaultMTU
}

func (p *Plugin) describe(in Input) []calicolog.Field {
	return []calicolog.Field{
		{Key: "ContainerID", Value: in.ContainerID},
		{Key: "Namespace", Value: in.Namespace},
		{Key: "Pod", Value: in.Pod},
		{Key: "WorkloadEndpoint", Value: fmt.Sprintf("%s-k8s-%s-%s",
			in.Conf.Nodename, strings.ReplaceAll(in.Pod, "-", "--"), in.Interface)},
	}
}
