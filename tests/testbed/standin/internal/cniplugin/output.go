package cniplugin

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// Error codes of the CNI specification; 999 is what libcni's skeleton gives an
// error that the plugin did not number, and Calico numbers none of its own.
const (
	codeEnvironment = 4
	codeIO          = 5
	codeDecoding    = 6
	codeInternal    = 999
)

// supported are the versions of the CNI specification that the plugin speaks.
var supported = []string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"}

// Error is a CNI error object. The runtime prints its msg after
// `plugin type="calico" failed (add): `.
type Error struct {
	Code uint
	Msg  string
}

func (e *Error) Error() string { return e.Msg }

// WriteError prints err as the error object that the runtime reads from stdout.
func WriteError(out io.Writer, cniVersion string, err error) error {
	object := struct {
		CNIVersion string `json:"cniVersion,omitempty"`
		Code       uint   `json:"code"`
		Msg        string `json:"msg"`
	}{cniVersion, codeInternal, err.Error()}
	var coded *Error
	if errors.As(err, &coded) {
		object.Code = coded.Code
	}
	return writeJSON(out, object)
}

// WriteVersions answers the command VERSION.
func WriteVersions(out io.Writer) error {
	return writeJSON(out, map[string]any{"cniVersion": "1.0.0", "supportedVersions": supported})
}

// Result is the answer to a successful ADD.
type Result struct {
	// CNIVersion is that of the configuration.
	CNIVersion string
	// HostInterface is the host side of the veth pair; like Calico the result
	// names no sandbox interface, so the runtime takes the address for eth0's.
	HostInterface string
	// Address is the workload's IPv4 address.
	Address string
}

// Write prints the result for the runtime and the next plugin of the chain.
func (r Result) Write(out io.Writer) error {
	ip := map[string]any{"address": r.Address + "/32"}
	// The field `version` exists in results before 1.0.0 only, and is required there.
	if strings.HasPrefix(r.CNIVersion, "0.") {
		ip["version"] = "4"
	}
	return writeJSON(out, map[string]any{
		"cniVersion": r.CNIVersion,
		"interfaces": []map[string]any{{"name": r.HostInterface}},
		"ips":        []any{ip},
		"dns":        map[string]any{},
	})
}

func writeJSON(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "    ")
	return encoder.Encode(v)
}
