package nodeagent

import (
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kubectl-calico.invalid/standin/internal/recording"
)

func newHealth(t *testing.T) (*Health, string) {
	t.Helper()
	dir := t.TempDir()
	h := &Health{UnreadyFile: filepath.Join(dir, "unready"), UnliveFile: filepath.Join(dir, "unlive")}
	server := httptest.NewServer(h.Handler())
	t.Cleanup(server.Close)
	return h, strings.TrimPrefix(server.URL, "http://")
}

func TestReadinessFollowsStartAndFile(t *testing.T) {
	h, address := newHealth(t)
	expectProbe(t, "-felix-ready", address, "calico/node is not ready: felix is not ready: readiness probe reporting 503")
	expectProbe(t, "-felix-live", address, "")
	h.Started()
	expectProbe(t, "-felix-ready", address, "")
	must(t, os.WriteFile(h.UnreadyFile, nil, 0o600))
	expectProbe(t, "-felix-ready", address, "calico/node is not ready: felix is not ready: readiness probe reporting 503")
	must(t, os.Remove(h.UnreadyFile))
	expectProbe(t, "-felix-ready", address, "")
	must(t, os.WriteFile(h.UnliveFile, nil, 0o600))
	expectProbe(t, "-felix-live", address, "calico/node is not ready: Felix is not live: liveness probe reporting 503")
	expectProbe(t, "-felix-ready", address, "")
}

// The recording R09 has the text of a liveness probe that found nobody.
func TestNobodyServesHealth(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := listener.Addr().String()
	must(t, listener.Close())
	err = Probe("-felix-live", address, "")
	if err == nil {
		t.Fatal("the probe succeeds without a server")
	}
	text := strings.Replace(err.Error(), address, HealthAddress, 1)
	r, err := recording.Open("R09")
	must(t, err)
	messages, err := r.EventMessages()
	must(t, err)
	for _, message := range messages {
		if message == "Liveness probe failed: "+text+"\n" {
			return
		}
	}
	t.Errorf("says\n  %q\nwhich no event of %s has", text, r.Name)
}

func TestNoBIRDWithVXLAN(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "bird.ctl")
	want := "calico/node is not ready: BIRD is not ready: Error querying BIRD: unable to connect to BIRDv4 socket: " +
		"dial unix " + socket + ": connect: no such file or directory"
	if err := Probe("-bird-ready", "", socket); err == nil || err.Error() != want {
		t.Errorf("says %v", err)
	}
}

func TestUnknownProbe(t *testing.T) {
	if err := Probe("-felix", "", ""); !errors.Is(err, ErrUnknownProbe) {
		t.Errorf("says %v", err)
	}
}

func expectProbe(t *testing.T, flag, address, want string) {
	t.Helper()
	got := ""
	if err := Probe(flag, address, ""); err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("%s says %q, want %q", flag, got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
