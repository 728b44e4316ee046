package archtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// actionFile is the action that gives workflows the program.
const actionFile = "action.yml"

// actionStep is a step of the action.
type actionStep struct {
	Name, If, Uses, Shell, Run string
	Env, With                  map[string]string
}

// actionSteps returns the steps of the action by their names.
func actionSteps(t *testing.T) map[string]actionStep {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, actionFile))
	if err != nil {
		t.Fatal(err)
	}
	var action struct {
		Runs struct {
			Using string
			Steps []actionStep
		}
	}
	if err := yaml.Unmarshal(data, &action); err != nil {
		t.Fatal(err)
	}
	if action.Runs.Using != "composite" || len(action.Runs.Steps) == 0 {
		t.Fatalf("%s: uses %q and has %d steps", actionFile, action.Runs.Using, len(action.Runs.Steps))
	}
	steps := map[string]actionStep{}
	for _, step := range action.Runs.Steps {
		steps[step.Name] = step
	}
	return steps
}

func TestActionScriptsHaveNoExpressions(t *testing.T) {
	for name, step := range actionSteps(t) {
		if strings.Contains(step.Run, "${{") {
			t.Errorf("%s: %s: an expression in a script: hand it over in env", actionFile, name)
		}
		if (step.Run == "") == (step.Uses == "") || step.Run != "" && step.Shell != "bash" {
			t.Errorf("%s: %s: want an action, or a script for bash", actionFile, name)
		}
		for key, value := range step.Env {
			if secret(value) {
				t.Errorf("%s: %s: a secret in %s", actionFile, name, key)
			}
		}
	}
}

// runAction runs a script of the action as the runner does, and returns what it
// printed.
func runAction(t *testing.T, step string, env ...string) (string, error) {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip(err)
	}
	// As the runner starts it.
	cmd := exec.CommandContext(t.Context(), bash, "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", actionSteps(t)[step].Run)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestActionChoosesVersion(t *testing.T) {
	for _, test := range []struct{ version, ref, want string }{
		{"", "v1.2.3", "v1.2.3"},
		{"", "", ""},
		{"", "main", ""},
		{"", "0123456789012345678901234567890123456789", ""},
		{"v1.2.3", "0123456789012345678901234567890123456789", "v1.2.3"},
		{"v1.2.3-rc.1", "main", "v1.2.3-rc.1"},
		{"desiredeffect/erpnext-pipeline/.github/workflows/deploy.yml@refs/tags/v1.2.3", "", "v1.2.3"},
		{"acme/erp/.github/workflows/deploy.yml@refs/tags/site-v1.2.3", "", ""},
		// What is asked for comes before what the action is called at.
		{"desiredeffect/erpnext-pipeline/.github/workflows/deploy.yml@refs/heads/main", "v1.2.3", ""},
		{"v1.2.3; id", "v1.0.0", ""},
		{"v1", "", ""},
	} {
		t.Run(test.version+" at "+test.ref, func(t *testing.T) {
			output := filepath.Join(t.TempDir(), "output")
			out, err := runAction(t, "Choose the version", "VERSION="+test.version, "ACTION_REF="+test.ref, "GITHUB_OUTPUT="+output)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			got, err := os.ReadFile(output)
			if err != nil {
				t.Fatal(err)
			}
			if want := "version=" + test.want + "\n"; string(got) != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// archive returns a release's archive with a program in it.
func archive(t *testing.T, program string) []byte {
	t.Helper()
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	files := tar.NewWriter(zipped)
	if err := files.WriteHeader(&tar.Header{Name: "pipeline", Mode: 0o755, Size: int64(len(program))}); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Write([]byte(program)); err != nil {
		t.Fatal(err)
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// The names of files are those that .goreleaser.yaml gives them.
func TestActionTakesRelease(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the archive of Linux is taken")
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip(err)
	}
	const file = "pipeline_1.2.3_linux_amd64.tar.gz"
	good := archive(t, "#!/bin/sh\necho released\n")
	sum := fmt.Sprintf("%x  %s\n", sha256.Sum256(good), file)
	served, fetched := map[string][]byte{}, map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/releases/download/v1.2.3/")
		fetched[name]++
		if data, there := served[name]; there {
			_, _ = w.Write(data)
			return
		}
		http.NotFound(w, r)
	}))
	defer server.Close()
	temp := t.TempDir()
	take := func() (string, error) {
		return runAction(t, "Take the release", "VERSION=v1.2.3", "REPOSITORY="+server.URL, "RUNNER_OS=Linux", "RUNNER_ARCH=X64",
			"RUNNER_TEMP="+temp, "GITHUB_PATH="+filepath.Join(temp, "path"))
	}

	if out, err := take(); err == nil || !strings.Contains(out, "has no release v1.2.3 with checksums") {
		t.Errorf("without a release: %v\n%s", err, out)
	}
	served["checksums.txt"] = []byte("0000  pipeline_1.2.3_windows_amd64.zip\n")
	if out, err := take(); err == nil || !strings.Contains(out, "do not name "+file) {
		t.Errorf("without the archive: %v\n%s", err, out)
	}
	served["checksums.txt"], served[file] = []byte("0000  other\n"+sum), archive(t, "#!/bin/sh\necho another\n")
	if out, err := take(); err == nil || !strings.Contains(out, "has not the checksum") {
		t.Errorf("another archive: %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(temp, "erpnext-pipeline", "pipeline")); !os.IsNotExist(err) {
		t.Errorf("another archive was unpacked: %v", err)
	}
	served[file] = good
	for range 2 {
		if out, err := take(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if got := fetched[file]; got != 2 {
		t.Errorf("the archive was fetched %d times, want once with the wrong checksum and once with the right one", got)
	}
	// What is kept between runs may have been changed.
	if err := os.WriteFile(filepath.Join(temp, "erpnext-pipeline-download", file), served[file][:100], 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := take(); err != nil || fetched[file] != 3 {
		t.Errorf("a kept archive that was changed: %v, fetched %d times\n%s", err, fetched[file], out)
	}
	path, err := os.ReadFile(filepath.Join(temp, "path"))
	if err != nil {
		t.Fatal(err)
	}
	folder, _, _ := strings.Cut(string(path), "\n")
	out, err := exec.CommandContext(t.Context(), filepath.Join(folder, "pipeline")).Output()
	if err != nil || string(out) != "released\n" {
		t.Errorf("in PATH is %v %q", err, out)
	}
}

// deploy.yml has the program from the commit that it is itself from, also where
// another repository calls it.
func TestDeployGetsItsOwnProgram(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(workflowDir, deployWorkflow))
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		Jobs map[string]struct{ Steps []actionStep }
	}
	if err := yaml.Unmarshal(data, &workflow); err != nil {
		t.Fatal(err)
	}
	steps := map[string]actionStep{}
	for _, step := range workflow.Jobs["deploy"].Steps {
		steps[step.Name] = step
	}
	checkout := steps["Check out the program"].With
	for key, want := range map[string]string{"repository": "${{ job.workflow_repository }}", "ref": "${{ job.workflow_sha }}", "path": strings.TrimPrefix(ownAction, "./")} {
		if checkout[key] != want {
			t.Errorf("the program is checked out with %s %q, want %q", key, checkout[key], want)
		}
	}
	if get := steps["Get the program"]; get.Uses != ownAction || get.With["version"] != "${{ job.workflow_ref }}" {
		t.Errorf("the program is from %s %v", get.Uses, get.With)
	}
}
