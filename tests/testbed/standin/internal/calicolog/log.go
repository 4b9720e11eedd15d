// Package calicolog writes log lines in the layout that Calico 3.28 uses in
// cni.log and in the log of install-cni:
//
//	2026-11-21 12:01:47.539 [ERROR][2823] plugin.go 163: Final result … error=…
package calicolog

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Level is the word that Calico prints in the first pair of brackets.
type Level string

// The levels that occur in the recordings, and FATAL.
const (
	Info    Level = "INFO"
	Warning Level = "WARNING"
	Error   Level = "ERROR"
	Fatal   Level = "FATAL"
)

// Field is one `key=value` after the message. A string is printed quoted, as
// logrus does in Calico's formatter, everything else with %v.
type Field struct {
	Key   string
	Value any
}

// Logger prints to one writer. Its zero value drops every line.
type Logger struct {
	mu  sync.Mutex
	out io.Writer
	pid int
	now func() time.Time
}

// New makes a logger that stamps its lines with this process and the present.
func New(out io.Writer) *Logger {
	return &Logger{out: out, pid: os.Getpid(), now: time.Now}
}

// Log prints one line. Place is the source file and line that the real program
// printed for the same message (`plugin.go 163`): readers of these logs match
// messages, and the places make a stand-in's log look at home among them.
func (l *Logger) Log(level Level, place, message string, fields ...Field) {
	if l == nil || l.out == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// A log that cannot be written must not fail the operation it describes.
	_, _ = io.WriteString(l.out, line(l.now(), level, l.pid, place, message, fields))
}

func line(at time.Time, level Level, pid int, place, message string, fields []Field) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s [%s][%d] %s: %s", at.Format("2006-01-02 15:04:05.000"), level, pid, place, message)
	for _, f := range fields {
		value := fmt.Sprintf("%v", f.Value)
		if s, ok := f.Value.(string); ok {
			value = strconv.Quote(s)
		}
		fmt.Fprintf(&b, " %s=%s", f.Key, value)
	}
	b.WriteByte('\n')
	return b.String()
}
