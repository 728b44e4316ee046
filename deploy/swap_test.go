//go:build unix

package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestServersAreWarm: the new servers make pages before the frontend that leads
// visitors to them is there, if the sites are open.
func TestServersAreWarm(t *testing.T) {
	short(t)
	for _, migrates := range []bool{false, true} {
		m := newMachine(t)
		m.mustRelease("1.0.0")
		before := len(m.calls())
		target := m.target()
		target.Strategy, target.Migrate = Swap, migrates
		m.when("backends", "ps --all --no-trunc --filter label=com.docker.compose.service=backend", fmt.Sprintf(`printf '%%s %s/releases/%%s/x\n' old 1.0.0 new 1.0.1; exit`, m.dir))
		// It goes on for a while after it was begun.
		m.when("warm", verb+"warm erp.example.com", `sleep 1; echo is warm >>"$DOCKER_STATE/calls"; exit`)
		if _, _, err := m.carryOut(t.Context(), m.plan(t.Context(), target, "1.0.1"), testImage); err != nil {
			t.Fatal(err)
		}
		calls := m.calls()[before:]
		index := func(text string) int {
			return slices.IndexFunc(calls, func(call string) bool { return strings.Contains(call, text) })
		}
		warm, frontend := index("is warm"), index("--scale frontend=1 frontend")
		if migrates && warm >= 0 || !migrates && (warm < 0 || frontend < warm) {
			t.Errorf("migrates %v: warm at %d, frontend at %d", migrates, warm, frontend)
		}
	}
}

// TestOtherSet: where none is named, the program's own compose set takes the place of
// no other.
func TestOtherSet(t *testing.T) {
	short(t)
	m := newMachine(t)
	text, err := os.ReadFile("compose/compose-main.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ours.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, live := range []struct {
		version, file string
		want          int
	}{{"1.0.0", "compose/compose-main.yaml", 0}, {"1.0.1", file, 1}} {
		target := m.target()
		target.ComposeFiles = []string{live.file}
		if _, _, err := m.carryOut(t.Context(), m.plan(t.Context(), target, live.version), testImage); err != nil {
			t.Fatal(err)
		}
		state, err := Inspect(t.Context(), m, target)
		if err != nil {
			t.Fatal(err)
		}
		target.ComposeFiles = nil
		_, report := MakePlan(t.Context(), state, target, lockOf("1.0.2"))
		if len(report) != live.want || live.want == 1 && report[0].Code != "deploy.other-set" {
			t.Errorf("over %s: %v", live.file, report)
		}
	}
}
