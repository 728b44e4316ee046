package image

import (
	"errors"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

func TestPrintedBefore(t *testing.T) {
	start := time.Unix(1700000000, 500_000_000)
	for name, test := range map[string]struct {
		output string
		want   bool
	}{
		"ran in an earlier build": {"installing\n1699999999.123456789\n", true},
		"ran in this build":       {"installing\n1700000001.000000000\n", false},
		"printed nothing":         {"", false},
		"printed no time":         {"done\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := printedBefore(test.output, start); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// What helps against a machine that emulates nothing is not what the
// kernel says.
func TestUnemulated(t *testing.T) {
	b := &Builder{native: "linux/amd64"}
	failed := errors.New("build tools linux/arm64: exit 1\nfork/exec /bin/sh: exec format error")
	var problems *problem.Error
	if err := b.unemulated(&stage{platform: "linux/arm64"}, failed); !errors.As(err, &problems) || !errors.Is(err, failed) ||
		err.Error() != "linux/arm64: the engine's machine runs no programs for it" {
		t.Errorf("a foreign stage failed with %v", err)
	}
	for _, s := range []*stage{{platform: "linux/amd64"}, {}} {
		if err := b.unemulated(s, failed); !errors.Is(err, failed) {
			t.Errorf("a native stage failed with %v", err)
		}
	}
	other := errors.New("exit 1")
	if err := b.unemulated(&stage{platform: "linux/arm64"}, other); !errors.Is(err, other) {
		t.Errorf("a foreign stage failed with %v for another reason", err)
	}
}
