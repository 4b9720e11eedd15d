package nodeagent

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"kubectl-calico.invalid/standin/internal/calicolog"
	"kubectl-calico.invalid/standin/internal/kubeapi"
)

func TestCredentialsAreReadOnce(t *testing.T) {
	i := newInstallation(t, http.StatusCreated)
	id, err := ReadIdentity(i.path("sa"), i.installer.Lookup)
	must(t, err)
	i.write(t, "sa/ca.crt", "another CA")
	i.write(t, "sa/token", "another-token")
	must(t, writeCNIKubeconfig(context.Background(), id, i.path("net.d"), i.installer.Lookup))
	read, err := kubeapi.ReadKubeconfig(i.path("net.d/calico-kubeconfig"))
	must(t, err)
	if !bytes.Equal(read.CA, i.ca) {
		t.Error("the kubeconfig has the CA that came after the start")
	}
}

func TestIdentityNeedsTheServiceAddress(t *testing.T) {
	if _, err := ReadIdentity(t.TempDir(), func(string) string { return "" }); err == nil {
		t.Error("no address of the API server, and no error")
	}
}

// At start the kubeconfig is rewritten once; the next time comes after hours.
func TestTokenIsRefreshedByLifetimeOnly(t *testing.T) {
	i := newInstallation(t, http.StatusCreated)
	id, err := ReadIdentity(i.path("sa"), i.installer.Lookup)
	must(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	log := &cancelling{cancel: cancel}
	// The first line that is logged ends the context, and so the wait after it.
	Agent{NetDir: i.path("net.d"), Identity: id, Lookup: i.installer.Lookup, Log: calicolog.New(log)}.refreshToken(ctx)
	if !strings.Contains(log.text.String(), "Wrote updated CNI kubeconfig file.") || len(i.requests) != 1 {
		t.Errorf("asked %q, logged %s", i.requests, log.text.String())
	}
	if wait := refreshBase + jitter(refreshBase); wait < 6*time.Hour || wait >= 12*time.Hour {
		t.Errorf("the next refresh comes after %s", wait)
	}
}

// cancelling is a log that ends a context when something is written to it.
type cancelling struct {
	text   strings.Builder
	cancel context.CancelFunc
}

func (c *cancelling) Write(p []byte) (int, error) {
	c.cancel()
	return c.text.Write(p)
}

// The condition must be the recorded one: other tools look for its reason.
func TestNodeConditionIsTheRecordedOne(t *testing.T) {
	var list struct {
		Items []struct {
			Metadata struct{ Annotations map[string]string }
			Status   struct{ Conditions []map[string]string }
		}
	}
	must(t, json.Unmarshal(openR02(t).Files["cluster/nodes.json"], &list))
	patch, err := json.Marshal(nodeIsUp(kubeapi.Node{}, "10.200.1.0", time.Now()))
	must(t, err)
	var ours struct {
		Metadata struct{ Annotations map[string]string }
		Status   struct{ Conditions []map[string]string }
	}
	must(t, json.Unmarshal(patch, &ours))
	for key := range ours.Metadata.Annotations {
		if list.Items[0].Metadata.Annotations[key] == "" {
			t.Errorf("no recorded node has the annotation %s", key)
		}
	}
	mine, found := ours.Status.Conditions[0], false
	for _, c := range list.Items[0].Status.Conditions {
		if c["type"] != mine["type"] {
			continue
		}
		found = true
		for _, key := range []string{"status", "reason", "message"} {
			if c[key] != mine[key] {
				t.Errorf("%s is %q, recorded %q", key, mine[key], c[key])
			}
		}
	}
	if !found {
		t.Errorf("R02 has no condition %s", mine["type"])
	}
}

func TestStateFilesHaveNoNewline(t *testing.T) {
	dir := t.TempDir()
	must(t, Agent{Node: "node2", StateDir: dir}.writeState())
	for name, want := range map[string]string{"nodename": "node2", "mtu": "1450"} {
		if data, err := os.ReadFile(dir + "/" + name); err != nil || string(data) != want {
			t.Errorf("%s holds %q, %v", name, data, err)
		}
	}
}
