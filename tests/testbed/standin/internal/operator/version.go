package operator

import (
	"fmt"
	"strconv"
	"strings"
)

// DefaultVersion is the operator of Calico v3.28; its last releases look at the
// DaemonSet's generation.
const DefaultVersion = "1.34.14"

// Version is an operator's release: major.minor.patch.
type Version struct{ major, minor, patch int }

// ParseVersion reads a release such as 1.34.14, with or without a leading v. The
// model begins with 1.34: those before turn eBPF on by an environment variable.
func ParseVersion(text string) (Version, error) {
	var numbers [3]int
	parts := strings.Split(strings.TrimPrefix(text, "v"), ".")
	if len(parts) != len(numbers) {
		return Version{}, fmt.Errorf("the operator's version %q is not of the form 1.34.14", text)
	}
	for i, part := range parts {
		number, err := strconv.Atoi(part)
		if err != nil || number < 0 {
			return Version{}, fmt.Errorf("the operator's version %q is not of the form 1.34.14", text)
		}
		numbers[i] = number
	}
	version := Version{numbers[0], numbers[1], numbers[2]}
	if version.less(Version{1, 34, 0}) {
		return Version{}, fmt.Errorf("the operator's version %q is before 1.34, which is not modelled", text)
	}
	return version, nil
}

func (v Version) less(other Version) bool {
	if v.major != other.major {
		return v.major < other.major
	}
	if v.minor != other.minor {
		return v.minor < other.minor
	}
	return v.patch < other.patch
}

// autoMode: bpfNetworkBootstrap and kubeProxyManagement, nftablesMode set with
// BPF, and the mounts for BPF rendered for every data plane.
func (v Version) autoMode() bool { return !v.less(Version{1, 40, 0}) }

// generationGuard: whether a rollout counts as complete only when the DaemonSet's
// controller has seen the change at all.
func (v Version) generationGuard() bool {
	since := map[int]int{34: 14, 36: 13, 38: 5}
	patch, known := since[v.minor]
	if v.major == 1 && known {
		return v.patch >= patch
	}
	return v.autoMode()
}

// calico is the release of Calico that this operator installs, as its status says.
func (v Version) calico() string {
	if v.autoMode() {
		return "v3.31.7"
	}
	return "v3.28.4"
}
