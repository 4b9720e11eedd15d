// Command crictl speaks to a container runtime by the real CRI, with those of crictl's commands and flags that a repair of a
// node uses, and prints what crictl prints. It is not crictl itself: that is no library, and not in Debian 12.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gogo/protobuf/jsonpb"
	"github.com/gogo/protobuf/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// configuration is where crictl finds what no flag says.
const configuration = "/etc/crictl.yaml"

// call is one command: what it asks of the runtime.
type call func(ctx context.Context, runtime cri.RuntimeServiceClient, arguments []string) error

var commands = map[string]call{
	"info":    info,
	"pods":    pods,
	"ps":      containers,
	"rmp":     removePods,
	"runp":    runPod,
	"stopp":   stopPods,
	"version": version,
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "level=fatal msg=%q\n", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	flags := flag.NewFlagSet("crictl", flag.ContinueOnError)
	endpoint, timeout := configured("runtime-endpoint"), 2*time.Second
	for _, name := range []string{"runtime-endpoint", "r"} {
		flags.StringVar(&endpoint, name, endpoint, "socket of the runtime")
	}
	for _, name := range []string{"timeout", "t"} {
		flags.DurationVar(&timeout, name, timeout, "time for each request")
	}
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	command, known := commands[flags.Arg(0)]
	if !known || endpoint == "" {
		return errors.New("usage: crictl --runtime-endpoint unix://SOCKET [--timeout 2s] info|pods|ps|rmp|runp|stopp|version")
	}
	connection, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return command(ctx, cri.NewRuntimeServiceClient(connection), flags.Args()[1:])
}

// configured finds a value in the configuration, whose lines are "key: value".
func configured(key string) string {
	text, err := os.ReadFile(configuration)
	if err != nil {
		return ""
	}
	for _, line := range strings.Split(string(text), "\n") {
		if value, found := strings.CutPrefix(line, key+":"); found {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return ""
}

// show prints a message as crictl does: two blanks of indentation, also what is empty.
func show(message proto.Message) error {
	text, err := compact(message)
	if err != nil {
		return err
	}
	return indent(text)
}

func compact(message proto.Message) ([]byte, error) {
	var text bytes.Buffer
	err := (&jsonpb.Marshaler{EmitDefaults: true}).Marshal(&text, message)
	return text.Bytes(), err
}

func indent(text []byte) error {
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		return err
	}
	fmt.Println(indented.String())
	return nil
}

func version(ctx context.Context, runtime cri.RuntimeServiceClient, _ []string) error {
	answer, err := runtime.Version(ctx, &cri.VersionRequest{})
	if err != nil {
		return err
	}
	fmt.Printf("Version:  %s\nRuntimeName:  %s\nRuntimeVersion:  %s\nRuntimeApiVersion:  %s\n",
		answer.Version, answer.RuntimeName, answer.RuntimeVersion, answer.RuntimeApiVersion)
	return nil
}

// info prints the status, and beside it whatever else the runtime says of itself.
func info(ctx context.Context, runtime cri.RuntimeServiceClient, _ []string) error {
	answer, err := runtime.Status(ctx, &cri.StatusRequest{Verbose: true})
	if err != nil {
		return err
	}
	status, err := compact(answer.Status)
	if err != nil {
		return err
	}
	all := map[string]json.RawMessage{"status": status}
	for key, value := range answer.Info {
		if json.Valid([]byte(value)) {
			all[key] = json.RawMessage(value)
		} else if all[key], err = json.Marshal(value); err != nil {
			return err
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return indent(text)
}

func pods(ctx context.Context, runtime cri.RuntimeServiceClient, arguments []string) error {
	flags := flag.NewFlagSet("pods", flag.ContinueOnError)
	var id, output, state string
	var quiet bool
	flags.StringVar(&id, "id", "", "only this one")
	flags.StringVar(&state, "state", "", "Ready or NotReady")
	for _, name := range []string{"output", "o"} {
		flags.StringVar(&output, name, "", "json")
	}
	for _, name := range []string{"quiet", "q"} {
		flags.BoolVar(&quiet, name, false, "only ids")
	}
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	filter := &cri.PodSandboxFilter{Id: id}
	if state != "" {
		value, known := cri.PodSandboxState_value["SANDBOX_"+strings.ToUpper(state)]
		if !known {
			return fmt.Errorf("unknown state %q", state)
		}
		filter.State = &cri.PodSandboxStateValue{State: cri.PodSandboxState(value)}
	}
	answer, err := runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{Filter: filter})
	if err != nil {
		return fmt.Errorf("listing pod sandboxes: %w", err)
	}
	if output == "json" {
		return show(answer)
	}
	for _, item := range answer.Items {
		if quiet {
			fmt.Println(item.Id)
		} else {
			fmt.Println(item.Id, item.State, item.Metadata.Namespace+"/"+item.Metadata.Name)
		}
	}
	return nil
}

func containers(ctx context.Context, runtime cri.RuntimeServiceClient, arguments []string) error {
	flags := flag.NewFlagSet("ps", flag.ContinueOnError)
	var all bool
	var output string
	for _, name := range []string{"all", "a"} {
		flags.BoolVar(&all, name, false, "also those that do not run")
	}
	for _, name := range []string{"output", "o"} {
		flags.StringVar(&output, name, "", "json")
	}
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	filter := &cri.ContainerFilter{}
	if !all {
		filter.State = &cri.ContainerStateValue{State: cri.ContainerState_CONTAINER_RUNNING}
	}
	answer, err := runtime.ListContainers(ctx, &cri.ListContainersRequest{Filter: filter})
	if err != nil {
		return fmt.Errorf("listing containers: %w", err)
	}
	if output == "json" {
		return show(answer)
	}
	for _, item := range answer.Containers {
		fmt.Println(item.Id, item.State, item.Metadata.Name, item.PodSandboxId)
	}
	return nil
}

func stopPods(ctx context.Context, runtime cri.RuntimeServiceClient, ids []string) error {
	for _, id := range ids {
		if _, err := runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
			return fmt.Errorf("stopping the pod sandbox %q: %w", id, err)
		}
		fmt.Println("Stopped sandbox", id)
	}
	return nil
}

func removePods(ctx context.Context, runtime cri.RuntimeServiceClient, ids []string) error {
	for _, id := range ids {
		if _, err := runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: id}); err != nil {
			return fmt.Errorf("removing the pod sandbox %q: %w", id, err)
		}
		fmt.Println("Removed sandbox", id)
	}
	return nil
}

func runPod(ctx context.Context, runtime cri.RuntimeServiceClient, arguments []string) error {
	if len(arguments) != 1 {
		return errors.New("usage: crictl runp FILE")
	}
	text, err := os.ReadFile(arguments[0])
	if err != nil {
		return err
	}
	var config cri.PodSandboxConfig
	if err := json.Unmarshal(text, &config); err != nil {
		return fmt.Errorf("reading %s: %w", arguments[0], err)
	}
	answer, err := runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: &config})
	if err != nil {
		return fmt.Errorf("run pod sandbox: %w", err)
	}
	fmt.Println(answer.PodSandboxId)
	return nil
}
