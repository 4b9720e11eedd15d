package operator

import "testing"

func TestBPFBootstrapRequirements(t *testing.T) {
	service := object(t, `{"spec":{"clusterIP":"10.96.0.1","ports":[{"port":443}]}}`)
	slices := []Object{object(t, `{"endpoints":[{"addresses":["10.99.0.1"]},{"addresses":["fd00::1"]}],"ports":[{"port":6443}]}`)}
	const auto = `{"spec":{"calicoNetwork":{"linuxDataplane":"BPF","bpfNetworkBootstrap":"Enabled"}}}`
	for _, c := range []struct {
		what, installation string
		configMap, service Object
		slices             []Object
		words              string
	}{
		{"not asked for", `{"spec":{"calicoNetwork":{"linuxDataplane":"Iptables"}}}`, Object{}, nil, nil, ""},
		{"half a rollback", `{"spec":{"calicoNetwork":{"linuxDataplane":"Iptables","bpfNetworkBootstrap":"Enabled"}}}`, nil, service, slices,
			"bpfNetworkBootstrap is enabled but linuxDataplane is not set to BPF"},
		{"an endpoint is named", auto, Object{}, service, slices, "kubernetes service endpoint is defined by the kubernetes-service-endpoints ConfigMap"},
		{"no Service", auto, nil, nil, slices, "service"},
		{"no slices", auto, nil, service, nil, "endpoint slices"},
		{"all is there", auto, nil, service, slices, ""},
	} {
		bootstrap, err := bpfBootstrapRequirements(object(t, c.installation), c.configMap, c.service, c.slices)
		says(t, c.what, err, c.words)
		if c.what == "all is there" && (bootstrap == nil || *bootstrap != Bootstrap{"10.96.0.1:443", "10.99.0.1:6443,[fd00::1]:6443"}) {
			t.Errorf("bootstrap %v", bootstrap)
		}
	}
}

func TestValidateDaemonSetUnmanaged(t *testing.T) {
	for set, words := range map[string]string{
		`{"metadata":{"labels":{"k8s-app":"kube-proxy"}}}`:                            "",
		`{"metadata":{"labels":{"app.kubernetes.io/managed-by":"argocd"}}}`:           "managed-by",
		`{"metadata":{"labels":{"addonmanager.kubernetes.io/mode":"Reconcile"}}}`:     "addonmanager",
		`{"metadata":{"annotations":{"argocd.argoproj.io/tracking-id":"an-id"}}}`:     "tracking-id",
		`{"metadata":{"annotations":{"kube-proxy.config.k8s.io/proxy-mode":"ipvs"}}}`: "",
	} {
		says(t, set, validateDaemonSetUnmanaged(object(t, set)), words)
	}
}

func TestKubeProxyPatch(t *testing.T) {
	const stopped = `{"spec":{"template":{"spec":{"nodeSelector":{"operator.tigera.io/disable-kube-proxy":"true"}}}}}`
	const removed = `{"spec":{"template":{"spec":{"nodeSelector":{"operator.tigera.io/disable-kube-proxy":null}}}}}`
	const on, off = `{"spec":{"bpfEnabled":true}}`, `{"spec":{"bpfEnabled":false}}`
	for _, c := range []struct{ set, felix, want string }{
		{`{}`, on, stopped}, {stopped, on, "null"}, {stopped, off, removed}, {`{}`, off, "null"}, {stopped, `{}`, removed},
	} {
		patchIs(t, c.set+" "+c.felix, kubeProxyPatch(object(t, c.set), object(t, c.felix)), c.want)
	}
}

func TestSetNftablesMode(t *testing.T) {
	for _, c := range []struct{ plane, felix, want string }{
		{"BPF", `{}`, `{"spec":{"nftablesMode":"Enabled"}}`},
		{"Nftables", `{"spec":{"nftablesMode":"Enabled"}}`, "null"},
		{"Iptables", `{"spec":{"nftablesMode":"Auto"}}`, `{"spec":{"nftablesMode":"Disabled"}}`},
	} {
		installation := object(t, `{"spec":{"calicoNetwork":{"linuxDataplane":"`+c.plane+`"}}}`)
		patchIs(t, c.plane, setNftablesMode(installation, object(t, c.felix)), c.want)
	}
}
