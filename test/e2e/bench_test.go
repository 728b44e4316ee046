package e2e

import (
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
)

// bench runs a bench command with an input.
func (u *user) bench(input string, args ...string) (code int, stdout, stderr string) {
	u.t.Helper()
	return u.piped(input, append([]string{"bench", "--"}, args...)...)
}

func (u *user) benchCommands(t *testing.T) {
	if code, out, errs := u.bench("", "version"); code != 0 || !strings.Contains(out, "erpnext 15.1.0\n") {
		t.Errorf("exit %d, printed %q\n%s", code, out, errs)
	}
	code, out, errs := u.bench("", "--site", sandbox.Site, "execute", "sys.exit", "--args", "(7,)")
	if code != 7 || out != "" || strings.Contains(errs, "✗") {
		t.Errorf("exit %d, want the command's 7; printed %q\n%s", code, out, errs)
	}
	if code, out, errs := u.bench("it's piped\n", "--site", sandbox.Site, "execute", "builtins.input"); code != 0 || !strings.Contains(out, `"it's piped"`) {
		t.Errorf("exit %d, printed %q\n%s", code, out, errs)
	}
	if code, _, errs := u.bench("", "no-such-verb"); code == 0 || !strings.Contains(errs, "no-such-verb") {
		t.Errorf("exit %d\n%s", code, errs)
	}
}

func (u *user) secondContainer(t *testing.T) {
	u.onHost("sh", "-c", `cd "$HOME/demo/current" && set -- && while read -r f; do set -- "$@" -f "$f"; done <compose-files &&
		docker compose -p demo "$@" up --detach --no-deps --no-recreate --pull never --scale backend=2 backend 2>&1 && docker pause demo-backend-1`)
	defer u.onHost("sh", "-c", "docker unpause demo-backend-1 && docker rm --force demo-backend-2")
	if code, out, errs := u.bench("", "version"); code != 0 || !strings.Contains(out, "erpnext 15.1.0\n") {
		t.Errorf("exit %d, printed %q\n%s", code, out, errs)
	}
}
