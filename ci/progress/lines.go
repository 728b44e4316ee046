package progress

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"sync"
)

// Marker returns the first line of a stage's script, by which the lines that
// the script prints are told from others. It has no line end, and does nothing
// in a POSIX shell.
func Marker(stage string) string { return ": stage " + stage }

// marker finds the marker in the heading of an exec. A heading is one line:
// the script's line ends are written as \n.
var marker = regexp.MustCompile(`^▼ withExec .*?: stage (.+?)(?:\\n|'?$)`)

// longest is how many bytes of a line are looked at.
const longest = 4 << 10

// lines cuts the progress of a session into lines. It looks like this, where
// a heading is written again whenever another exec had the word:
//
//	▼ withExec sh -euc ': stage assets\nyarn run …'
//	what the exec
//	prints
//
//	▶ ..
//
// A line without an end has a ⏎ where another heading follows.
type lines struct {
	show func(stage, line string)

	mu    sync.Mutex
	line  []byte
	stage string
	// gap says that the last line was empty, as before every heading.
	gap bool
}

// NewLines returns a writer for the progress of a Dagger session, in the format
// that internal/engine asks for. It calls show
// for every line that an exec prints whose script begins with a [Marker],
// and for every state of a line that is drawn again and again. Lines come
// without control characters; empty ones don't come.
func NewLines(show func(stage, line string)) io.Writer {
	return &lines{show: show, gap: true}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for rest := p; len(rest) > 0; {
		i := bytes.IndexAny(rest, "\r\n")
		if i < 0 {
			l.keep(rest)
			break
		}
		l.keep(rest[:i])
		l.end(rest[i] == '\n')
		rest = rest[i+1:]
	}
	return len(p), nil
}

func (l *lines) keep(part []byte) {
	l.line = append(l.line, part[:min(len(part), longest-len(l.line))]...)
}

// end takes a line that is complete, or that will be overwritten.
func (l *lines) end(complete bool) {
	line := clean(string(l.line))
	l.line = l.line[:0]
	switch {
	case l.gap && strings.HasPrefix(line, "▼ "):
		l.stage = ""
		if found := marker.FindStringSubmatch(line); found != nil {
			l.stage = found[1]
		}
	case l.gap && strings.HasPrefix(line, "▶ "):
		l.stage = ""
	default:
		if text := strings.TrimSuffix(line, "⏎"); text != "" && l.stage != "" {
			l.show(l.stage, text)
		}
	}
	// A carriage return right before the line end is no line of its own.
	l.gap = complete && line == ""
}
