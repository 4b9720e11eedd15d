package cniplugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kubectl-calico.invalid/standin/internal/hostnet"
)

// These texts occur in no recording. They are client-go's and Calico's wording
// as its sources have it.
func TestFaultsThatWereNotRecorded(t *testing.T) {
	forbidden := `clusterinformations.crd.projectcalico.org "default" is forbidden: User ` +
		`"system:serviceaccount:kube-system:calico-cni-plugin" cannot get resource "clusterinformations" ` +
		`in API group "crd.projectcalico.org" at the cluster scope`
	missing := `clusterinformations.crd.projectcalico.org "default" not found`
	cases := []struct {
		name  string
		given answers
		want  string
	}{
		{"no right", answers{askCluster: {403, status(403, "Forbidden", forbidden)}},
			"error getting ClusterInformation: connection is unauthorized: " + forbidden},
		{"object deleted, definition kept", answers{askCluster: {404, status(404, "NotFound", missing)}},
			"error getting ClusterInformation: resource does not exist: ClusterInformation(default) with error: " + missing},
		{"datastore locked", answers{askCluster: {200, `{"spec":{"datastoreReady":false}}`}},
			"Calico is currently not ready to process requests"},
		{"server error", answers{askCluster: {500, status(500, "InternalError", "etcdserver: request timed out")}},
			"error getting ClusterInformation: etcdserver: request timed out"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, command := range []string{"ADD", "DEL"} {
				b := newBench(t, c.given)
				if text, _ := b.run(command); text != c.want {
					t.Errorf("%s says\n  %q\nwant\n  %q", command, text, c.want)
				}
				expectUntouched(t, b, true)
			}
		})
	}
}

func TestRefusedConnection(t *testing.T) {
	b := newBench(t, healthy())
	b.plugin.Dial = nil
	data, err := os.ReadFile(b.conf.Kubernetes.Kubeconfig)
	must(t, err)
	// Port 1 of loopback has no listener.
	b.write(t, "/etc/cni/net.d/calico-kubeconfig", bytes.Replace(data, []byte(server), []byte("https://127.0.0.1:1"), 1))
	text, _ := b.run("DEL")
	want := `error getting ClusterInformation: Get "https://127.0.0.1:1/apis/crd.projectcalico.org/v1/` +
		`clusterinformations/default": dial tcp 127.0.0.1:1: connect: connection refused`
	if text != want {
		t.Errorf("says\n  %q\nwant\n  %q", text, want)
	}
}

func TestMissingKubeconfig(t *testing.T) {
	b := newBench(t, healthy())
	must(t, os.Remove(b.conf.Kubernetes.Kubeconfig))
	if text, _ := b.run("ADD"); text != "stat /etc/cni/net.d/calico-kubeconfig: no such file or directory" {
		t.Errorf("says %q", text)
	}
	expectUntouched(t, b, false)
}

func TestAddAsksFirstAndChangesAfterwards(t *testing.T) {
	b := newBench(t, healthy())
	text, out := b.run("ADD")
	if text != "" {
		t.Fatalf("ADD failed: %s", text)
	}
	host := hostnet.VethName("shop", "cart-1")
	b.expectTrace(t, askCluster, askNode, "connect "+host+" eth0 10.200.1.1 1450", patchPod)
	var result struct {
		CNIVersion string
		Interfaces []struct{ Name string }
		IPs        []struct{ Version, Address string }
	}
	must(t, json.Unmarshal([]byte(out), &result))
	if result.CNIVersion != "0.3.1" || len(result.Interfaces) != 1 || result.Interfaces[0].Name != host {
		t.Errorf("result %s", out)
	}
	if len(result.IPs) != 1 || result.IPs[0].Version != "4" || result.IPs[0].Address != "10.200.1.1/32" {
		t.Errorf("result %s", out)
	}
}

func TestDelRemovesOnceAndIsIdempotent(t *testing.T) {
	b := newBench(t, healthy())
	if text, _ := b.run("ADD"); text != "" {
		t.Fatalf("ADD failed: %s", text)
	}
	b.trace = nil
	for range 2 {
		if text, out := b.run("DEL"); text != "" || out != "" {
			t.Fatalf("DEL: error %q, output %q", text, out)
		}
	}
	// The second DEL must leave the link alone: by then it may be that of a newer
	// sandbox of the same pod.
	b.expectTrace(t, askCluster, "disconnect "+hostnet.VethName("shop", "cart-1"), askCluster)
}

// A sandbox whose address cannot be released stays as it is; another one goes.
func TestStuckSandbox(t *testing.T) {
	b := newBench(t, healthy())
	if text, _ := b.run("ADD"); text != "" {
		t.Fatal(text)
	}
	stuck := filepath.Join(b.path("stuck"), "0a360b46")
	b.plugin.StuckDir = filepath.Dir(stuck)
	must(t, os.MkdirAll(b.plugin.StuckDir, 0o700))
	must(t, os.WriteFile(stuck, nil, 0o600))
	b.trace = nil
	if text, _ := b.run("DEL"); text != "Hit max retries" {
		t.Errorf("says %q", text)
	}
	b.expectTrace(t, askCluster)
	must(t, os.Rename(stuck, stuck+"-of-another"))
	b.trace = nil
	if text, _ := b.run("DEL"); text != "" {
		t.Errorf("says %q", text)
	}
	b.expectTrace(t, askCluster, "disconnect "+hostnet.VethName("shop", "cart-1"))
}

func TestFailedAddGivesTheAddressBack(t *testing.T) {
	given := healthy()
	given[patchPod] = struct {
		code int
		body string
	}{404, status(404, "NotFound", `pods "cart-1" not found`)}
	b := newBench(t, given)
	if text, _ := b.run("ADD"); !strings.Contains(text, `pods "cart-1" not found`) {
		t.Fatalf("ADD says %q", text)
	}
	taken, err := b.plugin.Addresses.taken()
	must(t, err)
	if len(taken) != 0 {
		t.Errorf("still taken: %v", taken)
	}
	if last := b.trace[len(b.trace)-1]; !strings.HasPrefix(last, "disconnect ") {
		t.Errorf("the link stays; last step %q", last)
	}
}

func TestErrorObject(t *testing.T) {
	var out bytes.Buffer
	must(t, WriteError(&out, "0.3.1", errors.New(`Get "https://10.96.0.1:443": <x>`)))
	var object struct {
		CNIVersion string
		Code       uint
		Msg        string
	}
	must(t, json.Unmarshal(out.Bytes(), &object))
	if object.CNIVersion != "0.3.1" || object.Code != 999 || object.Msg != `Get "https://10.96.0.1:443": <x>` {
		t.Errorf("printed %s", out.String())
	}
}

func TestInput(t *testing.T) {
	environment := map[string]string{
		"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "0a360b46", "CNI_NETNS": "/run/netns/cni-1", "CNI_IFNAME": "eth0",
		"CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart-1",
	}
	lookup := func(name string) string { return environment[name] }
	conf := `{"cniVersion":"0.3.1","type":"calico","nodename":"node2","kubernetes":{"kubeconfig":"/k"}}`
	in, err := ReadInput(lookup, strings.NewReader(conf))
	must(t, err)
	if in.Namespace != "shop" || in.Pod != "cart-1" || in.Conf.Nodename != "node2" || in.Conf.Kubernetes.Kubeconfig != "/k" {
		t.Errorf("read %+v", in)
	}
	delete(environment, "CNI_NETNS")
	if _, err := ReadInput(lookup, strings.NewReader(conf)); err == nil {
		t.Error("an ADD without a network namespace is accepted")
	}
	environment["CNI_COMMAND"] = "DEL"
	if _, err := ReadInput(lookup, strings.NewReader(conf)); err != nil {
		t.Errorf("a DEL after a reboot has no network namespace, but: %v", err)
	}
	environment["CNI_COMMAND"] = "VERSION"
	if _, err := ReadInput(lookup, strings.NewReader("")); err != nil {
		t.Errorf("VERSION needs no configuration, but: %v", err)
	}
}
