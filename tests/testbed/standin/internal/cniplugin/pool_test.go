package cniplugin

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
)

func newPool(t *testing.T) Pool {
	dir := t.TempDir()
	return Pool{Dir: filepath.Join(dir, "addresses"), Lock: filepath.Join(dir, "lock")}
}

func assign(t *testing.T, p Pool, block, sandbox string) string {
	t.Helper()
	address, err := p.Assign(block, sandbox)
	must(t, err)
	return address
}

func TestAddressesRestBeforeReuse(t *testing.T) {
	p := newPool(t)
	if got := assign(t, p, "10.200.1.0/29", "a"); got != "10.200.1.1" {
		t.Errorf("first address %s", got)
	}
	if got := assign(t, p, "10.200.1.0/29", "a"); got != "10.200.1.1" {
		t.Errorf("the same sandbox gets %s", got)
	}
	owned, err := p.Release("a")
	must(t, err)
	if !owned {
		t.Error("the release found nothing")
	}
	if got := assign(t, p, "10.200.1.0/29", "b"); got != "10.200.1.2" {
		t.Errorf("an address is used again at once: %s", got)
	}
	if owned, err := p.Release("a"); owned || err != nil {
		t.Errorf("second release: %v, %v", owned, err)
	}
}

func TestBlockRunsOut(t *testing.T) {
	p := newPool(t)
	for i := range 6 {
		assign(t, p, "10.200.1.0/29", fmt.Sprint(i))
	}
	if address, err := p.Assign("10.200.1.0/29", "one more"); err == nil {
		t.Errorf("a full block gives %s", address)
	}
	if _, err := p.Release("3"); err != nil {
		t.Fatal(err)
	}
	if got := assign(t, p, "10.200.1.0/29", "one more"); got != "10.200.1.4" {
		t.Errorf("the freed address is not found, but %s", got)
	}
}

func TestConcurrentPluginsGetDifferentAddresses(t *testing.T) {
	p := newPool(t)
	var wait sync.WaitGroup
	addresses := make([]string, 40)
	for i := range addresses {
		wait.Add(1)
		go func() {
			defer wait.Done()
			addresses[i], _ = p.Assign("10.200.1.0/24", fmt.Sprint("sandbox", i))
		}()
	}
	wait.Wait()
	seen := map[string]bool{}
	for _, address := range addresses {
		if address == "" || seen[address] {
			t.Errorf("address %q twice or missing", address)
		}
		seen[address] = true
	}
}

func TestOnlyIPv4Blocks(t *testing.T) {
	for _, block := range []string{"", "fd00::/64", "10.200.1.0"} {
		if address, err := newPool(t).Assign(block, "a"); err == nil {
			t.Errorf("block %q gives %s", block, address)
		}
	}
}
