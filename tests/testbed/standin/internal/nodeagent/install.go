package nodeagent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"kubectl-calico.invalid/standin/internal/atomicfile"
	"kubectl-calico.invalid/standin/internal/calicolog"
)

// Version is the Calico version that the stand-ins imitate.
const Version = "v3.28.4"

// Installer is the init container install-cni.
type Installer struct {
	// Source holds the image's CNI binaries, BinDir and NetDir are the host's
	// directories as they are mounted in the container.
	Source string
	BinDir string
	NetDir string
	// Credentials is ServiceAccountDir, but for tests.
	Credentials string
	Lookup      func(string) string
	Out         io.Writer
	Log         *calicolog.Logger
}

// Install writes binaries, kubeconfig and conflist, in the recorded order. Any
// failure ends it, so the pod stays in its init phase as the real one's does.
func (i Installer) Install(ctx context.Context) error {
	i.Log.Log(calicolog.Info, "cni-installer/install.go 142", "Running as a Kubernetes pod")
	if err := i.copyBinaries(); err != nil {
		return err
	}
	id, err := ReadIdentity(i.Credentials, i.Lookup)
	if err != nil {
		return err
	}
	if err := writeCNIKubeconfig(ctx, id, i.NetDir, i.Lookup); err != nil {
		return fmt.Errorf("Unable to create token for CNI kubeconfig error=%w", err)
	}
	return i.writeConflist()
}

func (i Installer) copyBinaries() error {
	entries, err := os.ReadDir(i.Source)
	if err != nil {
		return fmt.Errorf("list the image's CNI binaries: %w", err)
	}
	for _, entry := range entries {
		if entry.IsDir() || entry.Name() == "install" {
			continue
		}
		target := filepath.Join(i.BinDir, entry.Name())
		if err := i.copyBinary(filepath.Join(i.Source, entry.Name()), target); err != nil {
			return err
		}
		i.Log.Log(calicolog.Info, "cni-installer/install.go 228", "Installed "+target)
	}
	i.Log.Log(calicolog.Info, "cni-installer/install.go 232", fmt.Sprintf("Wrote Calico CNI binaries to %s\n", i.BinDir))
	i.Log.Log(calicolog.Info, "cni-installer/install.go 237", "CNI plugin version: "+Version)
	return nil
}

func (i Installer) copyBinary(source, target string) error {
	data, err := os.ReadFile(source)
	if err != nil {
		return fmt.Errorf("read the image's CNI binary: %w", err)
	}
	present, err := os.ReadFile(target)
	if err == nil && bytes.Equal(present, data) && executable(target) {
		i.Log.Log(calicolog.Info, "cni-installer/install.go 419", "File is already up to date, skipping",
			calicolog.Field{Key: "file", Value: target})
		return nil
	}
	return atomicfile.Write(target, data, 0o755)
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Perm()&0o111 == 0o111
}

func (i Installer) writeConflist() error {
	template := i.Lookup("CNI_NETWORK_CONFIG")
	if template == "" {
		return errors.New("no CNI config template: CNI_NETWORK_CONFIG is empty")
	}
	i.Log.Log(calicolog.Info, "cni-installer/install.go 316", "Using CNI config template from CNI_NETWORK_CONFIG environment variable.")
	netDirOnHost := orDefault(i.Lookup("CNI_NET_DIR"), "/etc/cni/net.d")
	conflist := strings.NewReplacer(
		"__KUBERNETES_NODE_NAME__", i.Lookup("KUBERNETES_NODE_NAME"),
		"__CNI_MTU__", orDefault(i.Lookup("CNI_MTU"), "0"),
		"__KUBECONFIG_FILEPATH__", filepath.Join(netDirOnHost, kubeconfigName),
		"__LOG_LEVEL__", orDefault(i.Lookup("LOG_LEVEL"), "info"),
	).Replace(template)
	if !json.Valid([]byte(conflist)) {
		return fmt.Errorf("%s is not a valid json object", conflist)
	}
	name := orDefault(i.Lookup("CNI_CONF_NAME"), "10-calico.conflist")
	target := filepath.Join(i.NetDir, name)
	if err := atomicfile.Write(target, []byte(conflist), 0o644); err != nil {
		return err
	}
	i.Log.Log(calicolog.Info, "cni-installer/install.go 397", "Created "+target)
	i.Log.Log(calicolog.Info, "cni-installer/install.go 257", "Done configuring CNI.  Sleep= false")
	_, err := fmt.Fprintln(i.Out, conflist)
	return err
}

func orDefault(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
