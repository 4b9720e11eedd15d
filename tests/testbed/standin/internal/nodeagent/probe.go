package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// ErrUnknownProbe is what a flag gets that names no probe.
var ErrUnknownProbe = errors.New("unknown probe")

// Probe carries out one of the container's exec probes, named by its flag. Its
// error is the line that the real program prints before it exits with 1.
func Probe(flag, healthAddress, birdSocket string) error {
	var what string
	var err error
	switch flag {
	case "-felix-ready":
		what, err = "felix is not ready", probeFelix(healthAddress, "readiness")
	case "-felix-live":
		what, err = "Felix is not live", probeFelix(healthAddress, "liveness")
	case "-bird-ready":
		what, err = "BIRD is not ready", probeBIRD(birdSocket)
	case "-bird-live":
		what, err = "bird/confd is not live", probeBIRD(birdSocket)
	default:
		return ErrUnknownProbe
	}
	if err != nil {
		return fmt.Errorf("calico/node is not ready: %s: %w", what, err)
	}
	return nil
}

// probeTimeout bounds one question to the health server.
const probeTimeout = 5 * time.Second

// probeFelix asks the health server for "readiness" or "liveness".
func probeFelix(address, what string) error {
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

// probeBIRD fails wherever no BIRD runs, which with VXLAN is everywhere.
func probeBIRD(socket string) error {
	conn, err := net.DialTimeout("unix", socket, probeTimeout)
	if err != nil {
		return fmt.Errorf("Error querying BIRD: unable to connect to BIRDv4 socket: %w", err)
	}
	return conn.Close()
}
