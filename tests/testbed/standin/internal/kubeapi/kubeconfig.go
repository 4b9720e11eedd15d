package kubeapi

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"
)

// kubeconfigLayout is the layout of the file that install-cni writes, as
// recorded; the recorded file differs only in that its secrets are decoded.
const kubeconfigLayout = `# Kubeconfig file for Calico CNI plugin. Installed by calico/node.
apiVersion: v1
kind: Config
clusters:
- name: local
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: calico
  user:
    token: %s
contexts:
- name: calico-context
  context:
    cluster: local
    user: calico
current-context: calico-context
`

// RenderKubeconfig writes c in the layout of /etc/cni/net.d/calico-kubeconfig.
func RenderKubeconfig(c Config) []byte {
	return []byte(fmt.Sprintf(kubeconfigLayout, c.Server, base64.StdEncoding.EncodeToString(c.CA), c.Token))
}

// ReadKubeconfig reads a file in that layout. It is no YAML reader: it takes the
// first value of each of the three keys, bare or quoted, which is enough for the
// layout above and for a hand edited copy of it.
func ReadKubeconfig(path string) (Config, error) {
	// The stat comes first because its wording is what client-go reports for a
	// missing file.
	if _, err := os.Stat(path); err != nil {
		return Config{}, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	values := scalars(string(data), "server", "certificate-authority-data", "token")
	if values["server"] == "" {
		return Config{}, fmt.Errorf("invalid configuration: no server has been defined for cluster \"local\"")
	}
	ca, err := base64.StdEncoding.DecodeString(values["certificate-authority-data"])
	if err != nil {
		return Config{}, fmt.Errorf("invalid configuration: decode certificate-authority-data of %s: %w", path, err)
	}
	return Config{Server: values["server"], CA: ca, Token: values["token"]}, nil
}

func scalars(text string, keys ...string) map[string]string {
	found := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimPrefix(strings.TrimSpace(line), "- ")
		for _, key := range keys {
			value, ok := strings.CutPrefix(line, key+":")
			if _, seen := found[key]; ok && !seen {
				found[key] = strings.Trim(strings.TrimSpace(value), `"'`)
			}
		}
	}
	return found
}
