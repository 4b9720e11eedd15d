package cniplugin

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-calico.invalid/standin/internal/calicolog"
	"kubectl-calico.invalid/standin/internal/hostnet"
	"kubectl-calico.invalid/standin/internal/kubeapi"
)

// server is the address that every recorded kubeconfig names.
const server = "https://10.96.0.1:443"

// authority is a CA like that of the recorded cluster: ECDSA, CN=testbed-ca, so
// that the texts of certificate errors can be compared whole.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "testbed-ca"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return authority{key, cert}
}

func (a authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (a authority) serving(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "kube-apiserver"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP("10.96.0.1")}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// answers maps `METHOD path` to an answer of the API server; what is missing is
// answered as the real server answers for an unknown path.
type answers map[string]struct {
	code int
	body string
}

const (
	askCluster = "GET " + kubeapi.ClusterInformationPath
	askNode    = "GET /api/v1/nodes/node2"
	patchPod   = "PATCH /api/v1/namespaces/shop/pods/cart-1/status"
)

func healthy() answers {
	return answers{
		askCluster: {200, `{"kind":"ClusterInformation","spec":{"datastoreReady":true}}`},
		askNode:    {200, `{"metadata":{"name":"node2"},"spec":{"podCIDR":"10.200.1.0/24"}}`},
		patchPod:   {200, `{}`},
	}
}

// status is a refusal as kube-apiserver writes it.
func status(code int, reason, message string) string {
	return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":%q,"reason":%q,"code":%d}`,
		message, reason, code)
}

// bench is one host with a kubeconfig, one API server, and a trace of what the
// plugin did to both.
type bench struct {
	plugin *Plugin
	conf   NetConf
	trace  []string
	log    bytes.Buffer
	root   string
}

func newBench(t *testing.T, given answers) *bench {
	t.Helper()
	b := &bench{root: t.TempDir()}
	ca := newAuthority(t)
	api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := r.Method + " " + r.URL.Path
		b.trace = append(b.trace, asked)
		if r.Header.Get("Authorization") != "Bearer good-token" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(status(401, "Unauthorized", "Unauthorized")))
			return
		}
		answer, known := given[asked]
		if !known {
			http.Error(w, "404 page not found", http.StatusNotFound)
			return
		}
		w.WriteHeader(answer.code)
		_, _ = w.Write([]byte(answer.body))
	}))
	api.TLS = &tls.Config{Certificates: []tls.Certificate{ca.serving(t)}}
	api.Config.ErrorLog = nil
	api.StartTLS()
	t.Cleanup(api.Close)
	b.plugin = &Plugin{
		NodenameFile: b.path("/var/lib/calico/nodename"),
		MTUFile:      b.path("/var/lib/calico/mtu"),
		Addresses:    Pool{Dir: b.path("/var/lib/calico/standin-ipam"), Lock: b.path("/var/run/calico/ipam.lock")},
		Wiring:       b,
		Log:          calicolog.New(&b.log),
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, api.Listener.Addr().String())
		},
	}
	b.write(t, "/var/lib/calico/nodename", []byte("node2"))
	b.write(t, "/var/lib/calico/mtu", []byte("1450"))
	b.conf = NetConf{CNIVersion: "0.3.1", Name: "k8s-pod-network", Nodename: "node2"}
	b.conf.Kubernetes.Kubeconfig = b.path("/etc/cni/net.d/calico-kubeconfig")
	b.kubeconfig(t, ca.pem(), "good-token")
	return b
}

func (b *bench) kubeconfig(t *testing.T, ca []byte, token string) {
	t.Helper()
	b.write(t, "/etc/cni/net.d/calico-kubeconfig",
		kubeapi.RenderKubeconfig(kubeapi.Config{Server: server, CA: ca, Token: token}))
}

func (b *bench) path(p string) string { return filepath.Join(b.root, p) }

func (b *bench) write(t *testing.T, path string, data []byte) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(b.path(path)), 0o755))
	must(t, os.WriteFile(b.path(path), data, 0o600))
}

// run is one invocation; its error text is that of a plugin whose root is /.
func (b *bench) run(command string) (string, string) {
	var out bytes.Buffer
	err := b.plugin.Run(context.Background(), Input{
		Command: command, ContainerID: "0a360b46", Netns: "/run/netns/cni-1", Interface: "eth0",
		Namespace: "shop", Pod: "cart-1", Conf: b.conf,
	}, &out)
	if err == nil {
		return "", out.String()
	}
	return strings.ReplaceAll(err.Error(), b.root, ""), out.String()
}

func (b *bench) Connect(w hostnet.Workload) error {
	b.trace = append(b.trace, fmt.Sprintf("connect %s %s %s %d", w.Host, w.Interface, w.Address, w.MTU))
	return nil
}

func (b *bench) Disconnect(host string) error {
	b.trace = append(b.trace, "disconnect "+host)
	return nil
}

func (b *bench) expectTrace(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(b.trace, want) {
		t.Fatalf("did\n  %s\nwant\n  %s", strings.Join(b.trace, "\n  "), strings.Join(want, "\n  "))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
