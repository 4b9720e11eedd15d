package operator

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func object(t *testing.T, text string) Object {
	t.Helper()
	var o Object
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return o
}

// says compares an error with words that must be in it; no words mean no error.
func says(t *testing.T, what string, err error, words string) {
	t.Helper()
	switch {
	case words == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case words != "" && (err == nil || !strings.Contains(err.Error(), words)):
		t.Errorf("%s: got %v, want %q", what, err, words)
	}
}

func patchIs(t *testing.T, what string, got Object, want string) {
	t.Helper()
	text, err := json.Marshal(got)
	if err != nil || string(text) != want {
		t.Errorf("%s: got %s (%v), want %s", what, text, err, want)
	}
}

func release(t *testing.T, text string) Version {
	t.Helper()
	version, err := ParseVersion(text)
	if err != nil {
		t.Fatal(err)
	}
	return version
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]struct{ auto, guard bool }{
		"1.34.5": {}, "v1.34.14": {guard: true}, "1.36.10": {}, "1.36.13": {guard: true},
		"1.38.4": {}, "1.38.5": {guard: true}, "1.40.0": {auto: true, guard: true}, "1.43.0": {auto: true, guard: true},
	} {
		version := release(t, text)
		if version.autoMode() != want.auto || version.generationGuard() != want.guard {
			t.Errorf("%s: auto %v, guard %v", text, version.autoMode(), version.generationGuard())
		}
	}
	for _, text := range []string{"", "1.34", "1.x.0", "1.32.3", "1.34.-1"} {
		if version, err := ParseVersion(text); err == nil {
			t.Errorf("%q passes for %v", text, version)
		}
	}
}

func TestPopulateK8sServiceEndPointSticks(t *testing.T) {
	endpoint := Endpoint{"10.96.0.1", "443"}
	for _, step := range []struct {
		configMap Object
		want      Endpoint
	}{
		{nil, Endpoint{"10.96.0.1", "443"}},
		{object(t, `{"data":{"KUBERNETES_SERVICE_HOST":"10.99.0.1","KUBERNETES_SERVICE_PORT":"6443"}}`), Endpoint{"10.99.0.1", "6443"}},
		{nil, Endpoint{"10.99.0.1", "6443"}},
		{object(t, `{"data":{"KUBERNETES_SERVICE_HOST":"half"}}`), Endpoint{"half", ""}},
	} {
		if endpoint.PopulateK8sServiceEndPoint(step.configMap); endpoint != step.want {
			t.Errorf("after %v: %v, want %v", step.configMap, endpoint, step.want)
		}
	}
	if env := endpoint.env(); env != nil {
		t.Errorf("half an endpoint is rendered: %v", env)
	}
}

func TestValidateCustomResource(t *testing.T) {
	for network, want := range map[string]string{
		`{"linuxDataplane":"Iptables"}`:                                           "",
		`{"linuxDataplane":"BPF"}`:                                                "spec.calicoNetwork.nodeAddressAutodetectionV4 is required for the BPF dataplane",
		`{"linuxDataplane":"BPF","nodeAddressAutodetectionV4":{}}`:                "",
		`{"linuxDataplane":"BPF","ipPools":[{"cidr":"fd00::/64"}]}`:               "nodeAddressAutodetectionV6 is required",
		`{"linuxDataplane":"BPF","ipPools":[{"cidr":"10.0.0.0/8"}]}`:              "nodeAddressAutodetectionV4 is required",
		`{"linuxDataplane":"BPF","nodeAddressAutodetectionV4":{},"ipPools":[{}]}`: "",
	} {
		installation := object(t, `{"spec":{"calicoNetwork":`+network+`}}`)
		says(t, network, validateCustomResource(installation), want)
	}
	unprivileged := object(t, `{"spec":{"nonPrivileged":"Enabled","calicoNetwork":{"linuxDataplane":"BPF","nodeAddressAutodetectionV4":{}}}}`)
	says(t, "nonPrivileged", validateCustomResource(unprivileged), "Non-privileged Calico is not supported")
}

func TestFillDefaults(t *testing.T) {
	installation := object(t, `{"spec":{"variant":"Calico","calicoNetwork":{"bgp":"Disabled","linuxDataplane":"BPF"}}}`)
	patch := fillDefaults(installation, release(t, "1.34.14"))
	patchIs(t, "1.34", patch, `{"spec":{"calicoNetwork":{"hostPorts":"Enabled","nodeAddressAutodetectionV4":{"firstFound":true}}}}`)
	if again := fillDefaults(installation, release(t, "1.34.14")); again != nil {
		t.Errorf("filled twice: %v", again)
	}
	patch = fillDefaults(installation, release(t, "1.40.0"))
	patchIs(t, "1.40", patch, `{"spec":{"calicoNetwork":{"bpfNetworkBootstrap":"Disabled","kubeProxyManagement":"Disabled"}}}`)
}

func TestBPFValidateAnnotations(t *testing.T) {
	const refused = `FelixConfiguration "default" has been modified by someone else`
	for felix, want := range map[string]string{
		`{}`:                           "",
		`{"spec":{"bpfEnabled":true}}`: refused,
		`{"metadata":{"annotations":{"operator.tigera.io/bpfEnabled":"true"}}}`:                               refused,
		`{"metadata":{"annotations":{"operator.tigera.io/bpfEnabled":"true"}},"spec":{"bpfEnabled":true}}`:    "",
		`{"metadata":{"annotations":{"operator.tigera.io/bpfEnabled":"true"}},"spec":{"bpfEnabled":false}}`:   refused,
		`{"metadata":{"annotations":{"operator.tigera.io/bpfEnabled":"false"}},"spec":{"bpfEnabled":false}}`:  "",
		`{"metadata":{"annotations":{"operator.tigera.io/bpfEnabled":"indeed"}},"spec":{"bpfEnabled":false}}`: "invalid syntax",
	} {
		says(t, felix, bpfValidateAnnotations(object(t, felix)), want)
	}
}

func TestSetBPFUpdatesOnFelixConfiguration(t *testing.T) {
	const on = `{"metadata":{"annotations":{"operator.tigera.io/bpfEnabled":"true"}},"spec":{"bpfEnabled":true}}`
	const off = `{"metadata":{"annotations":{"operator.tigera.io/bpfEnabled":"false"}},"spec":{"bpfEnabled":false}}`
	const byHand = `{"metadata":{"annotations":{"operator.tigera.io/bpfEnabled":"true"}},"spec":{"bpfEnabled":false}}`
	for _, c := range []struct {
		what, plane, felix string
		rolledOut          bool
		want, words        string
	}{
		{"waits for the rollout", "BPF", off, false, "null", ""},
		{"enables after it", "BPF", off, true, on, ""},
		{"is content", "BPF", on, true, "null", ""},
		{"disables at once", "Iptables", on, false, off, ""},
		{"says off where nothing was said", "Iptables", `{}`, false, off, ""},
		{"leaves off alone", "Iptables", off, false, "null", ""},
		{"refuses a hand edit", "BPF", byHand, true, "null", "modified by someone else"},
		{"does not look before it writes", "Iptables", byHand, true, "null", ""},
	} {
		installation := object(t, `{"spec":{"calicoNetwork":{"linuxDataplane":"`+c.plane+`"}}}`)
		patch, err := setBPFUpdatesOnFelixConfiguration(installation, object(t, c.felix), c.rolledOut)
		says(t, c.what, err, c.words)
		patchIs(t, c.what, patch, c.want)
	}
}

func TestSetDefaultsOnFelixConfiguration(t *testing.T) {
	const set = `{"spec":{"healthPort":9099,"vxlanVNI":4096}}`
	const on = `{"metadata":{"annotations":{"operator.tigera.io/bpfEnabled":"true"}},"spec":{"bpfEnabled":true}}`
	withVariable := object(t, `{"spec":{"template":{"spec":{"containers":[{"env":[{"name":"FELIX_BPFENABLED","value":"true"}]}]}}}}`)
	bpf, iptables := object(t, `{"spec":{"calicoNetwork":{"linuxDataplane":"BPF"}}}`), object(t, `{}`)
	for _, c := range []struct {
		what          string
		installation  Object
		daemonSet     Object
		felix, wanted string
	}{
		{"fresh with eBPF", bpf, nil, set, on},
		{"fresh without", iptables, nil, set, "null"},
		{"a DaemonSet is there", bpf, object(t, `{"spec":{}}`), set, "null"},
		{"carried over from before 1.34", bpf, withVariable, set, on},
		{"open fields are filled", iptables, nil, `{"spec":{"vxlanVNI":7}}`, `{"spec":{"healthPort":9099}}`},
	} {
		patch, err := setDefaultsOnFelixConfiguration(c.installation, object(t, c.felix), c.daemonSet)
		says(t, c.what, err, "")
		patchIs(t, c.what, patch, c.wanted)
	}
}

func TestIsRolloutCompleteWithBPFVolumes(t *testing.T) {
	set := func(volume string, generation int, status string) Object {
		return object(t, `{"metadata":{"generation":`+string(rune('0'+generation))+`},"status":`+status+
			`,"spec":{"template":{"spec":{"volumes":[{"name":"`+volume+`"}]}}}}`)
	}
	const whole = `{"observedGeneration":2,"currentNumberScheduled":2,"updatedNumberScheduled":2,"numberAvailable":2}`
	const notReady = `{"observedGeneration":2,"currentNumberScheduled":2,"updatedNumberScheduled":2,"numberAvailable":1}`
	const rolling = `{"observedGeneration":2,"currentNumberScheduled":2,"updatedNumberScheduled":1,"numberAvailable":2}`
	for _, c := range []struct {
		what           string
		set            Object
		guarded, other bool
	}{
		{"whole", set("bpffs", 2, whole), true, true},
		{"another volume", set("other", 2, whole), false, false},
		{"a node is NotReady", set("bpffs", 2, notReady), false, false},
		{"a pod is old", set("bpffs", 2, rolling), false, false},
		{"the controller has not looked yet", set("bpffs", 3, whole), false, true},
		{"no DaemonSet", nil, false, false},
	} {
		guarded, other := isRolloutCompleteWithBPFVolumes(c.set, true), isRolloutCompleteWithBPFVolumes(c.set, false)
		if guarded != c.guarded || other != c.other {
			t.Errorf("%s: with guard %v, without %v", c.what, guarded, other)
		}
	}
}

func TestConditions(t *testing.T) {
	status := func(all []Object) (text string) {
		for _, condition := range all {
			text += condition.Text("type")[:1] + condition.Text("status")[:1] + " "
		}
		return text
	}
	stop := &Degraded{"ResourceUpdateError", "x"}
	for _, c := range []struct {
		stop    *Degraded
		waiting string
		want    string
	}{
		{nil, "", "AT DF PF "}, {nil, "rolling", "AF DF PT "}, {stop, "", "AT DT PF "}, {stop, "rolling", "AF DT PF "},
	} {
		if got := status(conditions(c.stop, c.waiting, 1)); got != c.want {
			t.Errorf("%v %q: %s, want %s", c.stop, c.waiting, got, c.want)
		}
	}
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	first := conditions(nil, "", 1)
	if !stamp(first, nil, noon) || stamp(conditions(nil, "", 1), first, noon.Add(time.Hour)) {
		t.Error("only what differs is written")
	}
	later := conditions(nil, "", 2)
	if !stamp(later, first, noon.Add(time.Hour)) || later[0].Text("lastTransitionTime") != "2026-01-01T12:00:00Z" {
		t.Errorf("another generation is written, with the time of the status: %v", later[0])
	}
}
