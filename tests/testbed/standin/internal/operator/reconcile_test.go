package operator

import (
	"encoding/json"
	"strings"
	"testing"
)

func (c cluster) daemonSetHas(word string) bool {
	text, err := json.Marshal(c[daemonSetPath])
	return err == nil && strings.Contains(string(text), word)
}

func (c cluster) bpf() string {
	felix := c[felixPath]
	text, err := json.Marshal(felix.Part("spec")["bpfEnabled"])
	if err != nil {
		return err.Error()
	}
	return string(text) + " " + felix.Text("metadata", "annotations", BPFOperatorAnnotation)
}

func expect[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestRenderMakesAnOperatorsInstallOfTheManifest(t *testing.T) {
	_, api := start(t, "1.34.14")
	expect(t, "calico", api.condition("calico", "Available"), "True All objects available")
	for _, word := range []string{"envFrom", "bpffs", "sys-fs", "calico-config", "kube-system"} {
		expect(t, word, api.daemonSetHas(word), false)
	}
	for _, word := range []string{`"name":"cni-config"`, `"value":"1450"`, `"value":"10.96.0.1"`, "lib-modules", `"kind":"Installation"`} {
		expect(t, word, api.daemonSetHas(word), true)
	}
	binding := api["/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/calico-node"]
	expect(t, "subject", binding.List("subjects")[0].Text("namespace"), Namespace)
	config := api["/api/v1/namespaces/calico-system/configmaps/cni-config"]
	expect(t, "config", config.Text("data", "config"), "{}")
	expect(t, "bpfEnabled", api.bpf(), "false false")
}

func TestTwoPhases(t *testing.T) {
	reconciler, api := start(t, "1.34.14")
	api.want(t, `{"linuxDataplane":"BPF"}`)
	again(t, reconciler)
	expect(t, "mounts come first", api.daemonSetHas("bpffs"), true)
	expect(t, "before the rollout", api.bpf(), "false false")
	expect(t, "progressing", strings.HasPrefix(api.condition("calico", "Progressing"), "True"), true)
	api.rollOut(1)
	again(t, reconciler)
	expect(t, "with a node that is NotReady", api.bpf(), "false false")
	expect(t, "waiting", api.condition("calico", "Progressing"), `True DaemonSet "calico-system/calico-node" is not available (awaiting 1 nodes)`)
	api.rollOut(2)
	again(t, reconciler)
	expect(t, "after the rollout", api.bpf(), "true true")

	api.want(t, `{"linuxDataplane":"Iptables"}`)
	again(t, reconciler)
	expect(t, "off at once", api.bpf(), "false false")
	expect(t, "mounts go in the same reconcile", api.daemonSetHas("bpffs"), false)
}

func TestHandEditIsRefusedUntilTheAnnotationFits(t *testing.T) {
	reconciler, api := start(t, "1.34.14")
	felix := api[felixPath].Part("spec")
	felix["bpfEnabled"] = true
	again(t, reconciler)
	expect(t, "degraded", strings.Contains(api.condition("calico", "Degraded"), "modified by someone else"), true)
	expect(t, "available all the same", strings.HasPrefix(api.condition("calico", "Available"), "True"), true)
	expect(t, "untouched", api.bpf(), "true false")
	felix["bpfEnabled"] = false
	again(t, reconciler)
	expect(t, "healed", strings.HasPrefix(api.condition("calico", "Degraded"), "False"), true)
}

func TestEndpointSticksUntilTheProcessEnds(t *testing.T) {
	reconciler, api := start(t, "1.34.14")
	api[endpointPath] = object(t, `{"data":{"KUBERNETES_SERVICE_HOST":"10.99.0.1","KUBERNETES_SERVICE_PORT":"6443"}}`)
	again(t, reconciler)
	expect(t, "direct", api.daemonSetHas("10.99.0.1"), true)
	delete(api, endpointPath)
	again(t, reconciler)
	expect(t, "still", api.daemonSetHas("10.99.0.1"), true)
	next := &Reconciler{API: api, Manifest: reconciler.Manifest, Version: reconciler.Version, Endpoint: Endpoint{"10.96.0.1", "443"}, Now: reconciler.Now}
	again(t, next)
	expect(t, "another process", api.daemonSetHas("10.99.0.1"), false)
}

func TestKnobs(t *testing.T) {
	reconciler, api := start(t, "1.34.14")
	api.want(t, `{"linuxDataplane":"BPF"}`)
	api[knobsPath] = object(t, `{"data":{"degraded":"no disk"}}`)
	again(t, reconciler)
	expect(t, "degraded", api.condition("calico", "Degraded"), "True no disk")
	expect(t, "nothing is rendered", api.daemonSetHas("bpffs"), false)
	api[knobsPath] = object(t, `{"data":{"stall-rollout":"true"}}`)
	again(t, reconciler)
	api.rollOut(2)
	again(t, reconciler)
	expect(t, "rolled out, and yet it waits", api.bpf(), "false false")
	delete(api, knobsPath)
	again(t, reconciler)
	expect(t, "goes on", api.bpf(), "true true")
}

func TestAutoMode(t *testing.T) {
	reconciler, api := start(t, "1.40.15")
	expect(t, "mounts for every data plane", api.daemonSetHas("ebpf-bootstrap"), true)
	api[servicePath] = object(t, `{"spec":{"clusterIP":"10.96.0.1","ports":[{"port":443}]}}`)
	api[slicesPath] = object(t, `{"items":[{"endpoints":[{"addresses":["10.99.0.1"]}],"ports":[{"port":6443}]}]}`)
	api[kubeProxyPath] = object(t, `{"metadata":{"labels":{"app.kubernetes.io/managed-by":"x"}}}`)
	api.want(t, `{"linuxDataplane":"BPF","bpfNetworkBootstrap":"Enabled","kubeProxyManagement":"Enabled"}`)
	again(t, reconciler)
	expect(t, "nftables come first", api[felixPath].Text("spec", "nftablesMode"), "Enabled")
	expect(t, "bootstrap", api.daemonSetHas("10.99.0.1:6443"), true)
	expect(t, "foreign kube-proxy", strings.Contains(api.condition(monitor, "Degraded"), "failed to validate kube-proxy DaemonSet"), true)
	api.rollOut(2)
	api[kubeProxyPath] = Object{}
	again(t, reconciler)
	stopped := func() string {
		return api[kubeProxyPath].Text("spec", "template", "spec", "nodeSelector", DisableKubeProxyKey)
	}
	expect(t, "kube-proxy stops", stopped(), "true")
	expect(t, "monitor", strings.HasPrefix(api.condition(monitor, "Available"), "True"), true)

	api.want(t, `{"linuxDataplane":"Iptables"}`)
	again(t, reconciler)
	expect(t, "half a rollback is none", api.bpf(), "true true")
	expect(t, "said", strings.Contains(api.condition("calico", "Degraded"), "linuxDataplane is not set to BPF"), true)
	api.want(t, `{"bpfNetworkBootstrap":"Disabled"}`)
	again(t, reconciler)
	expect(t, "a whole one", api.bpf(), "false false")
	expect(t, "kube-proxy runs", stopped(), "")
	api.want(t, `{"kubeProxyManagement":"Disabled"}`)
	again(t, reconciler)
	expect(t, "no monitor without management", api[statusesPath+"/"+monitor] == nil, true)
}
