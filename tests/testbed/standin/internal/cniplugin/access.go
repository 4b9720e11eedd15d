package cniplugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"kubectl-calico.invalid/standin/internal/kubeapi"
)

// errNotReady is what Calico says while ClusterInformation.spec.datastoreReady
// is false.
var errNotReady = errors.New("Calico is currently not ready to process requests")

// connect makes the checks with which every ADD and every DEL begins, in the
// real plugin's order: nodename file, kubeconfig, ClusterInformation. Nothing
// on the host is changed before it has succeeded.
func (p *Plugin) connect(ctx context.Context, in Input) (*kubeapi.Client, error) {
	if _, err := os.Stat(p.NodenameFile); err != nil {
		return nil, fmt.Errorf("%w: check that the calico/node container is running and has mounted /var/lib/calico/", err)
	}
	config, err := kubeapi.ReadKubeconfig(in.Conf.Kubernetes.Kubeconfig)
	if err != nil {
		return nil, err
	}
	config.Dial = p.Dial
	client, err := kubeapi.New(config)
	if err != nil {
		return nil, err
	}
	info, err := client.GetClusterInformation(ctx)
	if err != nil {
		return nil, fmt.Errorf("error getting ClusterInformation: %w", asCalicoError(err))
	}
	if ready := info.Spec.DatastoreReady; ready != nil && !*ready {
		return nil, errNotReady
	}
	return client, nil
}

// asCalicoError words a refusal as Calico's datastore client does. It makes no
// difference between an unknown caller and one without the right.
func asCalicoError(err error) error {
	switch kubeapi.Code(err) {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("connection is unauthorized: %w", err)
	case http.StatusNotFound:
		return fmt.Errorf("resource does not exist: ClusterInformation(default) with error: %w", err)
	default:
		return err
	}
}

// Dial connects to the API server; nil is the ordinary way.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)
