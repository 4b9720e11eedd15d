package bpfplane

import (
	"regexp"
	"slices"
	"strings"
)

// proxyChains begin the names of kube-proxy's chains that Felix removes. It leaves KUBE-POSTROUTING, KUBE-MARK-MASQ, KUBE-EXT-,
// kubelet's own, and others.
var proxyChains = []string{
	"KUBE-FORWARD", "KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-SVC-", "KUBE-SEP-", "KUBE-FW-", "KUBE-XLB-",
}

// proxyJump is what Felix removes from chains that are not kube-proxy's.
var proxyJump = regexp.MustCompile(`-j KUBE-[a-zA-Z0-9-]*SERVICES( |$)|-j KUBE-FORWARD( |$)`)

// jumpTarget is where a rule leads.
var jumpTarget = regexp.MustCompile(` -[jg] (\S+)`)

// savedTable is one table of iptables-save.
type savedTable struct {
	name   string
	chains []string
	// rules are the lines without "-A ", which begin with the chain.
	rules []string
}

// cleanup turns what iptables-save prints into what iptables-restore --noflush must be given; empty if nothing is to go.
func cleanup(saved string) string {
	var b strings.Builder
	for _, table := range parseSaved(saved) {
		table.cleanup(&b)
	}
	return b.String()
}

func parseSaved(saved string) []savedTable {
	var tables []savedTable
	for _, line := range strings.Split(saved, "\n") {
		if name, ok := strings.CutPrefix(line, "*"); ok {
			tables = append(tables, savedTable{name: name})
			continue
		}
		if len(tables) == 0 {
			continue
		}
		last := &tables[len(tables)-1]
		if chain, ok := strings.CutPrefix(line, ":"); ok {
			last.chains = append(last.chains, firstWord(chain))
		} else if rule, ok := strings.CutPrefix(line, "-A "); ok {
			last.rules = append(last.rules, rule)
		}
	}
	return tables
}

// cleanup empties kube-proxy's chains, takes out the jumps to them, and deletes those to which nothing leads any more.
func (t savedTable) cleanup(b *strings.Builder) {
	var going, lines []string
	isFilled := false
	for _, chain := range t.chains {
		if isProxys(chain) {
			going = append(going, chain)
			lines = append(lines, ":"+chain+" - [0:0]")
		}
	}
	used := map[string]bool{}
	for _, rule := range t.rules {
		if isProxys(firstWord(rule)) {
			isFilled = true
			continue
		}
		if proxyJump.MatchString(rule) {
			lines = append(lines, "-D "+rule)
			isFilled = true
			continue
		}
		if target := jumpTarget.FindStringSubmatch(rule); target != nil {
			used[target[1]] = true
		}
	}
	unused := slices.DeleteFunc(slices.Clone(going), func(chain string) bool { return used[chain] })
	if !isFilled && len(unused) == 0 {
		return
	}
	for _, chain := range unused {
		lines = append(lines, "-X "+chain)
	}
	b.WriteString("*" + t.name + "\n" + strings.Join(lines, "\n") + "\nCOMMIT\n")
}

func isProxys(chain string) bool {
	return slices.ContainsFunc(proxyChains, func(prefix string) bool {
		return chain == prefix || strings.HasSuffix(prefix, "-") && strings.HasPrefix(chain, prefix)
	})
}

func firstWord(line string) string {
	word, _, _ := strings.Cut(line, " ")
	return word
}
