package nodeagent

import (
	"fmt"
	"strings"
)

// reporter is one line of what Felix answers at /readiness and /liveness. A state that a reporter does not report is "-".
type reporter struct{ component, timeout, liveness, readiness, detail string }

// table is Felix's answer: a box, as wide as its words.
func table(reporters []reporter) string {
	rows := [][]string{{"COMPONENT", "TIMEOUT", "LIVENESS", "READINESS", "DETAIL"}}
	for _, it := range reporters {
		rows = append(rows, []string{it.component, it.timeout, it.liveness, it.readiness, it.detail})
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	var rule strings.Builder
	for _, width := range widths {
		rule.WriteString("+" + strings.Repeat("-", width+2))
	}
	rule.WriteString("+\n")
	var b strings.Builder
	b.WriteString(rule.String())
	for number, row := range rows {
		for i, cell := range row {
			if number == 0 {
				cell = centred(cell, widths[i])
			}
			fmt.Fprintf(&b, "| %-*s ", widths[i], cell)
		}
		b.WriteString("|\n")
		if number == 0 {
			b.WriteString(rule.String())
		}
	}
	b.WriteString(rule.String())
	return b.String()
}

func centred(text string, width int) string {
	return strings.Repeat(" ", (width-len(text))/2) + text
}

// reporting is the word of a reporter for a state.
func reporting(isGood bool, what string) string {
	if isGood {
		return "reporting " + what
	}
	return "reporting non-" + what
}
