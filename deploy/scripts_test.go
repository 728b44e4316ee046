package deploy

import (
	"cmp"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
)

// strategies are all lists of steps.
var strategies = []strategy{first, cycle, swap, rollbackCycle, rollbackSwap, pruning}

// everyStep returns the steps of all strategies.
func everyStep() []step {
	var all []step
	for _, s := range strategies {
		all = append(all, s.all()...)
	}
	return all
}

// TestSteps holds that the steps and the folder of scripts fit together.
func TestSteps(t *testing.T) {
	used := map[string]bool{}
	var texts strings.Builder
	for _, s := range everyStep() {
		do, undo := s.scripts()
		if do == "" {
			t.Errorf("step %s does nothing", s.name)
		}
		if s.does == "" {
			t.Errorf("it is not said what step %s does", s.name)
		}
		if (undo == "") != (s.undo == "") {
			t.Errorf("step %s: undone by %q, and said is %q", s.name, undo, s.undo)
		}
		name := cmp.Or(s.script, s.name)
		used[name+".do"], used[name+".undo"] = true, true
		texts.WriteString(do + undo)
	}
	for _, list := range strategies {
		for _, s := range list.settled {
			if s.undo != "" || s.remedy == "" || remedyFor(s.name) != s.remedy {
				t.Errorf("step %s is never undone: its undo is %q, its remedy %q", s.name, s.undo, s.remedy)
			}
		}
	}
	for _, name := range sharedFiles() {
		texts.WriteString(stepFile(name))
	}
	for _, text := range runner.Files() {
		texts.WriteString(text)
	}
	for _, name := range sharedFiles() {
		used[name] = strings.Contains(texts.String(), name)
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
		Target: Target{Sites: []string{"erp.example.com"}, Dir: "/srv/it's $HOME", Project: "erp", HTTPPort: 8080}}.runSpec("000007-1.0.1-abcd", "127.0.0.1:5000/erp@sha256:1111")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "settings"), []byte(l.settings()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-euc", `. "$1"; printf '%s|' "$dir" "$kind" "$strategy" "$swap" "$number" "$sites" "$first_site" "$drain_limit" "$backup_files" "$restore_from"`,
		"sh", filepath.Join(dir, "settings")).CombinedOutput()
	if want := "/srv/it's $HOME|release|cycle||7|erp.example.com shop.example.com|erp.example.com|300|||"; err != nil || string(out) != want {
		t.Errorf("%v: %s, want %s", err, out, want)
	}
}

// TestScriptsShellcheck checks every script as it lies on the host, and that
// other shells than the one here take them.
func TestScriptsShellcheck(t *testing.T) {
	debiantest.Install(t, "shellcheck", "busybox", "dash")
	// What is quoted is meant for another shell (SC2016). Settings come from a
	// file, and what lib.sh sets is for others (SC2154, SC2034). Lists of sites,
	// services, containers and versions are split on purpose: no name has a blank
	// in it (SC2012, SC2046, SC2086). Functions keep their variables to themselves
	// (SC2030, SC2031).
	check := func(shell, name, text string) {
		t.Run(name, func(t *testing.T) {
			debiantest.Shellcheck(t, text, "--shell="+shell, "--exclude=SC1091,SC2012,SC2016,SC2154,SC2034,SC2030,SC2031,SC2046,SC2086")
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
	checked := map[string]bool{}
	for _, s := range everyStep() {
		name := cmp.Or(s.script, s.name)
		if checked[name] {
			continue
		}
		checked[name] = true
		do, undo := s.scripts()
		check("sh", name+".do", stepScript("x", do))
		check("sh", name+".undo", stepScript("x", undo))
	}
	for _, name := range sharedFiles() {
		text := stepFile(name)
		switch {
		case path.Ext(name) == ".py":
		case slices.Contains([]string{"ask.sh", "assets.sh", "await-route.sh", "look.sh", "measure-downtime.sh", "versions.sh", "visit.sh"}, name):
			// They run in the image.
			check("bash", name, text)
		default:
			check("sh", name, text)
		}
	}
	for _, dir := range []string{"remote", "host/remote", "setup/remote"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			name := filepath.Join(dir, entry.Name())
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			check("sh", name, string(text))
		}
	}
}
