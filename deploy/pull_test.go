//go:build unix

package deploy

import (
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
