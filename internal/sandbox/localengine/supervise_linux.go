package localengine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian"
)

// supported returns debian.ErrUnsupported where an engine can't run.
func supported() error {
	if os.Geteuid() != 0 {
		return debian.ErrUnsupported
	}
	return nil
}

// supervise starts the supervisor, with the lock that says "running".
func (e *Engine) supervise(running *fileLock) error {
	// A socket of one that was killed would look like an engine.
	if err := os.Remove(e.socket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old socket: %w", err)
	}
	log, err := os.Create(e.LogFile())
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(e.commands.supervisor,
		"-root", e.dir,
		"-tools", e.commands.engineDir,
		"-mirror", e.commands.mirror,
		"-listen", strings.Replace(e.state.Mirror, "localhost", "127.0.0.1", 1),
		"-network", e.state.Network,
		"-cidr", e.state.CIDR,
	)
	cmd.Dir = "/"
	cmd.Env = engineEnvironment(os.Environ())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{running.file} // descriptor 3
	cmd.SysProcAttr = &syscall.SysProcAttr{
		// An interrupt on the terminal is not for the engine: its users
		// get it, and their end is the engine's.
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	go func() { _ = cmd.Wait() }() // its result is in the log
	return nil
}
