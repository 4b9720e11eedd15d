// Command calico-node is the testbed's stand-in for the DaemonSet's programs:
//
//	calico-node install       the init container install-cni
//	calico-node               the running container
//	calico-node -felix-ready  and -felix-live, -bird-ready, -bird-live: the probes
//	calico-node -init         the init container mount-bpffs, also with -best-effort
//	calico-node -bpf COMMAND  what the eBPF data plane has in its maps: nat dump, ifstate dump
//	calico-node -v            the version
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"kubectl-calico.invalid/standin/internal/bpfplane"
	"kubectl-calico.invalid/standin/internal/calicolog"
	"kubectl-calico.invalid/standin/internal/nodeagent"
)

// netDir is the host's directory of CNI configurations in both containers.
const netDir = "/host/etc/cni/net.d"

func main() {
	endOnSignal()
	args := os.Args[1:]
	switch {
	case len(args) == 0:
		exitOn(run())
	case args[0] == "install":
		exitOn(install())
	case args[0] == "-v" || args[0] == "--version":
		fmt.Println(nodeagent.Version)
	case args[0] == "-init":
		exitOn(initialize(slices.Contains(args, "-best-effort")))
	case args[0] == "-bpf":
		os.Exit(bpfplane.NewTool(os.Stdout, os.Stderr).Run(args[1:]))
	default:
		probe(args)
	}
}

// endOnSignal makes the program end at once, also as pid 1, to which the kernel
// gives no default action.
func endOnSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		os.Exit(0)
	}()
}

func run() error {
	id, err := nodeagent.ReadIdentity(nodeagent.ServiceAccountDir, os.Getenv)
	if err != nil {
		return err
	}
	log := calicolog.New(os.Stdout)
	plane := &bpfplane.Plane{Node: os.Getenv("NODENAME"), Client: id.Client, Lookup: os.Getenv, Log: log}
	return nodeagent.Agent{
		Node:     os.Getenv("NODENAME"),
		StateDir: "/var/lib/calico",
		NetDir:   netDir,
		Identity: id,
		Health: &nodeagent.Health{
			UnreadyFile: nodeagent.UnreadyFile, UnliveFile: nodeagent.UnliveFile, BPF: plane.Health,
		},
		Lookup: os.Getenv,
		Log:    log,
		Plane:  plane,
	}.Run(context.Background())
}

// initialize mounts what the eBPF data plane needs of the host. With best effort a failure is only told: it may never be turned on.
func initialize(isBestEffort bool) error {
	log := calicolog.New(os.Stdout)
	err := bpfplane.MountFileSystem(log)
	if err == nil || !isBestEffort {
		return err
	}
	log.Log(calicolog.Warning, "init-best-effort/calico-init_linux.go 52", "Failed to mount BPF filesystem.",
		calicolog.Field{Key: "error", Value: err})
	return nil
}

func install() error {
	return nodeagent.Installer{
		Source:      "/opt/cni/bin",
		BinDir:      "/host/opt/cni/bin",
		NetDir:      netDir,
		Credentials: nodeagent.ServiceAccountDir,
		Lookup:      os.Getenv,
		Out:         os.Stdout,
		Log:         calicolog.New(os.Stdout),
	}.Install(context.Background())
}

func exitOn(err error) {
	if err == nil {
		return
	}
	calicolog.New(os.Stdout).Log(calicolog.Fatal, "calico-node/main.go 1", err.Error())
	os.Exit(1)
}

// probe runs the checks in the order given and stops at the first that fails.
func probe(flags []string) {
	probes := nodeagent.Probes{
		Health:     nodeagent.HealthAddress,
		Nodename:   "/var/lib/calico/nodename",
		BIRDSocket: "/var/run/calico/bird.ctl",
		Services:   "/etc/service/enabled",
	}
	for _, flag := range flags {
		err := probes.Run(flag)
		if errors.Is(err, nodeagent.ErrUnknownProbe) {
			fmt.Fprintf(os.Stderr, "flag provided but not defined: %s\n", flag)
			os.Exit(2)
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
}
