package apps_test

import (
	"encoding/json"
	"errors"
	"os/exec"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
)

// gitRefs are names at the edges of git's rules.
var gitRefs = []string{
	"v1", "a/b/c", "a@b", "@a", "@", "a@", "a@{", "a{b", "a}", "$a", "a.b", "a.", ".a", "a/.b", "a./b", "a..b", "a.lock", "a.lock.b", "a.lock/b", "lock", "a.Lock",
	"/a", "a/", "a//b", "a b", "a\tb", "a\nb", "a\x7fb", "a\u00a0b", "a~b", "a^b", "a:b", "a?b", "a*b", "a[b", "a]b", `a\b`, "ü", "世界", "a#b", "a%b", "a&b", "a'b", `a"b`, "a|b", "a;b", "a!b", "(a)", "a,b", "=a", "+a",
}

func gitTakes(t *testing.T, ref string) bool {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		debiantest.Require(t, debian.Install(t.Context(), "git"))
	}
	// --branch refuses a leading dash as well. It takes a lone @, which is
	// short for HEAD and names no branch.
	err := exec.CommandContext(t.Context(), "git", "check-ref-format", "--branch", ref).Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return err == nil && ref != "@"
}

func jsonText(t *testing.T, s string) string {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
