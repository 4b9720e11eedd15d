package bpfplane

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"kubectl-calico.invalid/standin/internal/calicolog"
)

// fileSystem is where the host has its BPF file system.
const fileSystem = "/sys/fs/bpf"

// MountFileSystem mounts the BPF file system where there is none yet; the container hands the mount on to its host.
func MountFileSystem(log *calicolog.Logger) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return fmt.Errorf("read the mounts: %w", err)
	}
	if isMounted(string(mounts)) {
		log.Log(calicolog.Info, "init/calico-init_linux.go 56", "BPF filesystem is mounted.")
		return nil
	}
	if err := syscall.Mount("bpffs", fileSystem, "bpf", 0, ""); err != nil {
		return fmt.Errorf("mount the BPF file system at %s: %w", fileSystem, err)
	}
	log.Log(calicolog.Info, "init/calico-init_linux.go 56", "BPF filesystem is mounted.")
	return nil
}

func isMounted(mounts string) bool {
	for _, line := range strings.Split(mounts, "\n") {
		words := strings.Fields(line)
		if len(words) > 2 && words[1] == fileSystem && words[2] == "bpf" {
			return true
		}
	}
	return false
}
