package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// ErrUnknownProbe is what a flag gets that names no probe.
var ErrUnknownProbe = errors.New("unknown probe")

// Probes says where the exec probes look.
type Probes struct {
	// Health is Felix's address, see HealthAddress.
	Health string
	// Nodename is the file that a started calico-node has written.
	Nodename string
	// BIRDSocket is where BIRD listens.
	BIRDSocket string
	// Services holds one folder for each program that the container's runsv keeps
	// running besides Felix: confd and bird where routes go by BGP, none with VXLAN.
	Services string
}

// Run carries out one probe, named by its flag. Its error is the line that the
// real program prints before it exits with 1.
func (p Probes) Run(flag string) error {
	var what string
	var err error
	switch flag {
	case "-felix-ready":
		what, err = "felix is not ready", probeFelix(p.Health, "readiness")
	case "-felix-live":
		what, err = "Felix is not live", probeFelix(p.Health, "liveness")
	case "-bird-ready":
		what, err = "BIRD is not ready", p.birdIsReady()
	case "-bird-live":
		what, err = "bird/confd is not live", p.birdIsLive()
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

// birdIsReady fails wherever no BIRD runs, which with VXLAN is everywhere.
func (p Probes) birdIsReady() error {
	if _, err := os.Stat(p.Nodename); err != nil {
		return fmt.Errorf("Failed to stat() nodename file: %w", err)
	}
	conn, err := net.DialTimeout("unix", p.BIRDSocket, probeTimeout)
	if err != nil {
		return fmt.Errorf("Error querying BIRD: unable to connect to BIRDv4 socket: %w", err)
	}
	return conn.Close()
}

// birdIsLive asks, like the real program, for the state of two services. Of one
// that is not kept at all, `sv status` says so and exits with 1, which is all
// that the real program tells.
func (p Probes) birdIsLive() error {
	for _, service := range []string{"confd", "bird"} {
		if !exists(filepath.Join(p.Services, service)) {
			return errors.New("exit status 1")
		}
	}
	return nil
}
