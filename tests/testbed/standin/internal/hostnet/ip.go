// Package hostnet sets links, addresses, routes and neighbours through the
// programs of iproute2, which the host and the stand-in's image both have.
package hostnet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// searchPath is tried when the caller's PATH lacks a program: containerd may run
// a plugin with hardly any environment.
var searchPath = []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin"}

// IP runs `ip` with the given arguments.
func IP(args ...string) error {
	_, err := run("ip", args...)
	return err
}

// query runs a program of iproute2 that prints JSON, and decodes that into out.
// Nothing printed leaves out as it is: `ip` then has nothing to tell.
func query(out any, program string, args ...string) error {
	text, err := run(program, args...)
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		return err
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("decode the answer of %s %s: %w", program, strings.Join(args, " "), err)
	}
	return nil
}

func run(program string, args ...string) ([]byte, error) {
	path, err := find(program)
	if err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

func find(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, dir := range searchPath {
		path := filepath.Join(dir, program)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("find the program %s of iproute2: not in PATH nor in %s", program, strings.Join(searchPath, ", "))
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
