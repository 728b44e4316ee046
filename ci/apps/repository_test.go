package apps_test

import (
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
)

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost:5000": true, "127.0.0.1:5000": true, "[::1]:5000": true, "localhost": true, "[::1]": true,
		"registry.example.com:5000": false, "registry.example.com": false, "10.0.0.1:5000": false, "": false,
	} {
		if got := apps.IsLoopback(host); got != want {
			t.Errorf("%q: got %v, want %v", host, got, want)
		}
	}
}
