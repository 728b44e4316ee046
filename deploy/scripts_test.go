package deploy

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian"
)

var update = flag.Bool("update", false, "write the golden files")

// example is a run that replaces another.
func example() launch {
	at := layout{"/srv/erp next"}
	return launch{
		layout: at, id: "000007-1.0.1-abcd", version: "1.0.1",
		image: "127.0.0.1:5000/desired/erp@sha256:1111", tagged: "desired/erp:1.0.1",
		next: at.project("erp", "1.0.1", []string{"compose-main.yaml"}), previous: "1.0.0",
		before: at.project("erp", "1.0.0", []string{"compose-main.yaml", "old.yaml"}),
		sites:  []string{"erp.example.com", "shop.example.com"}, port: 8080,
	}
}

// TestScripts holds the scripts, word by word, against golden files.
func TestScripts(t *testing.T) {
	for _, f := range scripts(Plan{Previous: "1.0.0"}.steps(), example()) {
		golden := filepath.Join("testdata", f.Name)
		if *update {
			if err := os.WriteFile(golden, f.Data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if string(f.Data) != string(want) {
			t.Errorf("%s is\n%s\nwant\n%s", f.Name, f.Data, want)
		}
	}
}

func TestScriptsShellcheck(t *testing.T) {
	if testing.Short() {
		t.Skip("needs shellcheck")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := debian.Install(ctx, "shellcheck"); errors.Is(err, debian.ErrUnsupported) && os.Getenv("CI") != "true" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	check := func(shell, name string, data []byte) {
		// What is quoted is meant for another shell.
		cmd := exec.Command("shellcheck", "--shell="+shell, "--exclude=SC2016", "-")
		cmd.Stdin = strings.NewReader(string(data))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	for _, f := range scripts(Plan{Previous: "1.0.0"}.steps(), example()) {
		if f.Name != "critical" {
			check("sh", f.Name, f.Data)
		}
	}
	check("bash", "watch", []byte(watch))
	check("bash", "ask", []byte(askSites))
	check("bash", "compare versions", []byte(compareVersions))
	check("sh", "inspect.sh", []byte("# shellcheck disable=SC2012\n"+inspectScript))
	check("sh", "collect", []byte(collect))
	check("sh", "unlock", []byte(unlock))
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
