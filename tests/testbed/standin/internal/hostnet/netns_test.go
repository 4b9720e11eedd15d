package hostnet

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// needsRoot skips a test that makes network namespaces where it cannot.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	// A run that must not skip says so with CI=true.
	if os.Getenv("CI") == "true" {
		t.Fatal("network namespaces need root")
	}
	t.Skip("network namespaces need root")
}

// again runs the calling test in another network namespace, in the given role.
func again(t *testing.T, namespace, role string) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command("ip", "netns", "exec", namespace, self, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), role)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("in %s: %v\n%s", namespace, err, out)
	}
}

// netns makes a network namespace that goes with the test.
func netns(t *testing.T, role string) string {
	t.Helper()
	name := fmt.Sprintf("standin-%s-%d", role, os.Getpid())
	must(t, IP("netns", "add", name))
	t.Cleanup(func() {
		if err := IP("netns", "del", name); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return name
}

func show(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	must(t, err)
	return string(out)
}

func contains(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, words := range wanted {
		if !strings.Contains(text, words) {
			t.Errorf("no %q in\n%s", words, text)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
