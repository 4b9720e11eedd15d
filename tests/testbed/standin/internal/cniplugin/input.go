// Package cniplugin is the CNI plugin `calico` of the testbed: the checks that
// Calico 3.28's plugin makes before it touches anything, in its order and with
// its words, and a simple wiring of veth, address and routes after them.
package cniplugin

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Input is one invocation: the environment and the configuration on stdin.
type Input struct {
	// Command is CNI_COMMAND: ADD, DEL, CHECK or VERSION.
	Command string
	// ContainerID is the sandbox.
	ContainerID string
	// Netns is the path of its network namespace; empty in a DEL after a reboot.
	Netns string
	// Interface is the name to make inside, CNI_IFNAME.
	Interface string
	// Namespace and Pod come from CNI_ARGS.
	Namespace string
	Pod       string
	// Conf is the plugin's object of the conflist.
	Conf NetConf
}

// NetConf is our cut of the plugin object in 10-calico.conflist.
type NetConf struct {
	CNIVersion  string `json:"cniVersion"`
	Name        string `json:"name"`
	Nodename    string `json:"nodename"`
	MTU         int    `json:"mtu"`
	LogFilePath string `json:"log_file_path"`
	Kubernetes  struct {
		Kubeconfig string `json:"kubeconfig"`
	} `json:"kubernetes"`
}

// ReadInput collects one invocation. Lookup is os.Getenv, but for tests.
func ReadInput(lookup func(string) string, stdin io.Reader) (Input, error) {
	in := Input{
		Command:     lookup("CNI_COMMAND"),
		ContainerID: lookup("CNI_CONTAINERID"),
		Netns:       lookup("CNI_NETNS"),
		Interface:   lookup("CNI_IFNAME"),
	}
	if in.Command == "" {
		return in, &Error{Code: codeEnvironment, Msg: "required env variables [CNI_COMMAND] missing"}
	}
	args := parseArgs(lookup("CNI_ARGS"))
	in.Namespace, in.Pod = args["K8S_POD_NAMESPACE"], args["K8S_POD_NAME"]
	data, err := io.ReadAll(stdin)
	if err != nil {
		return in, &Error{Code: codeIO, Msg: "error reading from stdin: " + err.Error()}
	}
	if err := json.Unmarshal(data, &in.Conf); err != nil && in.Command != "VERSION" {
		return in, &Error{Code: codeDecoding, Msg: fmt.Sprintf("failed to load netconf: %v", err)}
	}
	return in, in.validate()
}

func (in Input) validate() error {
	if in.Command == "VERSION" {
		return nil
	}
	var missing []string
	for _, v := range []struct{ name, value string }{
		{"CNI_CONTAINERID", in.ContainerID}, {"CNI_IFNAME", in.Interface},
	} {
		if v.value == "" {
			missing = append(missing, v.name)
		}
	}
	if in.Command == "ADD" && in.Netns == "" {
		missing = append(missing, "CNI_NETNS")
	}
	if len(missing) > 0 {
		return &Error{Code: codeEnvironment, Msg: fmt.Sprintf("required env variables [%s] missing", strings.Join(missing, ","))}
	}
	return nil
}

func parseArgs(args string) map[string]string {
	values := map[string]string{}
	for _, pair := range strings.Split(args, ";") {
		if key, value, ok := strings.Cut(pair, "="); ok {
			values[key] = value
		}
	}
	return values
}
