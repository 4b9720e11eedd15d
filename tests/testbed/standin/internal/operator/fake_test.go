package operator

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"
)

// cluster is an API server that keeps objects by path; a changed DaemonSet gets
// another generation, and nobody rolls it out but the test.
type cluster map[string]Object

func (c cluster) Get(_ context.Context, path string) (Object, error) {
	if found := c[path]; found != nil {
		return found.Copy(), nil
	}
	return nil, nil
}

func (c cluster) Create(_ context.Context, path string, object Object) error {
	path += "/" + object.Text("metadata", "name")
	if c[path] == nil {
		c[path] = object.Copy()
	}
	return nil
}

func (c cluster) Apply(_ context.Context, path string, object Object) error {
	object = object.Copy()
	generation := c[path].Number("metadata", "generation")
	before, _ := json.Marshal(c[path].Part("spec"))
	after, _ := json.Marshal(object.Part("spec"))
	if string(before) != string(after) {
		generation++
	}
	object.Ensure("metadata")["generation"] = generation
	if status := c[path].Part("status"); status != nil {
		object["status"] = map[string]any(status)
	}
	c[path] = object
	return nil
}

func (c cluster) Merge(_ context.Context, path string, patch Object) error {
	path = strings.TrimSuffix(path, "/status")
	merge(c[path], patch.Copy())
	return nil
}

func (c cluster) Delete(_ context.Context, path string) error {
	delete(c, path)
	return nil
}

func merge(into, patch Object) {
	for key := range maps.Keys(patch) {
		part := patch.Part(key)
		switch {
		case part != nil:
			merge(into.Ensure(key), part)
		case patch[key] == nil:
			delete(into, key)
		default:
			into[key] = patch[key]
		}
	}
}

// rollOut lets the DaemonSet's controller and two nodes do their work.
func (c cluster) rollOut(available int) {
	set := c[daemonSetPath]
	set["status"] = map[string]any{
		"observedGeneration": set.Number("metadata", "generation"), "desiredNumberScheduled": 2,
		"currentNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": available,
	}
}

// condition is status and message of one condition of a TigeraStatus.
func (c cluster) condition(name, kind string) string {
	for _, condition := range c[statusesPath+"/"+name].List("status", "conditions") {
		if condition.Text("type") == kind {
			return condition.Text("status") + " " + condition.Text("message")
		}
	}
	return ""
}

const testManifest = `{"items":[
 {"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"calico-node","namespace":"kube-system"}},
 {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"calico-config","namespace":"kube-system"},
  "data":{"veth_mtu":"1450","cni_network_config":"{}"}},
 {"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"calico-node"},
  "subjects":[{"kind":"ServiceAccount","name":"calico-node","namespace":"kube-system"}]},
 {"apiVersion":"crd.projectcalico.org/v1","kind":"FelixConfiguration","metadata":{"name":"default"},"spec":{}},
 {"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{"name":"calico-node","namespace":"kube-system"},
  "spec":{"template":{"metadata":{"labels":{"k8s-app":"calico-node"}},"spec":{
   "initContainers":[
    {"name":"install-cni","envFrom":[{}],"env":[
     {"name":"CNI_NETWORK_CONFIG","valueFrom":{"configMapKeyRef":{"name":"calico-config","key":"cni_network_config"}}},
     {"name":"CNI_MTU","valueFrom":{"configMapKeyRef":{"name":"calico-config","key":"veth_mtu"}}}]},
    {"name":"mount-bpffs","volumeMounts":[{"name":"sys-fs","mountPath":"/sys/fs"}]}],
   "containers":[{"name":"calico-node","envFrom":[{}],"volumeMounts":[
    {"name":"bpffs","mountPath":"/sys/fs/bpf"},{"name":"lib-modules","mountPath":"/lib/modules"}]}],
   "volumes":[{"name":"sys-fs"},{"name":"bpffs"},{"name":"lib-modules"}]}}}}]}`

func start(t *testing.T, version string) (*Reconciler, cluster) {
	t.Helper()
	manifest, err := ReadManifest([]byte(testManifest))
	if err != nil {
		t.Fatal(err)
	}
	api := cluster{installationPath: object(t, `{"metadata":{"name":"default","uid":"u","generation":1},"spec":{}}`)}
	now := func() time.Time { return time.Unix(0, 0) }
	reconciler := &Reconciler{API: api, Manifest: manifest, Version: release(t, version), Endpoint: Endpoint{"10.96.0.1", "443"}, Now: now}
	again(t, reconciler)
	api.rollOut(2)
	again(t, reconciler)
	return reconciler, api
}

func again(t *testing.T, reconciler *Reconciler) {
	t.Helper()
	if err := reconciler.Reconcile(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func (c cluster) want(t *testing.T, network string) {
	t.Helper()
	merge(c[installationPath].Ensure("spec", "calicoNetwork"), object(t, network))
}
