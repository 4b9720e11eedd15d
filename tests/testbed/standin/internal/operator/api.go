package operator

import (
	"context"
	"net/http"

	"kubectl-calico.invalid/standin/internal/kubeapi"
)

// API is what the operator asks of the API server, by path.
type API interface {
	// Get is nil for what is not there.
	Get(ctx context.Context, path string) (Object, error)
	// Create is content with an object that is there already.
	Create(ctx context.Context, path string, object Object) error
	// Apply writes what the operator owns of an object, and takes away what it no longer owns; all else stays.
	Apply(ctx context.Context, path string, object Object) error
	// Merge is a merge patch.
	Merge(ctx context.Context, path string, patch Object) error
	// Delete is content with what is not there.
	Delete(ctx context.Context, path string) error
}

// The paths of what the operator looks at beside what it renders.
const (
	operatorMaps     = "/api/v1/namespaces/tigera-operator/configmaps/"
	endpointPath     = operatorMaps + EndpointConfigMap
	knobsPath        = operatorMaps + "testbed-operator"
	installationPath = "/apis/operator.tigera.io/v1/installations/default"
	statusesPath     = "/apis/operator.tigera.io/v1/tigerastatuses"
	felixPath        = "/apis/crd.projectcalico.org/v1/felixconfigurations/default"
	servicePath      = "/api/v1/namespaces/default/services/kubernetes"
	slicesPath       = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name%3Dkubernetes"
	kubeProxyPath    = "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy"
	daemonSetPath    = "/apis/apps/v1/namespaces/" + Namespace + "/daemonsets/calico-node"
)

var plurals = map[string]string{
	"Namespace": "namespaces", "ServiceAccount": "serviceaccounts", "ConfigMap": "configmaps", "DaemonSet": "daemonsets",
	"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings", "Role": "roles", "RoleBinding": "rolebindings",
	"IPPool": "ippools", "FelixConfiguration": "felixconfigurations", "ClusterInformation": "clusterinformations",
}

// collection is the path of an object's kind in its namespace, "" for a kind unknown here.
func collection(object Object) string {
	plural := plurals[object.Text("kind")]
	if plural == "" {
		return ""
	}
	path := "/apis/" + object.Text("apiVersion")
	if object.Text("apiVersion") == "v1" {
		path = "/api/v1"
	}
	if namespace := object.Text("metadata", "namespace"); namespace != "" {
		path += "/namespaces/" + namespace
	}
	return path + "/" + plural
}

// Server is the API over a connection.
type Server struct{ Client *kubeapi.Client }

// manager is the name under which the operator's fields are known.
const manager = "?fieldManager=tigera-operator"

// Get implements API.
func (s Server) Get(ctx context.Context, path string) (Object, error) {
	var object Object
	err := s.Client.Do(ctx, kubeapi.Request{Method: http.MethodGet, Path: path}, &object)
	if kubeapi.Code(err) == http.StatusNotFound {
		return nil, nil
	}
	return object, err
}

// Create implements API.
func (s Server) Create(ctx context.Context, path string, object Object) error {
	err := s.Client.Do(ctx, kubeapi.Request{Method: http.MethodPost, Path: path + manager, Body: object}, nil)
	if kubeapi.Code(err) == http.StatusConflict {
		return nil
	}
	return err
}

// Apply implements API.
func (s Server) Apply(ctx context.Context, path string, object Object) error {
	return s.patch(ctx, path+manager+"&force=true", "application/apply-patch+yaml", object)
}

// Merge implements API.
func (s Server) Merge(ctx context.Context, path string, patch Object) error {
	return s.patch(ctx, path+manager, "application/merge-patch+json", patch)
}

func (s Server) patch(ctx context.Context, path, kind string, body Object) error {
	return s.Client.Do(ctx, kubeapi.Request{Method: http.MethodPatch, Path: path, ContentType: kind, Body: body}, nil)
}

// Delete implements API.
func (s Server) Delete(ctx context.Context, path string) error {
	err := s.Client.Do(ctx, kubeapi.Request{Method: http.MethodDelete, Path: path}, nil)
	if kubeapi.Code(err) == http.StatusNotFound {
		return nil
	}
	return err
}
