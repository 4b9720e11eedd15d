package nodeagent

import (
	"io"
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
	// BPF says whether the eBPF data plane is on, and what keeps it from being ready. It may be absent.
	BPF func() (isOn bool, problem string)
}

// Started marks the end of start-up. Nothing ever takes it back: like the real
// program (R05, R09) the stand-in stays Ready when the API server turns away.
func (h *Health) Started() { h.started.Store(true) }

// Handler serves both end points.
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/readiness", func(w http.ResponseWriter, _ *http.Request) {
		reporters, isReady := h.reporters()
		answer(w, isReady, reporters)
	})
	mux.HandleFunc("/liveness", func(w http.ResponseWriter, _ *http.Request) {
		reporters, _ := h.reporters()
		answer(w, !exists(h.UnliveFile), reporters)
	})
	return mux
}

// reporters are the lines of the table, sorted, and whether all of them are ready.
func (h *Health) reporters() ([]reporter, bool) {
	isReady, isLive := h.started.Load() && !exists(h.UnreadyFile), !exists(h.UnliveFile)
	var found []reporter
	isBPFReady := true
	if h.BPF != nil {
		if isOn, problem := h.BPF(); isOn {
			isBPFReady = problem == ""
			found = append(found, reporter{"BPFEndpointManager", "0s", "-", reporting(isBPFReady, "ready"), problem})
		}
	}
	found = append(found,
		reporter{"CalculationGraph", "30s", reporting(true, "live"), reporting(h.started.Load(), "ready"), ""},
		reporter{"FelixStartup", "0s", reporting(true, "live"), reporting(h.started.Load(), "ready"), ""},
		reporter{"InternalDataplaneMainLoop", "1m30s", reporting(isLive, "live"), reporting(isReady, "ready"), ""})
	return found, isReady && isBPFReady
}

func answer(w http.ResponseWriter, isGood bool, reporters []reporter) {
	if isGood {
		w.WriteHeader(http.StatusOK)
	} else {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	// Who asked and went away needs no answer.
	_, _ = io.WriteString(w, table(reporters))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
