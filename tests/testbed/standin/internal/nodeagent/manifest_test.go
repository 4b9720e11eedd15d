package nodeagent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The manifest's template must be the recorded one, or the testbed would
// diagnose a conflist that no Calico writes.
func TestManifestHasTheRecordedTemplate(t *testing.T) {
	manifest, err := os.ReadFile(filepath.Join("..", "..", "calico.yaml"))
	must(t, err)
	_, rest, found := strings.Cut(string(manifest), "  cni_network_config: |-\n")
	if !found {
		t.Fatal("calico.yaml has no template")
	}
	var template []string
	for _, line := range strings.Split(rest, "\n") {
		indented, inside := strings.CutPrefix(line, "    ")
		if !inside {
			break
		}
		template = append(template, indented)
	}
	if got, want := strings.Join(template, "\n"), recordedTemplate(t); got != want {
		t.Errorf("template\n%s\nrecorded\n%s", got, want)
	}
}
