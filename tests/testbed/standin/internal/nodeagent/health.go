package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// HealthAddress is where Felix serves its health, on loopback only.
const HealthAddress = "127.0.0.1:9099"

// Files on the host (below /var/run/calico, which calico-node mounts) by which a
// test tells the stand-in to report bad health for as long as the file exists.
const (
	UnreadyFile = "/var/run/calico/standin-unready"
	UnliveFile  = "/var/run/calico/standin-unlive"
)

// Health answers /readiness and /liveness.
type Health struct {
	started     atomic.Bool
	UnreadyFile string
	UnliveFile  string
}

// Started marks the end of start-up. Nothing ever takes it back: like the real
// program (R05, R09) the stand-in stays Ready when the API server turns away.
func (h *Health) Started() { h.started.Store(true) }

// Handler serves both end points.
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/readiness", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, h.started.Load() && !exists(h.UnreadyFile))
	})
	mux.HandleFunc("/liveness", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, !exists(h.UnliveFile))
	})
	return mux
}

func answer(w http.ResponseWriter, good bool) {
	if good {
		w.WriteHeader(http.StatusOK)
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// probeTimeout bounds one question to the health server.
const probeTimeout = 5 * time.Second

// ProbeFelix asks the health server for "readiness" or "liveness".
func ProbeFelix(address, what string) error {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	// The URL names localhost, as in the real program's messages; the connection
	// goes to loopback whatever the container's resolver says.
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost:9099/"+what, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("%s probe reporting %d", what, resp.StatusCode)
	}
	return nil
}

// ProbeBIRD fails wherever no BIRD runs, which with VXLAN is everywhere.
func ProbeBIRD(socket string) error {
	conn, err := net.DialTimeout("unix", socket, probeTimeout)
	if err != nil {
		return fmt.Errorf("Error querying BIRD: unable to connect to BIRDv4 socket: %w", err)
	}
	return errors.Join(conn.Close())
}
