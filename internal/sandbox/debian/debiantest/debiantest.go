// Package debiantest gives tests the programs that they need of this machine.
package debiantest

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian"
)

// Require ends a test where there is an error. Where this machine can't have
// what the test needs the test is skipped, except in CI: there it fails.
func Require(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, debian.ErrUnsupported) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Install makes sure of Debian packages. A short test does without and is
// skipped.
func Install(t testing.TB, packages ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs " + strings.Join(packages, ", "))
	}
	Require(t, debian.Install(t.Context(), packages...))
}

// Shellcheck checks a script. Arguments choose the shell and what is left out.
func Shellcheck(t testing.TB, script string, arguments ...string) {
	t.Helper()
	Install(t, "shellcheck")
	cmd := exec.CommandContext(t.Context(), "shellcheck", append(arguments, "-")...)
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("shellcheck: %v\n%s", err, out)
	}
}
