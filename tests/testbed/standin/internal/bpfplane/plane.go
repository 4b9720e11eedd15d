package bpfplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync"
	"time"

	"kubectl-calico.invalid/standin/internal/calicolog"
	"kubectl-calico.invalid/standin/internal/kubeapi"
)

// Files on the host by which a test tells the stand-in to be on a node where the eBPF data plane does not come about.
const (
	// OldKernelFile makes the kernel too old; it is looked at whenever the data plane starts.
	OldKernelFile = "/var/run/calico/standin-old-kernel"
	// DirtyFile makes programs fail to load, for as long as it is there.
	DirtyFile = "/var/run/calico/standin-bpf-dirty"
)

const (
	// interval is how often settings, Services and devices are looked at; the real program watches.
	interval = time.Second
	// restartPause is how long Felix sleeps before it ends, to be started again by runit.
	restartPause = 2 * time.Second
	// askLimit bounds one question to the API server.
	askLimit = 5 * time.Second
)

// errOldKernel is Felix's own text for a kernel of 2018.
var errOldKernel = errors.New("kernel is too old (have: 4.15.0 but want at least: 5.3.0)")

// Plane keeps one node's data plane.
type Plane struct {
	Node   string
	Client *kubeapi.Client
	Lookup func(string) string
	Log    *calicolog.Logger

	setting Setting
	// applied is what the kernel was last told; nil before that.
	applied *state
	pools   []string
	healthz *healthz

	mu sync.Mutex
	// isOn and problem are what readiness tells.
	isOn    bool
	problem string
}

// Health says whether the data plane is on, and what keeps it from being ready.
func (p *Plane) Health() (isOn bool, problem string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isOn && p.problem == "" && exists(DirtyFile) {
		return true, "Failed to configure some interfaces."
	}
	return p.isOn, p.problem
}

func (p *Plane) tell(isOn bool, problem string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isOn, p.problem = isOn, problem
}

// Run follows the settings until ctx ends. What is in the kernel stays when this ends, as Felix's does.
func (p *Plane) Run(ctx context.Context) {
	hasBegun := false
	for {
		seen, err := p.ask(ctx)
		switch {
		case err != nil:
			p.Log.Log(calicolog.Info, "felix/watchercache.go 194", "Failed to perform list of current data during resync",
				calicolog.Field{Key: "ListRoot", Value: "/calico/resources/v3/projectcalico.org/felixconfigurations"},
				calicolog.Field{Key: "error", Value: err})
		case !hasBegun:
			hasBegun = true
			p.begin(seen)
		case seen != p.setting:
			if !p.restart(ctx, seen) {
				return
			}
			// What was changed meanwhile is seen by the next look.
			continue
		}
		if isOn, _ := p.Health(); isOn {
			p.keep(ctx)
		}
		if !sleep(ctx, interval) {
			return
		}
	}
}

func (p *Plane) ask(ctx context.Context) (Setting, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	all, err := p.Client.ListFelixConfigurations(ctx)
	if err != nil {
		return Setting{}, err
	}
	return SettingOf(p.Lookup, all, p.Node), nil
}

// restart is what Felix's end and its next start are to the rest of the node. The kernel does as before meanwhile.
func (p *Plane) restart(ctx context.Context, seen Setting) bool {
	for _, key := range p.setting.changes(seen) {
		p.Log.Log(calicolog.Warning, "felix/daemon.go 1013", "Config change requires restart", calicolog.Field{Key: "key", Value: key})
	}
	p.Log.Log(calicolog.Info, "felix/daemon.go 722", "Sleeping to avoid tight restart loop.",
		calicolog.Field{Key: "reason", Value: "config changed"})
	if !sleep(ctx, restartPause) {
		return false
	}
	p.Log.Log(calicolog.Warning, "felix/daemon.go 755", "Exiting for config change", calicolog.Field{Key: "rc", Value: 129})
	p.begin(seen)
	return true
}

// begin starts the data plane in the mode that the setting asks for, if the kernel has it.
func (p *Plane) begin(seen Setting) {
	p.setting, p.applied = seen, nil
	p.healthz.stop()
	p.healthz = nil
	p.logServer()
	if seen.Enabled && exists(OldKernelFile) {
		p.Log.Log(calicolog.Error, "felix/daemon.go 364",
			"BPF dataplane mode enabled but not supported by the kernel.  Disabling BPF mode.",
			calicolog.Field{Key: "error", Value: errOldKernel.Error()})
		seen.Enabled = false
	}
	if !seen.Enabled {
		p.tell(false, "")
		p.turnOff()
		return
	}
	p.tell(true, "Not yet synced.")
	if seen.Cleanup {
		p.Log.Log(calicolog.Info, "felix/int_dataplane.go 585", "BPF enabled, configuring iptables layer to clean up kube-proxy's rules.")
	}
	p.Log.Log(calicolog.Info, "felix/int_dataplane.go 707", "BPF enabled, starting BPF endpoint manager and map manager.")
	if seen.HealthzPort != 0 {
		p.healthz = serveHealthz(seen.HealthzPort, p.Log)
	}
}

// logServer tells where the API server is, as Felix does whenever it starts.
func (p *Plane) logServer() {
	var fields []calicolog.Field
	for _, name := range []string{"KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"} {
		fields = append(fields, calicolog.Field{Key: name, Value: p.Lookup(name)})
	}
	p.Log.Log(calicolog.Info, "felix/daemon.go 185", "Kubernetes server override env vars.", fields...)
}

// turnOff takes out of the kernel what an earlier mode left there. Felix looks for it always, this only where it was on
// itself: residues that a test leaves on a node are to stay.
func (p *Plane) turnOff() {
	if !exists(StateFile) {
		return
	}
	err := errors.Join(stopTranslating(), detachAll())
	if err == nil {
		err = os.Remove(StateFile)
	}
	if err != nil {
		p.warn("Failed to clean up BPF programs and pins", err)
	}
}

// keep brings the kernel to what the API server says. Of what fails, the next look tries again.
func (p *Plane) keep(ctx context.Context) {
	err := p.keepTranslation(ctx)
	if err != nil {
		p.warn("Failed to sync Services", err)
	}
	if exists(DirtyFile) {
		p.warn("Failed to apply policy to endpoint, leaving it dirty", errors.New("program rejected by the verifier"))
		return
	}
	if attachErr := p.keepPrograms(); attachErr != nil {
		p.warn("Failed to apply policy to endpoint, leaving it dirty", attachErr)
		err = errors.Join(err, attachErr)
	}
	if p.setting.Cleanup {
		if err := removeProxyRules(); err != nil {
			p.warn("Failed to remove kube-proxy's rules", err)
		}
	}
	// A server that does not answer takes nothing away from a data plane that was in sync once.
	if _, problem := p.Health(); err == nil && problem != "" {
		p.Log.Log(calicolog.Info, "felix/bpf_ep_mgr.go 1200", "BPF Interface state map synced.")
		p.tell(true, "")
	}
}

func (p *Plane) keepPrograms() error {
	if err := pinMaps(); err != nil {
		return err
	}
	_, err := attachAll()
	return err
}

func (p *Plane) keepTranslation(ctx context.Context) error {
	seen, pools, err := p.services(ctx)
	if err != nil {
		return err
	}
	if p.applied != nil && reflect.DeepEqual(seen, *p.applied) && reflect.DeepEqual(pools, p.pools) {
		return nil
	}
	// First the file, which is what tells a later start that there is something to take out.
	if err := seen.write(StateFile); err != nil {
		return err
	}
	if err := translate(seen.Entries, pools); err != nil {
		return fmt.Errorf("translate: %w", err)
	}
	p.applied, p.pools = &seen, pools
	return nil
}

func (p *Plane) services(ctx context.Context) (state, []string, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	services, err := p.Client.ListServices(ctx)
	if err != nil {
		return state{}, nil, err
	}
	endpoints, err := p.Client.ListEndpointSlices(ctx)
	if err != nil {
		return state{}, nil, err
	}
	all, err := p.Client.ListIPPools(ctx)
	if err != nil {
		return state{}, nil, err
	}
	var pools []string
	for _, pool := range all {
		if pool.Spec.CIDR != "" {
			pools = append(pools, pool.Spec.CIDR)
		}
	}
	return state{Entries: EntriesOf(services, endpoints, p.Node), NodeAddresses: nodeAddresses()}, pools, nil
}

func (p *Plane) warn(message string, err error) {
	p.Log.Log(calicolog.Warning, "felix/bpf_ep_mgr.go 900", message, calicolog.Field{Key: "error", Value: err})
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
