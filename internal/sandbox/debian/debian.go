// Package debian installs what the sandbox needs from the machine's own
// Debian archive.
package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// ErrUnsupported says that this machine can't be provided with what the sandbox
// needs: it is not Debian, or the user is not root. Tests skip on it, except in
// CI.
var ErrUnsupported = errors.New("needs Debian and root: elsewhere, use a virtual machine with Debian")

// installing lets one installation run at a time in this process; between
// processes apt's own lock is waited for.
var installing sync.Mutex

// Install makes sure that the named packages are installed. It does nothing,
// quickly, when they are.
func Install(ctx context.Context, names ...string) error {
	missing, err := missing(ctx, names)
	if err != nil || len(missing) == 0 {
		return err
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("install %s: %w", strings.Join(missing, ", "), ErrUnsupported)
	}
	installing.Lock()
	defer installing.Unlock()
	install := append([]string{"install", "--yes", "--no-install-recommends"}, missing...)
	if err := apt(ctx, install...); err == nil {
		return nil
	}
	// A fresh machine has no package lists, and old ones name files that are
	// gone.
	if err := apt(ctx, "update"); err != nil {
		return err
	}
	return apt(ctx, install...)
}

// missing returns those of the packages that dpkg does not know as installed.
func missing(ctx context.Context, names []string) ([]string, error) {
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		return nil, fmt.Errorf("install %s: %w", strings.Join(names, ", "), ErrUnsupported)
	}
	var absent []string
	for _, name := range names {
		out, err := exec.CommandContext(ctx, "dpkg-query", "--show", "--showformat=${db:Status-Status}", name).Output()
		if err != nil || string(out) != "installed" {
			absent = append(absent, name)
		}
	}
	return absent, ctx.Err()
}

// Fetch puts a package, as apt would install it here, into a folder.
func Fetch(ctx context.Context, dir, name string) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("fetch %s: %w", name, ErrUnsupported)
	}
	if err := aptIn(ctx, dir, "download", name); err == nil {
		return nil
	}
	if err := apt(ctx, "update"); err != nil {
		return err
	}
	return aptIn(ctx, dir, "download", name)
}

func apt(ctx context.Context, args ...string) error { return aptIn(ctx, "", args...) }

// aptIn runs apt-get in a folder, empty for any.
func aptIn(ctx context.Context, dir string, args ...string) error {
	args = append([]string{"-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"}, args...)
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Dir = dir
	// Services must not start by themselves on a developer's machine:
	// policy-rc.d is the Debian way to say so, and RUNLEVEL the way that
	// needs no file.
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", args[len(args)-1], err, tail(out.String(), 12))
	}
	return nil
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
