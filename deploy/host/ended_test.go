//go:build unix

package host

import (
	"archive/tar"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
)

// TestReceiverEnded: nothing of an archive stays on the host where its receiver
// is ended by a signal, whichever shell it has.
func TestReceiverEnded(t *testing.T) {
	debiantest.Install(t, "dash", "busybox")
	// Who runs the tests may ignore some of them, and what is started would as well.
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP, syscall.SIGINT)
	defer signal.Stop(heard)
	for name, shell := range map[string][]string{"dash": {"dash"}, "busybox": {"busybox", "sh"}} {
		for _, ends := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
			t.Run(name+" "+ends.String(), func(t *testing.T) {
				part := filepath.Join(t.TempDir(), "part")
				argv := append(shell[1:], script(receiveTreeScript, part, part+".whole")[1:]...)
				cmd := exec.Command(shell[0], argv...)
				cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
				archive, err := cmd.StdinPipe()
				if err != nil {
					t.Fatal(err)
				}
				defer archive.Close()
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				// The archive ends in the middle of a file, so that it is being unpacked.
				files := tar.NewWriter(archive)
				if err := files.WriteHeader(&tar.Header{Name: "file", Mode: 0o600, Size: 1 << 20}); err != nil {
					t.Fatal(err)
				}
				if _, err := files.Write(make([]byte, 1<<16)); err != nil {
					t.Fatal(err)
				}
				for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
					if _, err := os.Stat(filepath.Join(part, "file")); err == nil {
						break
					}
					if time.Now().After(deadline) {
						t.Fatal("it does not begin")
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
				if _, err := os.Stat(part); err == nil {
					t.Error("a part is left")
				}
			})
		}
	}
}
