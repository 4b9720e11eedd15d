package operator

import (
	"context"
	"errors"
)

// monitor is the TigeraStatus of the controller that looks after kube-proxy.
const monitor = "kubeproxy-monitor"

// manageKubeProxy is kubeproxy.Reconcile (1.40 and newer). A kube-proxy that is
// as it should be returns early: the TigeraStatus stays as it was, or is not there
// at all after the operator's restart.
func (r *Reconciler) manageKubeProxy(ctx context.Context, installation Object) error {
	if !r.Version.autoMode() {
		return nil
	}
	if !kubeProxyManaged(installation) {
		return r.API.Delete(ctx, statusesPath+"/"+monitor)
	}
	generation := installation.Number("metadata", "generation")
	daemonSet, err := r.API.Get(ctx, kubeProxyPath)
	if err != nil {
		return err
	}
	if daemonSet == nil {
		absent := errors.New(`daemonsets.apps "kube-proxy" not found`)
		stop := degraded("ResourceNotFound", "failed to retrieve kube-proxy DaemonSet", absent)
		return r.report(ctx, monitor, conditions(stop, "", generation))
	}
	if err := validateDaemonSetUnmanaged(daemonSet); err != nil {
		stop := degraded("ResourceValidationError", "failed to validate kube-proxy DaemonSet", err)
		return r.report(ctx, monitor, conditions(stop, "", generation))
	}
	felix, err := r.API.Get(ctx, felixPath)
	if err != nil || felix == nil {
		return err
	}
	patch := kubeProxyPatch(daemonSet, felix)
	if patch == nil {
		return nil
	}
	if err := r.API.Merge(ctx, kubeProxyPath, patch); err != nil {
		return err
	}
	return r.report(ctx, monitor, conditions(nil, "", generation))
}
