// Package recording reads the kept recordings of real incidents for the tests
// of the stand-ins: what is compared is always what the real programs said.
package recording

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sort"
	"strconv"
	"strings"
)

// Recording is one archive, unpacked in memory: content by path.
type Recording struct {
	Name  string
	Files map[string][]byte
}

// Dir is the folder tests/recordings of this repository.
func Dir() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("find the recordings: no source path known")
	}
	return filepath.Join(filepath.Dir(file), "..", "..", "..", "..", "recordings"), nil
}

// All opens every recording, in the order of their names. None is an error: a
// comparison with nothing must not pass.
func All() ([]Recording, error) {
	dir, err := Dir()
	if err != nil {
		return nil, err
	}
	paths, err := filepath.Glob(filepath.Join(dir, "R*.tar.gz"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no recordings in %s", dir)
	}
	sort.Strings(paths)
	var all []Recording
	for _, path := range paths {
		r, err := open(path)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		all = append(all, r)
	}
	return all, nil
}

// Open opens the recording whose name begins with id, such as R02.
func Open(id string) (Recording, error) {
	all, err := All()
	if err != nil {
		return Recording{}, err
	}
	for _, r := range all {
		if strings.HasPrefix(r.Name, id+"-") {
			return r, nil
		}
	}
	return Recording{}, fmt.Errorf("no recording %s", id)
}

func open(path string) (Recording, error) {
	file, err := os.Open(path)
	if err != nil {
		return Recording{}, err
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return Recording{}, err
	}
	r := Recording{Name: strings.TrimSuffix(filepath.Base(path), ".tar.gz"), Files: map[string][]byte{}}
	archive := tar.NewReader(unzipped)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return r, err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			return r, err
		}
		r.Files[header.Name] = data
	}
}

// PluginError is what a CNI plugin said, taken out of an event's message.
type PluginError struct {
	Plugin string
	// Verb is `add` or `delete`, as the runtime writes it.
	Verb string
	Text string
}

var (
	pluginFailed = regexp.MustCompile(`plugin type="([^"]+)" failed \((add|delete)\): `)
	quotedTail   = regexp.MustCompile(`KillPodSandboxError: (".*")$`)
)

// EventMessages lists the messages of cluster/events.json.
func (r Recording) EventMessages() ([]string, error) {
	var list struct {
		Items []struct {
			Message string `json:"message"`
		} `json:"items"`
	}
	if err := json.Unmarshal(r.Files["cluster/events.json"], &list); err != nil {
		return nil, fmt.Errorf("%s: read the events: %w", r.Name, err)
	}
	var messages []string
	for _, event := range list.Items {
		messages = append(messages, event.Message)
	}
	return messages, nil
}

// PluginErrors lists the distinct errors of CNI plugins in cluster/events.json.
func (r Recording) PluginErrors() ([]PluginError, error) {
	messages, err := r.EventMessages()
	if err != nil {
		return nil, err
	}
	seen := map[PluginError]bool{}
	for _, raw := range messages {
		message, err := unquoted(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: event %q: %w", r.Name, raw, err)
		}
		if m := pluginFailed.FindStringSubmatchIndex(message); m != nil {
			seen[PluginError{message[m[2]:m[3]], message[m[4]:m[5]], message[m[1]:]}] = true
		}
	}
	var found []PluginError
	for e := range seen {
		found = append(found, e)
	}
	sort.Slice(found, func(i, j int) bool {
		return fmt.Sprint(found[i]) < fmt.Sprint(found[j])
	})
	return found, nil
}

// unquoted undoes the quoting that the kubelet puts around the runtime's error
// in FailedKillPod.
func unquoted(message string) (string, error) {
	m := quotedTail.FindStringSubmatch(message)
	if m == nil {
		return message, nil
	}
	return strconv.Unquote(m[1])
}

// Section is the text between `@@id …` and `@@end` of a node's probe.
func (r Recording) Section(node, id string) (string, error) {
	data, ok := r.Files["nodes/"+node+"/probe.txt"]
	if !ok {
		return "", fmt.Errorf("%s: no probe of %s", r.Name, node)
	}
	_, rest, found := strings.Cut("\n"+string(data), "\n@@"+id+" ")
	if !found {
		return "", fmt.Errorf("%s: no section %s of %s", r.Name, id, node)
	}
	_, rest, _ = strings.Cut(rest, "\n")
	body, _, found := strings.Cut(rest, "\n@@end")
	if !found {
		return "", fmt.Errorf("%s: section %s of %s has no end", r.Name, id, node)
	}
	return body, nil
}
