package emulation

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
)

// TestEnable runs a program for another processor where there is nothing but
// that program, as in a container.
func TestEnable(t *testing.T) {
	if testing.Short() {
		t.Skip("installs QEMU")
	}
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	program := build(t, other)
	before := binfmtMounts(t)

	undo := enable(t, other)
	second := enable(t, other)
	if out, err := inEmptyRoot(program).Output(); err != nil || string(out) != other {
		t.Errorf("printed %q, %v; want %q", out, err, other)
	}
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	if out, err := inEmptyRoot(program).Output(); err != nil || string(out) != other {
		t.Errorf("when one of two users has left it printed %q, %v; want %q", out, err, other)
	}
	if err := second(); err != nil {
		t.Fatal(err)
	}
	if err := inEmptyRoot(program).Run(); !errors.Is(err, syscall.ENOEXEC) && !emulated(t) {
		t.Errorf("afterwards it ended with %v, want %v", err, syscall.ENOEXEC)
	}
	if now := binfmtMounts(t); now != before {
		t.Errorf("mounted now:\n%s\nand before:\n%s", now, before)
	}
}

func TestEnableItsOwn(t *testing.T) {
	undo, err := Enable(t.Context(), runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	if err := undo(); err != nil {
		t.Error(err)
	}
}

func TestEnableUnknown(t *testing.T) {
	if _, err := Enable(t.Context(), "z80"); err == nil || err.Error() != "emulate z80: no image is for it" {
		t.Errorf("error %v", err)
	}
}

func enable(t *testing.T, architecture string) func() error {
	t.Helper()
	undo, err := Enable(t.Context(), architecture)
	debiantest.Require(t, err)
	return undo
}

// build compiles a program that prints what it was compiled for.
func build(t *testing.T, architecture string) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	text := "package main\n\nimport (\n\t\"os\"\n\t\"runtime\"\n)\n\nfunc main() { os.Stdout.WriteString(runtime.GOARCH) }\n"
	if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "root", "program")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, source)
	cmd.Env = append(os.Environ(), "GOARCH="+architecture, "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

func inEmptyRoot(program string) *exec.Cmd {
	cmd := exec.Command("/" + filepath.Base(program))
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: filepath.Dir(program)}
	return cmd
}

// binfmtMounts is where the kernel's list is mounted for all to see.
func binfmtMounts(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	found := ""
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, " binfmt_misc ") {
			found += line
		}
	}
	return found
}

// emulated reports whether another process, or the machine, has QEMU run programs
// just now.
func emulated(t *testing.T) bool {
	t.Helper()
	kernel, err := openKernel()
	if err != nil {
		t.Fatal(err)
	}
	defer kernel.Close()
	entries, err := fs.ReadDir(kernel.FS(), ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ours) || strings.HasPrefix(entry.Name(), "qemu-") {
			return true
		}
	}
	return false
}
