package nodeagent

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kubectl-calico.invalid/standin/internal/calicolog"
	"kubectl-calico.invalid/standin/internal/kubeapi"
	"kubectl-calico.invalid/standin/internal/recording"
)

const tokenPath = "/api/v1/namespaces/kube-system/serviceaccounts/calico-cni-plugin/token"

// installation is one run of install-cni on a made host.
type installation struct {
	installer Installer
	out       bytes.Buffer
	requests  []string
	root      string
	env       map[string]string
	ca        []byte
}

func newInstallation(t *testing.T, tokenStatus int) *installation {
	t.Helper()
	i := &installation{root: t.TempDir()}
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		i.requests = append(i.requests, r.Method+" "+r.URL.Path+" "+string(body))
		if tokenStatus != http.StatusCreated {
			w.WriteHeader(tokenStatus)
			_, _ = w.Write([]byte(`{"kind":"Status","message":"serviceaccounts \"calico-cni-plugin\" not found"}`))
			return
		}
		w.WriteHeader(tokenStatus)
		_, _ = w.Write([]byte(`{"status":{"token":"fresh-token"}}`))
	}))
	t.Cleanup(api.Close)
	i.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})
	address, err := url.Parse(api.URL)
	must(t, err)
	i.env = map[string]string{
		"KUBERNETES_SERVICE_HOST": address.Hostname(), "KUBERNETES_SERVICE_PORT": address.Port(),
		"KUBERNETES_NODE_NAME": "node2", "CNI_MTU": "0", "CNI_CONF_NAME": "10-calico.conflist",
		"CNI_NETWORK_CONFIG": recordedTemplate(t),
	}
	for name, content := range map[string]string{
		"sa/ca.crt": string(i.ca), "sa/token": "own-token", "sa/namespace": "kube-system",
		"image/calico": "a program", "image/calico-ipam": "a program",
	} {
		i.write(t, name, content)
	}
	for _, dir := range []string{"bin", "net.d"} {
		must(t, os.Mkdir(filepath.Join(i.root, dir), 0o755))
	}
	i.installer = Installer{
		Source: i.path("image"), BinDir: i.path("bin"), NetDir: i.path("net.d"), Credentials: i.path("sa"),
		Lookup: func(name string) string { return i.env[name] }, Out: &i.out, Log: calicolog.New(&i.out),
	}
	return i
}

func (i *installation) path(name string) string { return filepath.Join(i.root, name) }

func (i *installation) write(t *testing.T, name, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(i.path(name)), 0o755))
	must(t, os.WriteFile(i.path(name), []byte(content), 0o600))
}

func TestInstallWritesTheRecordedFiles(t *testing.T) {
	i := newInstallation(t, http.StatusCreated)
	must(t, i.installer.Install(context.Background()))
	recorded := openR02(t)
	conflist, err := os.ReadFile(i.path("net.d/10-calico.conflist"))
	must(t, err)
	want, err := recorded.Section("node2", "conf-10-calico.conflist")
	must(t, err)
	if strings.TrimSpace(string(conflist)) != strings.TrimSpace(want) {
		t.Errorf("conflist\n%s\nrecorded\n%s", conflist, want)
	}
	kubeconfig, err := os.ReadFile(i.path("net.d/calico-kubeconfig"))
	must(t, err)
	want, err = recorded.Section("node2", "calico-kubeconfig")
	must(t, err)
	if got := withoutValues(string(kubeconfig)); got != withoutValues(want) {
		t.Errorf("kubeconfig\n%s\nrecorded\n%s", got, withoutValues(want))
	}
	expectModes(t, i.path("net.d"), map[string]string{"10-calico.conflist": "-rw-r--r--", "calico-kubeconfig": "-rw-------"})
	expectModes(t, i.path("bin"), map[string]string{"calico": "-rwxr-xr-x", "calico-ipam": "-rwxr-xr-x"})
	read, err := kubeapi.ReadKubeconfig(i.path("net.d/calico-kubeconfig"))
	must(t, err)
	if read.Token != "fresh-token" || !bytes.Equal(read.CA, i.ca) || !strings.HasPrefix(read.Server, "https://127.0.0.1:") {
		t.Errorf("the plugin would read server %s, %d bytes of CA", read.Server, len(read.CA))
	}
}

func TestInstallAsksForADayLongToken(t *testing.T) {
	i := newInstallation(t, http.StatusCreated)
	must(t, i.installer.Install(context.Background()))
	if len(i.requests) != 1 || !strings.HasPrefix(i.requests[0], "POST "+tokenPath+" ") {
		t.Fatalf("asked %q", i.requests)
	}
	if !strings.Contains(i.requests[0], `"expirationSeconds":86400`) {
		t.Errorf("asked %q", i.requests[0])
	}
}

// Every line that the installer logs must be one that the real one logged.
func TestInstallLogsRecordedLines(t *testing.T) {
	i := newInstallation(t, http.StatusCreated)
	must(t, i.installer.Install(context.Background()))
	must(t, i.installer.Install(context.Background()))
	known := map[string]bool{}
	for path, log := range openR02(t).Files {
		if strings.HasSuffix(path, "/install-cni.log") {
			for _, line := range logLines(string(log)) {
				known[line] = true
			}
		}
	}
	host := strings.NewReplacer(i.path("bin"), "/host/opt/cni/bin", i.path("net.d"), "/host/etc/cni/net.d")
	lines := logLines(host.Replace(i.out.String()))
	if len(lines) == 0 {
		t.Fatal("nothing was logged")
	}
	for _, line := range lines {
		// The real one found other binaries up to date on that run, never calico.
		if strings.Contains(line, "already up to date") {
			line = upToDate.ReplaceAllString(line, "bin/portmap")
		}
		if !known[line] {
			t.Errorf("no recorded line\n  %s", line)
		}
	}
}

func TestInstallFailsWithoutTheAccount(t *testing.T) {
	i := newInstallation(t, http.StatusNotFound)
	i.write(t, "net.d/calico-kubeconfig", "old")
	err := i.installer.Install(context.Background())
	if err == nil || !strings.Contains(err.Error(), `serviceaccounts "calico-cni-plugin" not found`) {
		t.Fatalf("says %v", err)
	}
	old, err := os.ReadFile(i.path("net.d/calico-kubeconfig"))
	must(t, err)
	if string(old) != "old" {
		t.Error("a failed installation changed the kubeconfig")
	}
}

var upToDate = regexp.MustCompile(`bin/calico(-ipam)?\b`)

func openR02(t *testing.T) recording.Recording {
	t.Helper()
	r, err := recording.Open("R02")
	must(t, err)
	return r
}

// recordedTemplate is the conflist template of the recorded ConfigMap.
func recordedTemplate(t *testing.T) string {
	t.Helper()
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Data     map[string]string
		}
	}
	must(t, json.Unmarshal(openR02(t).Files["cluster/configmaps.json"], &list))
	for _, item := range list.Items {
		if item.Metadata.Name == "calico-config" {
			return item.Data["cni_network_config"]
		}
	}
	t.Fatal("R02 has no ConfigMap calico-config")
	return ""
}

var secretValues = regexp.MustCompile(`(?m)^(\s*(?:server|certificate-authority-data|token):).*$`)

func withoutValues(kubeconfig string) string {
	return strings.TrimSpace(secretValues.ReplaceAllString(kubeconfig, "$1"))
}

var stamp = regexp.MustCompile(`^\d{4}-\d\d-\d\d \S+ (\[\w+\])\[\d+\] `)

func logLines(log string) []string {
	var lines []string
	for _, line := range strings.Split(log, "\n") {
		if stamp.MatchString(line) {
			lines = append(lines, stamp.ReplaceAllString(line, "$1 "))
		}
	}
	return lines
}

// expectModes also proves that no temporary file stays behind.
func expectModes(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != len(want) {
		t.Errorf("%s holds %d files, want %d", dir, len(entries), len(want))
	}
	for _, entry := range entries {
		info, err := entry.Info()
		must(t, err)
		if info.Mode().String() != want[entry.Name()] {
			t.Errorf("%s has mode %s, want %s", entry.Name(), info.Mode(), want[entry.Name()])
		}
	}
}
