package bpfplane

import (
	"fmt"
	"strings"
)

// Table is where the translation is: nftables do here what Felix's programs do. Nothing of the real Calico has that name.
const Table = "testbed-bpf"

// Marks of translated connections: those to an address of the Service keep a pod's address, those to a node port do not.
const (
	markService  = "0x0ca11c01"
	markNodePort = "0x0ca11c02"
)

// ruleset replaces the table in one transaction. Its chains stand in front of kube-proxy's (priority -100): what is
// translated here is settled, and kube-proxy's rules are not asked.
func ruleset(entries []Entry, pools []string) string {
	var translate, refuse, hairpin []string
	for _, entry := range entries {
		for _, backend := range entry.Backends {
			hairpin = append(hairpin, backend.Address+" . "+backend.Address)
		}
		for _, match := range entry.matches() {
			if len(entry.Backends) == 0 {
				refuse = append(refuse, match.words+" reject")
				continue
			}
			translate = append(translate, fmt.Sprintf("%s ct mark set %s dnat to %s", match.words, match.mark, target(entry.Backends)))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "table ip %[1]s\ndelete table ip %[1]s\ntable ip %[1]s {\n", Table)
	set(&b, "pods", "ipv4_addr", "flags interval; auto-merge;", pools)
	set(&b, "hairpin", "ipv4_addr . ipv4_addr", "", hairpin)
	chain(&b, "refuse", "", refuse)
	chain(&b, "refuse-prerouting", "type filter hook prerouting priority -150;", []string{"jump refuse"})
	chain(&b, "refuse-output", "type filter hook output priority -150;", []string{"jump refuse"})
	chain(&b, "translate", "", translate)
	chain(&b, "prerouting", "type nat hook prerouting priority -110;", []string{"jump translate"})
	chain(&b, "output", "type nat hook output priority -110;", []string{"jump translate"})
	chain(&b, "postrouting", "type nat hook postrouting priority 90;", []string{
		"ct mark " + markNodePort + " masquerade",
		"ct mark " + markService + " ip saddr != @pods masquerade",
		"ct mark " + markService + " ip saddr . ip daddr @hairpin masquerade",
	})
	b.WriteString("}\n")
	return b.String()
}

type match struct{ words, mark string }

func (e Entry) matches() []match {
	var found []match
	for _, address := range e.Addresses {
		found = append(found, match{fmt.Sprintf("ip daddr %s %s dport %d", address, e.Protocol, e.Port), markService})
	}
	if e.NodePort != 0 {
		words := fmt.Sprintf("fib daddr type local ip daddr != 127.0.0.0/8 %s dport %d", e.Protocol, e.NodePort)
		found = append(found, match{words, markNodePort})
	}
	return found
}

// target picks one of the backends by chance for every new connection.
func target(backends []Backend) string {
	if len(backends) == 1 {
		return fmt.Sprintf("%s:%d", backends[0].Address, backends[0].Port)
	}
	choices := make([]string, len(backends))
	for i, backend := range backends {
		choices[i] = fmt.Sprintf("%d : %s . %d", i, backend.Address, backend.Port)
	}
	return fmt.Sprintf("numgen random mod %d map { %s }", len(backends), strings.Join(choices, ", "))
}

func set(b *strings.Builder, name, kind, more string, elements []string) {
	fmt.Fprintf(b, "  set %s { type %s; %s", name, kind, more)
	if len(elements) > 0 {
		fmt.Fprintf(b, " elements = { %s }", strings.Join(elements, ", "))
	}
	b.WriteString(" }\n")
}

func chain(b *strings.Builder, name, hook string, rules []string) {
	fmt.Fprintf(b, "  chain %s {\n", name)
	if hook != "" {
		fmt.Fprintf(b, "    %s\n", hook)
	}
	for _, rule := range rules {
		fmt.Fprintf(b, "    %s\n", rule)
	}
	b.WriteString("  }\n")
}
