package problem_test

import (
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

func TestNearest(t *testing.T) {
	known := []string{"backend", "frontend", "queue-short", "queue-long"}
	for name, want := range map[string]string{
		"backend": "backend", "bakcend": "backend", "front-end": "frontend", "queue_long": "queue-long", "queue-sort": "queue-short",
		"database": "", "": "", "b": "",
	} {
		if got := problem.Nearest(name, known); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
