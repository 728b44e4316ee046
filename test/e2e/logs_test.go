package e2e

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
)

func (u *user) logs(t *testing.T) {
	code, out, errs := u.run("logs", "frontend", "backend", "--tail", "1")
	if code != 0 || strings.Count(out, "\n") != 2 || !strings.Contains(out, "frontend-1") || !strings.Contains(out, "backend-1") {
		t.Errorf("exit %d, printed %q\n%s", code, out, errs)
	}
	if code, out, _ := u.run("logs", "backend", "--since", "2999-01-01T00:00:00Z"); code != 0 || out != "" {
		t.Errorf("from the future: exit %d, printed %q", code, out)
	}
	code, out, errs = u.run("logs", "bakcend")
	if code != cli.ExitUsage || out != "" || !strings.Contains(errs, "write backend; there are backend, configurator") {
		t.Errorf("exit %d, printed %q\n%s", code, out, errs)
	}
}

func (u *user) logsFollow(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	out := &until{text: "/login?seen-in-the-log", do: stop}
	var errs bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- u.started(ctx, strings.NewReader(""), out, &errs, "logs", "frontend", "--follow", "--tail", "0")
	}()
	for waiting := true; waiting; {
		select {
		case code := <-ended:
			waiting = false
			if code != cli.ExitInterrupted || strings.Contains(errs.String(), "✗") {
				t.Errorf("exit %d\n%s", code, errs.String())
			}
		case <-time.After(200 * time.Millisecond):
			u.get(out.text)
		}
	}
	if !out.found {
		t.Errorf("the request is not in the log:\n%s", out.Buffer.String())
	}
}

// until is a writer that does something once a text came by.
type until struct {
	bytes.Buffer
	text  string
	do    func()
	found bool
}

func (u *until) Write(p []byte) (int, error) {
	n, err := u.Buffer.Write(p)
	if !u.found && strings.Contains(u.Buffer.String(), u.text) {
		u.found = true
		u.do()
	}
	return n, err
}
