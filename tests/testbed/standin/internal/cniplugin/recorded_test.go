package cniplugin

import (
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"kubectl-calico.invalid/standin/internal/hostnet"
	"kubectl-calico.invalid/standin/internal/recording"
)

// faults are the incidents of the recordings as they look to the plugin. No
// expected text stands here: it is looked up in the events of the recording.
var faults = []struct {
	name string
	// recording has the text for both verbs, or for ADD alone.
	recording string
	addOnly   bool
	// asked says whether the API server sees the plugin's request.
	asked bool
	bring func(t *testing.T) *bench
}{
	{
		name: "calico-node never started", recording: "R01", addOnly: true,
		bring: func(t *testing.T) *bench {
			b := newBench(t, healthy())
			must(t, os.Remove(b.path("/var/lib/calico/nodename")))
			return b
		},
	},
	{
		name: "token of a deleted ServiceAccount", recording: "R02", asked: true,
		bring: func(t *testing.T) *bench {
			b := newBench(t, healthy())
			replaceToken(t, b, "good-token", "dead-token")
			return b
		},
	},
	{
		name: "cluster has another CA of the same name", recording: "R05",
		bring: func(t *testing.T) *bench {
			b := newBench(t, healthy())
			b.kubeconfig(t, newAuthority(t).pem(), "good-token")
			return b
		},
	},
	{
		name: "custom resource definitions deleted", recording: "R09", asked: true,
		bring: func(t *testing.T) *bench { return newBench(t, answers{}) },
	},
	{
		name: "API server does not answer", recording: "R14", addOnly: true,
		bring: func(t *testing.T) *bench {
			b := newBench(t, healthy())
			// The deadline is over before the first packet could be sent.
			b.plugin.Dial = (&net.Dialer{Timeout: time.Nanosecond}).DialContext
			return b
		},
	},
}

func TestFaultsSayWhatTheRealPluginSaid(t *testing.T) {
	for _, fault := range faults {
		t.Run(fault.recording+" "+fault.name, func(t *testing.T) {
			recorded := recordedTexts(t, fault.recording)
			for command, verb := range map[string]string{"ADD": "add", "DEL": "delete"} {
				if fault.addOnly && command == "DEL" {
					continue
				}
				b := fault.bring(t)
				text, out := b.run(command)
				if !recorded[recording.PluginError{Plugin: "calico", Verb: verb, Text: text}] {
					t.Errorf("%s says\n  %q\nwhich no event of %s has", command, text, fault.recording)
				}
				if out != "" {
					t.Errorf("%s printed a result beside its error: %s", command, out)
				}
				expectUntouched(t, b, fault.asked)
			}
		})
	}
}

// Every text of the real plugin in any recording must be one that the stand-in
// can say too, so that a new recording cannot be overlooked.
func TestEveryRecordedTextCanBeReplayed(t *testing.T) {
	said := map[recording.PluginError]bool{}
	for _, fault := range faults {
		for command, verb := range map[string]string{"ADD": "add", "DEL": "delete"} {
			text, _ := fault.bring(t).run(command)
			said[recording.PluginError{Plugin: "calico", Verb: verb, Text: text}] = true
		}
	}
	all, err := recording.All()
	must(t, err)
	replayed := 0
	for _, r := range all {
		errs, err := r.PluginErrors()
		must(t, err)
		for _, e := range errs {
			// A missing binary is reported by the runtime, other types are not ours.
			if e.Plugin != "calico" || strings.HasPrefix(e.Text, "failed to find plugin") {
				continue
			}
			replayed++
			if !said[e] {
				t.Errorf("%s: nothing replays %+v", r.Name, e)
			}
		}
	}
	if replayed == 0 {
		t.Fatal("no recording has a text of the plugin")
	}
}

func TestLogHasTheRecordedLine(t *testing.T) {
	r, err := recording.Open("R02")
	must(t, err)
	log, err := r.Section("node2", "cni-log")
	must(t, err)
	for _, command := range []string{"ADD", "DEL"} {
		b := newBench(t, healthy())
		replaceToken(t, b, "good-token", "dead-token")
		b.run(command)
		line := withoutTimeAndPid(strings.TrimSuffix(b.log.String(), "\n"))
		if !containsLine(withoutTimeAndPid(log), line) {
			t.Errorf("cni.log of R02 has no line\n  %s", line)
		}
	}
}

func TestVethNamesAreTheRecordedOnes(t *testing.T) {
	line := regexp.MustCompile(`Setting the host side veth name to (cali\w+) .*Namespace="([^"]+)" Pod="([^"]+)"`)
	r, err := recording.Open("R02")
	must(t, err)
	log, err := r.Section("node2", "cni-log")
	must(t, err)
	found := line.FindAllStringSubmatch(log, -1)
	if len(found) == 0 {
		t.Fatal("R02 shows no veth name")
	}
	for _, m := range found {
		if got := hostnet.VethName(m[2], m[3]); got != m[1] {
			t.Errorf("veth of %s/%s is %s, recorded %s", m[2], m[3], got, m[1])
		}
	}
}

func recordedTexts(t *testing.T, id string) map[recording.PluginError]bool {
	t.Helper()
	r, err := recording.Open(id)
	must(t, err)
	errs, err := r.PluginErrors()
	must(t, err)
	texts := map[recording.PluginError]bool{}
	for _, e := range errs {
		texts[e] = true
	}
	return texts
}

// expectUntouched proves that a failing command asked for ClusterInformation at
// most once, and asked and changed nothing else.
func expectUntouched(t *testing.T, b *bench, asked bool) {
	t.Helper()
	if asked {
		b.expectTrace(t, askCluster)
	} else {
		b.expectTrace(t)
	}
	if _, err := os.Stat(b.plugin.Addresses.Dir); err == nil {
		t.Error("a failing command touched the address records")
	}
}

func replaceToken(t *testing.T, b *bench, from, to string) {
	t.Helper()
	path := b.conf.Kubernetes.Kubeconfig
	data, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, []byte(strings.Replace(string(data), from, to, 1)), 0o600))
}

var timeAndPid = regexp.MustCompile(`(?m)^\S+ \S+ \[(\w+)\]\[\d+\]`)

func withoutTimeAndPid(log string) string { return timeAndPid.ReplaceAllString(log, "[$1]") }

func containsLine(log, line string) bool {
	for _, l := range strings.Split(log, "\n") {
		if l == line {
			return true
		}
	}
	return false
}
