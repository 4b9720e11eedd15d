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
	err = Probes{Health: address}.Run("-felix-live")
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
	dir := t.TempDir()
	probes := Probes{Nodename: filepath.Join(dir, "nodename"), BIRDSocket: filepath.Join(dir, "bird.ctl"), Services: dir}
	says(t, probes, "-bird-ready", "calico/node is not ready: BIRD is not ready: Failed to stat() nodename file: stat "+
		probes.Nodename+": no such file or directory")
	must(t, os.WriteFile(probes.Nodename, []byte("node1"), 0o600))
	says(t, probes, "-bird-ready", "calico/node is not ready: BIRD is not ready: Error querying BIRD: "+
		"unable to connect to BIRDv4 socket: dial unix "+probes.BIRDSocket+": connect: no such file or directory")
	says(t, probes, "-bird-live", "calico/node is not ready: bird/confd is not live: exit status 1")
}

func TestBIRDWhereItRuns(t *testing.T) {
	dir := t.TempDir()
	probes := Probes{Nodename: dir, BIRDSocket: filepath.Join(dir, "bird.ctl"), Services: dir}
	for _, service := range []string{"confd", "bird"} {
		must(t, os.Mkdir(filepath.Join(dir, service), 0o700))
	}
	listener, err := net.Listen("unix", probes.BIRDSocket)
	must(t, err)
	defer listener.Close()
	says(t, probes, "-bird-ready", "")
	says(t, probes, "-bird-live", "")
}

func TestUnknownProbe(t *testing.T) {
	if err := (Probes{}).Run("-felix"); !errors.Is(err, ErrUnknownProbe) {
		t.Errorf("says %v", err)
	}
}

func expectProbe(t *testing.T, flag, address, want string) {
	t.Helper()
	says(t, Probes{Health: address}, flag, want)
}

func says(t *testing.T, probes Probes, flag, want string) {
	t.Helper()
	got := ""
	if err := probes.Run(flag); err != nil {
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
