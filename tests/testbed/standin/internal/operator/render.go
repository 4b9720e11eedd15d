package operator

import "encoding/json"

// Namespace is where the operator puts Calico; from is where the manifest has it.
const (
	Namespace = "calico-system"
	from      = "kube-system"
)

// The names of the real one's ConfigMap for the CNI plugin, and those of the manifest's.
const (
	cniConfigMap, cniConfigKey           = "cni-config", "config"
	manifestConfigMap, manifestConfigKey = "calico-config", "cni_network_config"
)

// Manifest is the testbed's manifest install: what the operator renders is made
// of it, so that there is one calico-node to keep up.
type Manifest []Object

// ReadManifest reads a List of the manifest's objects.
func ReadManifest(data []byte) (Manifest, error) {
	var list struct{ Items []Object }
	err := json.Unmarshal(data, &list)
	return list.Items, err
}

// Input is everything that what is rendered depends on.
type Input struct {
	Installation Object
	Version      Version
	Endpoint     Endpoint
	Bootstrap    *Bootstrap
}

// Render makes the objects that the operator owns.
func (m Manifest) Render(in Input) []Object {
	objects := []Object{owned(Object{
		"apiVersion": "v1", "kind": "Namespace",
		"metadata": map[string]any{"name": Namespace, "labels": map[string]any{"name": Namespace}},
	}, in.Installation)}
	for _, object := range m.owned() {
		object = object.Copy()
		if object.Text("metadata", "namespace") == from {
			object.Part("metadata")["namespace"] = Namespace
		}
		for _, subject := range object.List("subjects") {
			subject["namespace"] = Namespace
		}
		switch object.Text("kind") {
		case "ConfigMap":
			object.Part("metadata")["name"] = cniConfigMap
			object["data"] = map[string]any{cniConfigKey: object.Text("data", manifestConfigKey)}
		case "DaemonSet":
			m.daemonSet(object, in)
		}
		objects = append(objects, owned(object, in.Installation))
	}
	return objects
}

// Seeds are the objects of crd.projectcalico.org that are made where there are
// none and that belong to the administrator afterwards.
func (m Manifest) Seeds() []Object {
	return m.where(func(group string) bool { return group == crdGroup })
}

func (m Manifest) owned() []Object {
	return m.where(func(group string) bool { return group != crdGroup })
}

const crdGroup = "crd.projectcalico.org/v1"

func (m Manifest) where(wanted func(group string) bool) []Object {
	var some []Object
	for _, object := range m {
		if wanted(object.Text("apiVersion")) {
			some = append(some, object)
		}
	}
	return some
}

// owned lets the object go with the Installation.
func owned(object, installation Object) Object {
	object.Ensure("metadata")["ownerReferences"] = []any{map[string]any{
		"apiVersion": "operator.tigera.io/v1", "kind": "Installation", "controller": true, "blockOwnerDeletion": true,
		"name": installation.Text("metadata", "name"), "uid": installation.Text("metadata", "uid"),
	}}
	return object
}

func (m Manifest) daemonSet(set Object, in Input) {
	for _, meta := range []Object{set.Ensure("metadata", "labels"), set.Ensure("spec", "template", "metadata", "labels")} {
		meta["app.kubernetes.io/name"] = "calico-node"
	}
	pod := set.Ensure("spec", "template", "spec")
	for _, kind := range []string{"initContainers", "containers"} {
		for _, container := range pod.List(kind) {
			m.container(container, in)
		}
	}
	if in.Version.autoMode() || bpfEnabled(in.Installation) {
		mountBPF(pod, in)
	} else {
		unmountBPF(pod)
	}
}

// container has literal values where the manifest refers to its ConfigMap, and
// the API server's address explicitly where the manifest takes it from one.
func (m Manifest) container(container Object, in Input) {
	delete(container, "envFrom")
	for _, variable := range container.List("env") {
		reference := variable.Part("valueFrom", "configMapKeyRef")
		if reference.Text("name") != manifestConfigMap {
			continue
		}
		if key := reference.Text("key"); key != manifestConfigKey {
			delete(variable, "valueFrom")
			variable["value"] = m.setting(key)
			continue
		}
		reference["name"], reference["key"] = cniConfigMap, cniConfigKey
	}
	for _, variable := range in.Endpoint.env() {
		container.add("env", map[string]any(variable))
	}
}

func (m Manifest) setting(key string) string {
	for _, object := range m {
		if object.Text("kind") == "ConfigMap" && object.Text("metadata", "name") == manifestConfigMap {
			return object.Text("data", key)
		}
	}
	return ""
}
