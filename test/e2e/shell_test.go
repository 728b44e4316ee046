package e2e

import (
	"strings"
	"testing"
)

func (u *user) shellPiped(t *testing.T) {
	code, out, errs := u.piped("cd sites && cat apps.txt\ntest -t 0 || echo no terminal\nexit 5\n", "shell")
	if code != 5 || !strings.Contains(out, "erpnext\n") || !strings.HasSuffix(out, "no terminal\n") {
		t.Errorf("exit %d, printed %q\n%s", code, out, errs)
	}
}
