// Package atomicfile replaces files by rename inside one directory. containerd's
// watcher of /etc/cni/net.d ignores creations and files renamed in from another
// directory: only a write plus a rename in the same directory reaches it.
package atomicfile

import (
	"fmt"
	"os"
	"path/filepath"
)

// Write puts data at path with the given mode. The temporary file has a leading
// dot and no suffix that a CNI runtime would read as a configuration.
func Write(path string, data []byte, mode os.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".standin-tmp-*")
	if err != nil {
		return fmt.Errorf("create a temporary file beside %s: %w", path, err)
	}
	if err := fill(tmp, data, mode); err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("rename to %s: %w", path, err)
	}
	return nil
}

func fill(f *os.File, data []byte, mode os.FileMode) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
