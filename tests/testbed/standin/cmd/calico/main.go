// Command calico is the testbed's stand-in for Calico's CNI plugin. The same
// file is installed as calico-ipam, which only answers VERSION: the addresses
// are assigned by calico itself.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"kubectl-calico.invalid/standin/internal/calicolog"
	"kubectl-calico.invalid/standin/internal/cniplugin"
	"kubectl-calico.invalid/standin/internal/hostnet"
)

// version is what the recorded install-cni printed for its plugin.
const version = "v3.28.4"

func main() {
	if len(os.Args) > 1 && (os.Args[1] == "-v" || os.Args[1] == "-version" || os.Args[1] == "--version") {
		fmt.Println(version)
		return
	}
	in, err := cniplugin.ReadInput(os.Getenv, os.Stdin)
	if err == nil {
		err = run(in)
	}
	if err != nil {
		if writeErr := cniplugin.WriteError(os.Stdout, in.Conf.CNIVersion, err); writeErr != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
}

func run(in cniplugin.Input) error {
	if filepath.Base(os.Args[0]) == "calico-ipam" {
		if in.Command == "VERSION" {
			return cniplugin.WriteVersions(os.Stdout)
		}
		return fmt.Errorf("the stand-in calico-ipam only answers VERSION: calico assigns the addresses")
	}
	log, closeLog := openLog(in.Conf.LogFilePath)
	defer closeLog()
	plugin := &cniplugin.Plugin{
		NodenameFile: "/var/lib/calico/nodename",
		MTUFile:      "/var/lib/calico/mtu",
		Addresses:    cniplugin.Pool{Dir: "/var/lib/calico/standin-ipam", Lock: "/var/run/calico/ipam.lock"},
		StuckDir:     "/var/run/calico/standin-del-fails",
		Wiring:       wiring{},
		Log:          log,
	}
	return plugin.Run(context.Background(), in, os.Stdout)
}

// openLog opens cni.log with the recorded mode. Without it the plugin works on.
func openLog(path string) (*calicolog.Logger, func()) {
	var out io.Writer = io.Discard
	done := func() {}
	if path != "" && os.MkdirAll(filepath.Dir(path), 0o755) == nil {
		if file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			out, done = file, func() { _ = file.Close() }
		}
	}
	return calicolog.New(out), done
}

type wiring struct{}

func (wiring) Connect(w hostnet.Workload) error { return w.Connect() }

func (wiring) Disconnect(host string) error { return hostnet.Disconnect(host) }
