package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kubectl-calico.invalid/standin/internal/recording"
)

// asPlugin makes the test binary behave as the plugin itself.
const asPlugin = "STANDIN_TEST_AS_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		// ReadInput takes no flags, so those of the test binary do not disturb.
		os.Args = []string{os.Getenv(asPlugin)}
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// invoke runs the plugin as a runtime does: environment, stdin, stdout, status.
func invoke(t *testing.T, name, command, conf string) (string, int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = []string{asPlugin + "=/opt/cni/bin/" + name, "CNI_COMMAND=" + command, "CNI_CONTAINERID=0a360b46",
		"CNI_NETNS=/run/netns/none", "CNI_IFNAME=eth0", "CNI_ARGS=K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart-1"}
	cmd.Stdin = strings.NewReader(conf)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return stdout.String(), cmd.ProcessState.ExitCode()
}

func TestErrorIsAnObjectOnStdoutAndStatusOne(t *testing.T) {
	if _, err := os.Stat("/var/lib/calico/nodename"); err == nil {
		t.Skip("this machine is a Calico node")
	}
	r, err := recording.Open("R01")
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := r.PluginErrors()
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "cni", "cni.log")
	stdout, status := invoke(t, "calico", "ADD", `{"cniVersion":"0.3.1","type":"calico","log_file_path":"`+log+`"}`)
	var object struct {
		CNIVersion, Msg string
		Code            uint
	}
	if err := json.Unmarshal([]byte(stdout), &object); err != nil {
		t.Fatalf("%v in %q", err, stdout)
	}
	if status != 1 || object.CNIVersion != "0.3.1" || object.Code != 999 {
		t.Errorf("status %d, printed %s", status, stdout)
	}
	if len(recorded) != 1 || object.Msg != recorded[0].Text {
		t.Errorf("says %q, recorded %v", object.Msg, recorded)
	}
	info, err := os.Stat(log)
	if err != nil || info.Mode().String() != "-rw-------" {
		t.Errorf("cni.log: %v, %v", info, err)
	}
}

func TestVersionAndUnknownCommands(t *testing.T) {
	for _, name := range []string{"calico", "calico-ipam"} {
		stdout, status := invoke(t, name, "VERSION", `{"cniVersion":"0.3.1"}`)
		if status != 0 || !strings.Contains(stdout, `"0.3.1"`) {
			t.Errorf("%s VERSION: status %d, %s", name, status, stdout)
		}
		if stdout, status := invoke(t, name, "GC", `{"cniVersion":"1.1.0"}`); status != 1 || !json.Valid([]byte(stdout)) {
			t.Errorf("%s GC: status %d, %s", name, status, stdout)
		}
	}
	if stdout, status := invoke(t, "calico", "DEL", "not json"); status != 1 || !strings.Contains(stdout, `"code": 6`) {
		t.Errorf("bad configuration: status %d, %s", status, stdout)
	}
}
