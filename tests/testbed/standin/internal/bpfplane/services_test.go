package bpfplane

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"kubectl-calico.invalid/standin/internal/kubeapi"
)

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var value T
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

const services = `[
	{"metadata":{"name":"web","namespace":"a"},"spec":{"type":"NodePort","clusterIP":"10.96.0.9","clusterIPs":["10.96.0.9","fd00::9"],
		"externalIPs":["192.0.2.1"],"ports":[{"name":"http","port":80,"nodePort":30080},{"name":"dns","protocol":"UDP","port":53},{"name":"x","protocol":"SCTP","port":9}]}},
	{"metadata":{"name":"headless","namespace":"a"},"spec":{"clusterIP":"None","clusterIPs":["None"],"ports":[{"port":80}]}},
	{"metadata":{"name":"elsewhere","namespace":"a"},"spec":{"type":"ExternalName"}},
	{"metadata":{"name":"six","namespace":"a"},"spec":{"clusterIP":"fd00::1","clusterIPs":["fd00::1"],"ports":[{"port":80}]}},
	{"metadata":{"name":"manual","namespace":"b"},"spec":{"clusterIP":"10.96.0.10","ports":[{"port":443}]}}]`

const endpoints = `[
	{"metadata":{"namespace":"a","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4",
		"ports":[{"name":"http","protocol":"TCP","port":8080},{"name":"dns","protocol":"UDP","port":5353}],
		"endpoints":[{"addresses":["10.200.1.2"],"nodeName":"node2","conditions":{"ready":true}},{"addresses":["10.200.0.2"],"nodeName":"node1"},
			{"addresses":["10.200.0.3"],"conditions":{"ready":false}},{"addresses":["10.200.0.2"],"nodeName":"node1"}]},
	{"metadata":{"namespace":"a","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv6","ports":[{"name":"http","port":8080}],"endpoints":[{"addresses":["fd00::2"]}]},
	{"metadata":{"namespace":"c","labels":{"kubernetes.io/service-name":"manual"}},"addressType":"IPv4","ports":[{"port":1}],"endpoints":[{"addresses":["192.0.2.9"]}]},
	{"metadata":{"namespace":"b","labels":{"kubernetes.io/service-name":"manual"}},"addressType":"IPv4","ports":[{"protocol":"TCP","port":6443}],"endpoints":[{"addresses":["10.99.0.1"]}]}]`

func entries(t *testing.T) []Entry {
	t.Helper()
	return EntriesOf(decode[[]kubeapi.Service](t, services), decode[[]kubeapi.EndpointSlice](t, endpoints), "node1")
}

func TestServicesAreJoinedWithTheirEndpointsWhoeverWroteThem(t *testing.T) {
	want := []Entry{
		{"tcp", []string{"10.96.0.10"}, 443, 0, []Backend{{"10.99.0.1", 6443, false}}},
		{"udp", []string{"10.96.0.9", "192.0.2.1"}, 53, 0, []Backend{{"10.200.0.2", 5353, true}, {"10.200.1.2", 5353, false}}},
		{"tcp", []string{"10.96.0.9", "192.0.2.1"}, 80, 30080, []Backend{{"10.200.0.2", 8080, true}, {"10.200.1.2", 8080, false}}},
	}
	if got := entries(t); !reflect.DeepEqual(got, want) {
		t.Errorf("entries\n%+v\nwanted\n%+v", got, want)
	}
}

func TestRulesetMatchesEveryFrontend(t *testing.T) {
	all := append(entries(t), Entry{Protocol: "tcp", Addresses: []string{"10.96.0.11"}, Port: 80})
	text := ruleset(all, []string{"10.200.0.0/16"})
	for _, line := range []string{
		"table ip testbed-bpf\ndelete table ip testbed-bpf\n",
		"type nat hook prerouting priority -110;", "type nat hook output priority -110;",
		"    ip daddr 10.96.0.10 tcp dport 443 ct mark set 0x0ca11c01 dnat to 10.99.0.1:6443\n",
		"    ip daddr 192.0.2.1 udp dport 53 ct mark set 0x0ca11c01 dnat to numgen random mod 2 map { 0 : 10.200.0.2 . 5353, 1 : 10.200.1.2 . 5353 }\n",
		"    fib daddr type local ip daddr != 127.0.0.0/8 tcp dport 30080 ct mark set 0x0ca11c02 dnat to ",
		"    ip daddr 10.96.0.11 tcp dport 80 reject\n", "elements = { 10.200.0.0/16 }",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in\n%s", line, text)
		}
	}
	// An empty set has no elements at all: nftables refuses an empty list.
	if strings.Contains(ruleset(nil, nil), "elements") {
		t.Error("elements of nothing")
	}
}

func TestNATDumpHasTheFormatOfTheRealOne(t *testing.T) {
	var out strings.Builder
	entries(t)[2].dump(&out, 7, []string{"10.99.0.11"})
	backends := "\t7:0\t 10.200.0.2:8080\n\t7:1\t 10.200.1.2:8080\n"
	want := ""
	for _, frontend := range []string{"10.96.0.9 port 80", "192.0.2.1 port 80", "10.99.0.11 port 30080", "255.255.255.255 port 30080"} {
		want += frontend + " proto 6 id 7 count 2 local 1\n" + backends
	}
	if out.String() != want {
		t.Errorf("dumped\n%s\nwanted\n%s", out.String(), want)
	}
}
