package operator

import "slices"

// What a calico-node has for eBPF alone, in the manifest at all times: the init
// container under both its names, and its volumes.
var (
	bpfInitContainers = []string{"mount-bpffs", "ebpf-bootstrap"}
	bpfVolumes        = []string{BPFVolumeName, "sys-fs", "nodeproc"}
)

// unmountBPF: an operator before 1.40 renders none of it for other data planes,
// so that turning eBPF off rolls calico-node once more.
func unmountBPF(pod Object) {
	pod.keep("initContainers", func(container Object) bool {
		return !slices.Contains(bpfInitContainers, container.Text("name"))
	})
	named := func(one Object) bool { return !slices.Contains(bpfVolumes, one.Text("name")) }
	pod.keep("volumes", named)
	for _, kind := range []string{"initContainers", "containers"} {
		for _, container := range pod.List(kind) {
			container.keep("volumeMounts", named)
		}
	}
}

// mountBPF sees to it that there is a volume bpffs in calico-node, and tells the
// init container of the Service kubernetes.
func mountBPF(pod Object, in Input) {
	named := func(one Object) bool { return one.Text("name") == BPFVolumeName }
	if !slices.ContainsFunc(pod.List("volumes"), named) {
		hostPath := map[string]any{"path": "/sys/fs/bpf", "type": "Directory"}
		pod.add("volumes", map[string]any{"name": BPFVolumeName, "hostPath": hostPath})
	}
	for _, container := range pod.List("containers") {
		if container.Text("name") == "calico-node" && !slices.ContainsFunc(container.List("volumeMounts"), named) {
			container.add("volumeMounts", map[string]any{"name": BPFVolumeName, "mountPath": "/sys/fs/bpf"})
		}
	}
	for _, container := range pod.List("initContainers") {
		if !slices.Contains(bpfInitContainers, container.Text("name")) {
			continue
		}
		if in.Version.autoMode() {
			container["name"] = "ebpf-bootstrap"
		}
		if in.Bootstrap != nil {
			container.add("env", variable("KUBERNETES_SERVICE_IPS_PORTS", in.Bootstrap.ServiceIPsPorts))
			container.add("env", variable("KUBERNETES_APISERVER_ENDPOINTS", in.Bootstrap.APIServerEndpoints))
		}
	}
}

func variable(name, value string) map[string]any {
	return map[string]any{"name": name, "value": value}
}
