//go:build unix

package setup

import (
	"bytes"
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
)

// here is this machine as a host.
type here struct{}

func (here) Run(ctx context.Context, argv []string, o host.Options) (host.Result, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = o.Stdin, &stdout, &stderr
	if o.Stdout != nil {
		cmd.Stdout = o.Stdout
	}
	if o.Stderr != nil {
		cmd.Stderr = io.MultiWriter(&stderr, o.Stderr)
	}
	err := cmd.Run()
	result := host.Result{Stdout: stdout.String(), Stderr: stderr.String()}
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		err = &host.RunError{Command: host.Quote(argv), Exit: ended.ExitCode(), Stderr: stderr.String()}
	}
	return result, err
}

// TestLook: a look at this machine finds a system, and the same twice.
func TestLook(t *testing.T) {
	if testing.Short() {
		t.Skip("runs processes")
	}
	f, err := look(t.Context(), root{Host: here{}}, wanted, 22)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"id", "architecture", "memory", "root-free", "folder"} {
		if !f.is(name) {
			t.Errorf("%s is not known: %v", name, f.values)
		}
	}
	if _, _, report, err := connected(t.Context(), here{}); err != nil {
		t.Error(err, report)
	}
}

// TestKeyOfRepository: one key alone is taken, that with the fingerprint.
func TestKeyOfRepository(t *testing.T) {
	made := func() (*openpgp.Entity, string) {
		key, err := openpgp.NewEntity("packages", "", "packages@example.com", &packet.Config{DefaultHash: crypto.SHA256, Algorithm: packet.PubKeyAlgoEdDSA})
		if err != nil {
			t.Fatal(err)
		}
		return key, hex.EncodeToString(key.PrimaryKey.Fingerprint)
	}
	text := func(armored bool, keys ...*openpgp.Entity) string {
		var out bytes.Buffer
		var to io.Writer = &out
		if armored {
			writer, err := armor.Encode(&out, openpgp.PublicKeyType, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = writer.Close() }()
			to = writer
		}
		for _, key := range keys {
			if err := key.Serialize(to); err != nil {
				t.Fatal(err)
			}
		}
		if closer, ok := to.(io.Closer); ok {
			_ = closer.Close()
		}
		return out.String()
	}
	one, fingerprint := made()
	other, _ := made()
	for _, c := range []struct{ name, text, fingerprint, want string }{
		{"armored", text(true, one), fingerprint, ""},
		{"another block behind it", text(true, one) + "\n" + text(true, other), fingerprint, ""},
		{"as bytes, and a fingerprint with blanks", text(false, one), strings.ToUpper(fingerprint[:20] + " " + fingerprint[20:]), ""},
		{"another", text(true, other), fingerprint, "and " + strings.ToUpper(fingerprint) + " is expected"},
		{"one beside another", text(true, one, other), fingerprint, "it has 2 keys"},
		{"a page", "<html>not found</html>", fingerprint, "read it"},
		{"nothing", "", fingerprint, "it has 0 keys"},
	} {
		written, err := checkKey(c.text, c.fingerprint)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if err == nil && written != text(true, one)+"\n" {
			t.Errorf("%s is written as\n%s", c.name, written)
		}
	}
}

// TestSwapFile: the file system table names a file once, and a file that is there is
// left alone. Whether the kernel swaps to it is not tried: this machine is no host.
func TestSwapFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "swapfile")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := root{Host: here{}}
	if _, err := r.do(t.Context(), "swap", "", file, "1", filepath.Join(dir, "fstab")); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("a file that is there: %v", err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file was touched: %q %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "fstab")); err == nil {
		t.Error("the table names it")
	}
}
