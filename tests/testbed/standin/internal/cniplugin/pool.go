package cniplugin

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Pool is this host's record of assigned addresses: one file per address, named
// after it, holding the id of its sandbox. Calico keeps the same in IPAMBlocks.
type Pool struct {
	// Dir holds the records.
	Dir string
	// Lock is the file that serialises all plugins of the host.
	Lock string
}

// lastFile remembers the last assigned address, so that an address rests before
// it is used again.
const lastFile = "last"

// Assign gives the sandbox an address of the block: the one it already has, else
// the next free one. The block's first and last address are never given out.
func (p Pool) Assign(block, sandbox string) (string, error) {
	prefix, err := netip.ParsePrefix(block)
	if err != nil || !prefix.Addr().Is4() {
		return "", fmt.Errorf("node's block %q is no IPv4 prefix", block)
	}
	unlock, err := p.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	taken, err := p.taken()
	if err != nil {
		return "", err
	}
	for address, owner := range taken {
		if owner == sandbox {
			return address, nil
		}
	}
	address, ok := p.next(prefix.Masked(), taken)
	if !ok {
		return "", fmt.Errorf("No free addresses in block %s", block)
	}
	if err := os.WriteFile(filepath.Join(p.Dir, address), []byte(sandbox), 0o644); err != nil {
		return "", fmt.Errorf("record address %s: %w", address, err)
	}
	if err := os.WriteFile(filepath.Join(p.Dir, lastFile), []byte(address), 0o644); err != nil {
		return "", fmt.Errorf("record the last address: %w", err)
	}
	return address, nil
}

// Release forgets the sandbox's address and says whether it had one.
func (p Pool) Release(sandbox string) (bool, error) {
	unlock, err := p.lock()
	if err != nil {
		return false, err
	}
	defer unlock()
	taken, err := p.taken()
	if err != nil {
		return false, err
	}
	owned := false
	for address, owner := range taken {
		if owner != sandbox {
			continue
		}
		if err := os.Remove(filepath.Join(p.Dir, address)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return owned, fmt.Errorf("release address %s: %w", address, err)
		}
		owned = true
	}
	return owned, nil
}

func (p Pool) next(block netip.Prefix, taken map[string]string) (string, bool) {
	start := block.Addr()
	if data, err := os.ReadFile(filepath.Join(p.Dir, lastFile)); err == nil {
		if last, err := netip.ParseAddr(strings.TrimSpace(string(data))); err == nil && block.Contains(last) {
			start = last
		}
	}
	candidate := start
	for {
		candidate = candidate.Next()
		if !block.Contains(candidate) {
			candidate = block.Addr()
		}
		usable := candidate != block.Addr() && block.Contains(candidate.Next())
		if _, used := taken[candidate.String()]; usable && !used {
			return candidate.String(), true
		}
		if candidate == start {
			return "", false
		}
	}
}

func (p Pool) taken() (map[string]string, error) {
	entries, err := os.ReadDir(p.Dir)
	if err != nil {
		return nil, fmt.Errorf("read the address records: %w", err)
	}
	taken := map[string]string{}
	for _, entry := range entries {
		if _, err := netip.ParseAddr(entry.Name()); err != nil {
			continue
		}
		owner, err := os.ReadFile(filepath.Join(p.Dir, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("read the address records: %w", err)
		}
		taken[entry.Name()] = strings.TrimSpace(string(owner))
	}
	return taken, nil
}

func (p Pool) lock() (func(), error) {
	if err := errors.Join(os.MkdirAll(p.Dir, 0o755), os.MkdirAll(filepath.Dir(p.Lock), 0o755)); err != nil {
		return nil, fmt.Errorf("make the directories of the address records: %w", err)
	}
	file, err := os.OpenFile(p.Lock, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the address lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("take the address lock: %w", err)
	}
	return func() { _ = file.Close() }, nil
}
