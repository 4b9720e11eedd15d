package bpfplane

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"kubectl-calico.invalid/standin/internal/calicolog"
)

// healthz answers load balancers in kube-proxy's place.
type healthz struct{ server *http.Server }

// serveHealthz goes on trying while somebody else, such as kube-proxy, has the port.
func serveHealthz(port int, log *calicolog.Logger) *healthz {
	address := fmt.Sprintf(":%d", port)
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "{}") })
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: askLimit}
	go func() {
		for {
			listener, err := net.Listen("tcp", address)
			if err == nil {
				log.Log(calicolog.Info, "felix/kube-proxy.go 180", "Starting BPF Proxy Healthz server on "+address)
				err = server.Serve(listener)
			}
			if err == http.ErrServerClosed {
				return
			}
			log.Log(calicolog.Error, "felix/kube-proxy.go 190", "BPF Proxy Healthz server failed, restarting in 1s",
				calicolog.Field{Key: "error", Value: err})
			time.Sleep(time.Second)
		}
	}()
	return &healthz{server: server}
}

func (h *healthz) stop() {
	if h != nil {
		_ = h.server.Close()
	}
}
