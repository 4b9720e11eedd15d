// Package operator is a model of the Tigera operator, 1.34 and newer: what it does
// to the cluster when an Installation asks for eBPF, and what it refuses. Its
// functions have the names of those in the real one whose behaviour they copy.
package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// refresh is after how many reconciles everything is applied anew, whether it
// changed or not: what somebody edited by hand comes back then.
const refresh = 5

// Reconciler is the operator's process: what it remembers is gone when it ends.
type Reconciler struct {
	API      API
	Manifest Manifest
	Version  Version
	// Endpoint is at first that of the process itself.
	Endpoint Endpoint
	Now      func() time.Time

	applied string
	rounds  int
}

// Reconcile brings the cluster nearer to its Installation, and reports in
// TigeraStatus calico. The error is of the API only.
func (r *Reconciler) Reconcile(ctx context.Context) error {
	installation, err := r.API.Get(ctx, installationPath)
	if err != nil || installation == nil {
		return err
	}
	knobs, err := r.API.Get(ctx, knobsPath)
	if err != nil {
		return err
	}
	var stop *Degraded
	if text := knobs.Text("data", "degraded"); text != "" {
		stop = &Degraded{"ResourceUpdateError", text}
	} else if stop, err = r.install(ctx, installation, knobs.Text("data", "stall-rollout") == "true"); err != nil {
		return err
	} else if err := r.manageKubeProxy(ctx, installation); err != nil {
		return err
	}
	daemonSet, err := r.API.Get(ctx, daemonSetPath)
	if err != nil {
		return err
	}
	return r.report(ctx, "calico", conditions(stop, rolling(daemonSet), installation.Number("metadata", "generation")))
}

// install is ReconcileInstallation.Reconcile: what it stops at is Degraded, and
// what comes after that does not happen.
func (r *Reconciler) install(ctx context.Context, installation Object, stalled bool) (*Degraded, error) {
	if patch := fillDefaults(installation, r.Version); patch != nil {
		if err := r.API.Merge(ctx, installationPath, patch); err != nil {
			return nil, err
		}
	}
	if err := validateCustomResource(installation); err != nil {
		return degraded("InvalidConfigurationError", "Invalid Installation provided", err), nil
	}
	for _, seed := range r.Manifest.Seeds() {
		if err := r.API.Create(ctx, collection(seed), seed); err != nil {
			return nil, err
		}
	}
	if stop, err := r.beforeRendering(ctx, installation); stop != nil || err != nil {
		return stop, err
	}
	endpoint, err := r.API.Get(ctx, endpointPath)
	if err != nil {
		return nil, err
	}
	bootstrap, stop, err := r.bootstrap(ctx, installation, endpoint)
	if stop != nil || err != nil {
		return stop, err
	}
	r.Endpoint.PopulateK8sServiceEndPoint(endpoint)
	objects := r.Manifest.Render(Input{installation, r.Version, r.Endpoint, bootstrap})
	if err := r.apply(ctx, objects); err != nil {
		return nil, err
	}
	if err := r.describe(ctx, installation); err != nil {
		return nil, err
	}
	return r.afterRendering(ctx, installation, stalled)
}

func (r *Reconciler) beforeRendering(ctx context.Context, installation Object) (*Degraded, error) {
	daemonSet, err := r.API.Get(ctx, daemonSetPath)
	if err != nil {
		return nil, err
	}
	if r.Version.autoMode() {
		mode := func(felix Object) (Object, error) { return setNftablesMode(installation, felix), nil }
		if stop, err := r.felix(ctx, mode); stop != nil || err != nil {
			return stop, err
		}
	}
	return r.felix(ctx, func(felix Object) (Object, error) {
		return setDefaultsOnFelixConfiguration(installation, felix, daemonSet)
	})
}

func (r *Reconciler) afterRendering(ctx context.Context, installation Object, stalled bool) (*Degraded, error) {
	daemonSet, err := r.API.Get(ctx, daemonSetPath)
	if err != nil {
		return nil, err
	}
	complete := !stalled && isRolloutCompleteWithBPFVolumes(daemonSet, r.Version.generationGuard())
	return r.felix(ctx, func(felix Object) (Object, error) {
		return setBPFUpdatesOnFelixConfiguration(installation, felix, complete)
	})
}

// felix is utils.PatchFelixConfiguration.
func (r *Reconciler) felix(ctx context.Context, change func(Object) (Object, error)) (*Degraded, error) {
	felix, err := r.API.Get(ctx, felixPath)
	if err != nil {
		return nil, err
	}
	if felix == nil {
		return nil, errors.New("there is no FelixConfiguration default")
	}
	patch, err := change(felix)
	if err != nil {
		return degraded("ResourceUpdateError", "Error updating resource", err), nil
	}
	if patch == nil {
		return nil, nil
	}
	// Whoever writes between our look and our patch wins, and is looked at next time.
	patch.Ensure("metadata")["resourceVersion"] = felix.Text("metadata", "resourceVersion")
	return nil, r.API.Merge(ctx, felixPath, patch)
}

func (r *Reconciler) bootstrap(ctx context.Context, installation, endpoint Object) (*Bootstrap, *Degraded, error) {
	if !r.Version.autoMode() {
		return nil, nil, nil
	}
	service, err := r.API.Get(ctx, servicePath)
	if err != nil {
		return nil, nil, err
	}
	slices, err := r.API.Get(ctx, slicesPath)
	if err != nil {
		return nil, nil, err
	}
	bootstrap, err := bpfBootstrapRequirements(installation, endpoint, service, slices.List("items"))
	if err != nil {
		return nil, degraded("ResourceNotReady", "bpfNetworkBootstrap is Enabled but the requirements are not met", err), nil
	}
	return bootstrap, nil, nil
}

func (r *Reconciler) apply(ctx context.Context, objects []Object) error {
	text, err := json.Marshal(objects)
	if err != nil {
		return err
	}
	if r.rounds++; r.applied == string(text) && r.rounds%refresh != 0 {
		return nil
	}
	for _, object := range objects {
		path := collection(object)
		if path == "" {
			return fmt.Errorf("the manifest has an object of kind %q, which the model does not know", object.Text("kind"))
		}
		if err := r.API.Apply(ctx, path+"/"+object.Text("metadata", "name"), object); err != nil {
			return err
		}
	}
	r.applied = string(text)
	return nil
}

// describe writes what was installed to the Installation's status.
func (r *Reconciler) describe(ctx context.Context, installation Object) error {
	status := installation.Part("status")
	if status.Text("variant") == "Calico" && status.Text("calicoVersion") == r.Version.calico() {
		return nil
	}
	patch := Object{"status": Object{"variant": "Calico", "calicoVersion": r.Version.calico()}}
	return r.API.Merge(ctx, installationPath+"/status", patch)
}

func (r *Reconciler) report(ctx context.Context, name string, wanted []Object) error {
	path := statusesPath + "/" + name
	found, err := r.API.Get(ctx, path)
	if err != nil {
		return err
	}
	if found == nil {
		status := Object{"apiVersion": "operator.tigera.io/v1", "kind": "TigeraStatus", "metadata": Object{"name": name}}
		if err := r.API.Create(ctx, statusesPath, status); err != nil {
			return err
		}
	}
	if !stamp(wanted, found.List("status", "conditions"), r.Now()) {
		return nil
	}
	return r.API.Merge(ctx, path+"/status", Object{"status": Object{"conditions": wanted}})
}
