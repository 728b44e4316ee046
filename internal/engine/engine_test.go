package engine

import (
	"strings"
	"testing"
)

func TestConnectToNamedEngine(t *testing.T) {
	endpoint := Endpoint{RunnerHost: "unix:///none.sock", CLI: t.TempDir() + "/dagger"}
	_, err := endpoint.Connect(t.Context(), nil)
	if err == nil || !strings.HasPrefix(err.Error(), "connect to engine unix:///none.sock: ") || !strings.Contains(err.Error(), endpoint.CLI) {
		t.Errorf("error is %v, want one of the engine and the command that are named", err)
	}
}
