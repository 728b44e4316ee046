//go:build unix

package deploy

import (
	"os"
	"os/exec"
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
	for name, shell := range map[string][]string{"dash": {"dash"}, "busybox": {"busybox", "sh"}} {
		for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
			t.Run(name+" "+signal.String(), func(t *testing.T) {
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
				if err := syscall.Kill(-cmd.Process.Pid, signal); err != nil {
					t.Fatal(err)
				}
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
