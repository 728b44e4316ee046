//go:build unix

package deploy

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
)

// TestPullEnded: no login stays on the host where the pull is ended by a signal,
// whichever shell it has.
func TestPullEnded(t *testing.T) {
	short(t)
	debiantest.Install(t, "dash", "busybox")
	// Who runs the tests may ignore some of them, and what is started would as well.
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP, syscall.SIGINT)
	defer signal.Stop(heard)
	for name, shell := range map[string][]string{"dash": {"dash"}, "busybox": {"busybox", "sh"}} {
		for _, ends := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
			t.Run(name+" "+ends.String(), func(t *testing.T) {
				m := newMachine(t)
				m.when("wait", "pull --quiet", "touch \"$2/config.json\"; "+waits)
				temporary := t.TempDir()
				argv := append(shell[1:], script(pullScript, "image", "ann", "registry.example")[1:]...)
				cmd := exec.Command(shell[0], argv...)
				cmd.Env, cmd.Stdin = append(m.env(), "TMPDIR="+temporary), strings.NewReader("secret\n")
				cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				left := func() []string { files, _ := filepath.Glob(temporary + "/*/config.json"); return files }
				for deadline := time.Now().Add(20 * time.Second); len(left()) == 0; time.Sleep(10 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatal("it does not pull")
					}
				}
				if err := syscall.Kill(-cmd.Process.Pid, ends); err != nil {
					t.Fatal(err)
				}
				late := time.AfterFunc(20*time.Second, func() {
					t.Error("the signal does not end it")
					_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
				})
				defer late.Stop()
				if err := cmd.Wait(); err == nil {
					t.Error("it succeeded")
				}
				if entries, err := os.ReadDir(temporary); err != nil || len(entries) > 0 {
					t.Errorf("left behind: %v, %v", entries, err)
				}
			})
		}
	}
}

// TestPullAhead: what was brought ahead can be taken away, and what the host had before
// stays.
func TestPullAhead(t *testing.T) {
	short(t)
	const pull, remove = "pull --quiet registry.example/desired/erp@sha256:", "image rm registry.example/desired/erp@sha256:"
	for name, test := range map[string]struct {
		rule, do       string
		pulls, forgets bool
		fails          string
	}{
		"not there":      {"pull --quiet", "echo pulled", true, true, ""},
		"there already":  {"image inspect --format {{.Id}}", "echo sha256:ab; exit 0", false, false, ""},
		"can't be had":   {"pull --quiet", "echo no route to host >&2; exit 1", true, true, "no route to host"},
		"no longer ours": {"pull --quiet", "echo denied >&2; exit 1", true, true, "denied"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.when("rule", test.rule, test.do)
			d := Deployer{Dial: func(context.Context) (Host, error) { return m, nil }}
			forget, err := d.PullAhead(t.Context(), Plan{Target: m.target()}, testImage)
			if test.fails == "" && err != nil || test.fails != "" && (err == nil || !strings.Contains(err.Error(), test.fails)) {
				t.Errorf("got %v", err)
			}
			if (forget != nil) != test.forgets {
				t.Fatalf("can be forgotten: %v", forget != nil)
			}
			if forget != nil {
				forget(t.Context())
			}
			calls := strings.Join(m.calls(), "\n")
			if strings.Contains(calls, pull) != test.pulls || strings.Contains(calls, remove) != test.forgets {
				t.Errorf("docker was called with\n%s", calls)
			}
		})
	}
}
