package image

import (
	"testing"
	"time"
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
