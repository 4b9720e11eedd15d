// Package hostnet sets links, addresses and routes through the `ip` program of
// iproute2, which the host and the stand-in's image both have.
package hostnet

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// searchPath is tried when the caller's PATH has no `ip`: containerd may run a
// plugin with hardly any environment.
var searchPath = []string{"/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"}

// IP runs `ip` with the given arguments.
func IP(args ...string) error {
	program, err := find()
	if err != nil {
		return err
	}
	var stderr bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

func find() (string, error) {
	if program, err := exec.LookPath("ip"); err == nil {
		return program, nil
	}
	for _, program := range searchPath {
		if _, err := os.Stat(program); err == nil {
			return program, nil
		}
	}
	return "", fmt.Errorf("find the program ip of iproute2: not in PATH nor in %s", strings.Join(searchPath, ", "))
}

// netnsName turns a path such as /var/run/netns/cni-… into the name that `ip -n`
// takes. Other directories are refused: `ip` would look in the wrong place.
func netnsName(path string) (string, error) {
	dir := filepath.Dir(path)
	if dir != "/var/run/netns" && dir != "/run/netns" {
		return "", fmt.Errorf("network namespace %s is not in /run/netns", path)
	}
	return filepath.Base(path), nil
}

// sysctl writes one value below /proc/sys.
func sysctl(path, value string) error {
	if err := os.WriteFile(filepath.Join("/proc/sys", path), []byte(value), 0o644); err != nil {
		return fmt.Errorf("set sysctl %s to %s: %w", path, value, err)
	}
	return nil
}
