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

// engineEnvironment is what the engine gets of the environment: what it needs
// to reach the network, and none of the secrets that a pipeline's environment
// has. It outlives the process that starts it.
func engineEnvironment(environ []string) []string {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root",
		"DO_NOT_TRACK=1",
	}
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		switch strings.ToUpper(name) {
		case "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR":
			env = append(env, variable)
		}
	}
	return env
}
