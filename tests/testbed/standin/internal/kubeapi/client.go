// Package kubeapi speaks to a Kubernetes API server with one CA and one bearer
// token, and words failures as client-go and Calico's client do.
package kubeapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Timeouts of client-go's default transport: the recorded `i/o timeout` of an
// unanswered connect comes from the first.
const (
	DialTimeout      = 30 * time.Second
	handshakeTimeout = 10 * time.Second
)

// maxBody bounds how much of an answer is read, in bytes.
const maxBody = 16 << 20

// Config says which server to ask, whom to trust and as whom to ask.
type Config struct {
	// Server is the base URL, such as https://10.96.0.1:443.
	Server string
	// CA is the PEM bundle that must have signed the server's certificate.
	CA []byte
	// Token is the bearer token.
	Token string
	// Dial replaces the connection to the server in tests.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client sends requests with a fixed Config.
type Client struct {
	server string
	token  string
	http   *http.Client
}

// New makes a client; it reads nothing and connects to nothing yet.
func New(c Config) (*Client, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(c.CA) {
		return nil, fmt.Errorf("unable to load root certificates: unable to parse bytes as PEM block")
	}
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: DialTimeout}).DialContext
	}
	transport := &http.Transport{
		DialContext:         dial,
		TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: handshakeTimeout,
		ForceAttemptHTTP2:   true,
	}
	return &Client{
		server: strings.TrimRight(c.Server, "/"),
		token:  c.Token,
		http:   &http.Client{Transport: transport},
	}, nil
}

// Request is one call. Resource and Name only serve the wording of errors.
type Request struct {
	Method      string
	Path        string
	ContentType string
	Body        any
	// Resource is what client-go prints in `(get ClusterInformations.crd.… default)`.
	Resource string
	Name     string
}

// Do sends the request and decodes a good answer into out, which may be nil.
// A refusal is a *StatusError; a transport failure is a *url.Error as Go words it.
func (c *Client) Do(ctx context.Context, r Request, out any) error {
	body, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("decode the answer to %s %s: %w", r.Method, r.Path, err)
	}
	return nil
}

func (c *Client) send(ctx context.Context, r Request) ([]byte, error) {
	var payload io.Reader
	if r.Body != nil {
		b, err := json.Marshal(r.Body)
		if err != nil {
			return nil, fmt.Errorf("encode the body of %s %s: %w", r.Method, r.Path, err)
		}
		payload = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, c.server+r.Path, payload)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.token)
	if r.Body != nil {
		contentType := r.ContentType
		if contentType == "" {
			contentType = "application/json"
		}
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("read the answer to %s %s: %w", r.Method, r.Path, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, statusError(resp.StatusCode, body, r)
	}
	return body, nil
}
