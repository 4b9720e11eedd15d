package nodeagent

import (
	"net/http"
	"os"
	"sync/atomic"
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
