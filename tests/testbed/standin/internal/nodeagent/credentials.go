package nodeagent

import (
	"context"
	"path/filepath"

	"kubectl-calico.invalid/standin/internal/atomicfile"
	"kubectl-calico.invalid/standin/internal/kubeapi"
)

const (
	// cniAccount is the ServiceAccount whose token the CNI plugin carries.
	cniAccount = "calico-cni-plugin"
	// tokenSeconds is the lifetime asked for: a day.
	tokenSeconds = 24 * 60 * 60
	// kubeconfigName is the file in the directory of CNI configurations.
	kubeconfigName = "calico-kubeconfig"
)

// writeCNIKubeconfig asks for a fresh token of the CNI plugin's account and
// writes the plugin's kubeconfig with it. The token is bound to no pod, so it
// outlives calico-node, but neither the account nor the signing key.
func writeCNIKubeconfig(ctx context.Context, id Identity, netDir string, lookup func(string) string) error {
	account := cniAccount
	if name := lookup("CALICO_CNI_SERVICE_ACCOUNT"); name != "" {
		account = name
	}
	token, err := id.Client.CreateToken(ctx, id.Namespace, account, tokenSeconds)
	if err != nil {
		return err
	}
	data := kubeapi.RenderKubeconfig(kubeapi.Config{Server: id.Server, CA: id.CA, Token: token})
	return atomicfile.Write(filepath.Join(netDir, kubeconfigName), data, 0o600)
}
