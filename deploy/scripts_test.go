package deploy

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
)

// TestSteps holds that the sequence and the folder of scripts fit together.
func TestSteps(t *testing.T) {
	used := map[string]bool{"ground.sh": true, "hook.do": true, "watch.undo": true, "migrate.undo": true, "record.undo": true}
	for _, name := range shared {
		used[name] = true
	}
	for _, s := range sequence {
		do, undo := s.scripts(runSpec{})
		if do == "" {
			t.Errorf("step %s does nothing", s.name)
		}
		if s.hook == "" && s.doc == "" {
			t.Errorf("nobody is told what step %s does", s.name)
		}
		if (undo == "") != (s.undoDoc == "") {
			t.Errorf("step %s: undone by %q, and told is %q", s.name, undo, s.undoDoc)
		}
		name := cmp.Or(s.script, s.name)
		used[name+".do"], used[name+".undo"] = true, true
	}
	entries, err := stepFiles.ReadDir("steps")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !used[entry.Name()] {
			t.Errorf("no step has steps/%s", entry.Name())
		}
	}
}

// TestSettings holds that what a run is about comes through a shell unchanged.
func TestSettings(t *testing.T) {
	l := Plan{Kind: Release, Version: "1.0.1", Previous: "1.0.0", nextRun: 7, Sites: []string{"erp.example.com", "shop.example.com"},
		Target: Target{Dir: "/srv/it's $HOME", Project: "erp", HTTPPort: 8080}}.runSpec("000007-1.0.1-abcd", "127.0.0.1:5000/erp@sha256:1111")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "settings"), []byte(l.settings()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-euc", `. "$1"; printf '%s|' "$dir" "$kind" "$strategy" "$number" "$sites" "$drain_limit" "$backup_files" "$restore_from"`,
		"sh", filepath.Join(dir, "settings")).CombinedOutput()
	if want := "/srv/it's $HOME|release|cycle|7|erp.example.com shop.example.com|300|||"; err != nil || string(out) != want {
		t.Errorf("%v: %s, want %s", err, out, want)
	}
}

// TestScriptsShellcheck checks every script as it lies on the host, and that
// other shells than the one here take them.
func TestScriptsShellcheck(t *testing.T) {
	debiantest.Install(t, "shellcheck", "busybox", "dash")
	// What is quoted is meant for another shell (SC2016). Settings come from a
	// file, and what lib.sh sets is for others (SC2154, SC2034). Lists of sites,
	// services and containers are split on purpose: no name has a blank in it
	// (SC2046, SC2086).
	check := func(shell, name, text string) {
		t.Run(name, func(t *testing.T) {
			debiantest.Shellcheck(t, text, "--shell="+shell, "--exclude=SC1091,SC2016,SC2154,SC2034,SC2046,SC2086")
		})
		if shell != "sh" {
			return
		}
		for _, argv := range [][]string{{"dash", "-n"}, {"busybox", "sh", "-n"}} {
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s under %s: %v\n%s", name, argv[0], err, out)
			}
		}
	}
	for _, s := range sequence {
		do, undo := s.scripts(runSpec{})
		check("sh", s.name, stepScript("x", do))
		check("sh", s.name+", undone", stepScript("x", undo))
	}
	for _, name := range []string{"lib.sh", "ground.sh", "inputs.sh"} {
		check("sh", name, stepFile(name))
	}
	for _, name := range []string{"ask.sh", "assets.sh", "route.sh", "versions.sh", "watch.sh"} {
		check("bash", name, stepFile(name))
	}
	check("sh", "inspect.sh", "# shellcheck disable=SC2012\n"+inspectScript)
	check("sh", "collect", collect)
	check("sh", "unlock", unlock)
	check("sh", "look", look)
	check("sh", "takesUp", takesUp)
}

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
