package deploy

import "testing"

func TestDowntime(t *testing.T) {
	for _, tc := range []struct {
		name, watched string
		want          float64
	}{
		{"one gap", "10.0 10.1 200\n20.0 20.1 000\n21.0 21.0 404\n31.0 31.5 200\n", 11.5},
		{"two gaps count from the first to the last", "1 1 200\n2 2 503\n3 3 200\n4 4 502\n6 6 200\n", 4},
		{"never away", "10.0 10.1 200\n", 0},
		{"never there before", "1 1 000\n5 5 200\n", 0},
		{"still away at the end of the first gap", "1 1 200\n2 2 000\n", 0},
		{"nothing was measured", "", 0},
		{"not from the watcher", "curl: command not found\n", 0},
	} {
		if got := downtime(tc.watched); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}
