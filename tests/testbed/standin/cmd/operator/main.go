// Command operator is the testbed's model of the Tigera operator. It reads the
// manifest whose objects it renders from the file that it is given, and reconciles
// once a second.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"kubectl-calico.invalid/standin/internal/nodeagent"
	"kubectl-calico.invalid/standin/internal/operator"
)

const (
	// interval is a poll where the real one watches.
	interval = time.Second
	// limit of one reconcile, and of the first look at the API server.
	limit = 20 * time.Second
)

func main() {
	log.SetOutput(os.Stdout)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: operator MANIFEST")
	}
	reconciler, err := prepare(args[0])
	if err != nil {
		return err
	}
	if err := look(ctx, reconciler.API); err != nil {
		return err
	}
	log.Printf("reconciling, API server %s:%s", reconciler.Endpoint.Host, reconciler.Endpoint.Port)
	return loop(ctx, reconciler)
}

func prepare(path string) (*operator.Reconciler, error) {
	name := os.Getenv("OPERATOR_VERSION")
	if name == "" {
		name = operator.DefaultVersion
	}
	version, err := operator.ParseVersion(name)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	manifest, err := operator.ReadManifest(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	id, err := nodeagent.ReadIdentity(nodeagent.ServiceAccountDir, os.Getenv)
	if err != nil {
		return nil, err
	}
	return &operator.Reconciler{
		API: operator.Server{Client: id.Client}, Manifest: manifest, Version: version, Now: time.Now,
		Endpoint: operator.Endpoint{Host: os.Getenv("KUBERNETES_SERVICE_HOST"), Port: os.Getenv("KUBERNETES_SERVICE_PORT")},
	}, nil
}

// look ends the process, as the real one's start does, when the API server does
// not answer where the environment says it is.
func look(ctx context.Context, api operator.API) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := api.Get(ctx, "/version")
	return err
}

func loop(ctx context.Context, reconciler *operator.Reconciler) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	said := ""
	for {
		if text := once(ctx, reconciler); text != said {
			said = text
			log.Printf("reconciled: %s", said)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func once(ctx context.Context, reconciler *operator.Reconciler) string {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := reconciler.Reconcile(ctx); err != nil {
		return err.Error()
	}
	return "no errors"
}
