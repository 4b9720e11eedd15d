// Package nodeagent is the testbed's calico-node: what its init container
// install-cni writes to the host, and what the running container keeps up.
package nodeagent

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"kubectl-calico.invalid/standin/internal/kubeapi"
)

// ServiceAccountDir is where the kubelet mounts a pod's own credentials.
const ServiceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// Identity is what the program read of its own ServiceAccount, once, at start.
// The recording R05 shows that the real calico-node goes on with the CA it has
// in memory after the cluster got another one, and stays Ready.
type Identity struct {
	// Server is https://KUBERNETES_SERVICE_HOST:KUBERNETES_SERVICE_PORT.
	Server    string
	CA        []byte
	Namespace string
	Client    *kubeapi.Client
}

// ReadIdentity reads the mounted credentials and the API server's address.
func ReadIdentity(dir string, lookup func(string) string) (Identity, error) {
	host, port := lookup("KUBERNETES_SERVICE_HOST"), lookup("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return Identity{}, errors.New("unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined")
	}
	var contents [3]string
	for i, name := range []string{"ca.crt", "token", "namespace"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return Identity{}, fmt.Errorf("read the service account: %w", err)
		}
		contents[i] = string(data)
	}
	id := Identity{
		Server:    "https://" + net.JoinHostPort(host, port),
		CA:        []byte(contents[0]),
		Namespace: strings.TrimSpace(contents[2]),
	}
	client, err := kubeapi.New(kubeapi.Config{Server: id.Server, CA: id.CA, Token: strings.TrimSpace(contents[1])})
	if err != nil {
		return Identity{}, err
	}
	id.Client = client
	return id, nil
}
