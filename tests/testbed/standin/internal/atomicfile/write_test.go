package atomicfile

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestReadersSeeTheOldOrTheNewFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "10-calico.conflist")
	if err := Write(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	reader, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := Write(path, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	old, err := io.ReadAll(reader)
	if err != nil || string(old) != "old" {
		t.Errorf("a reader of the old file reads %q, %v", old, err)
	}
	now, err := os.ReadFile(path)
	if err != nil || string(now) != "new" {
		t.Errorf("the file holds %q, %v", now, err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files, %v", len(entries), err)
	}
}

func TestFailedRenameLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "calico-kubeconfig")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("new"), 0o600); err == nil {
		t.Fatal("a directory was replaced")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files, %v", len(entries), err)
	}
}
