package config

import (
	"encoding/pem"
	"os"
	"strings"
	"testing"
)

func TestSigningKey(t *testing.T) {
	const encrypted = "ENCRYPTED SIGSTORE PRIVATE KEY"
	legacy := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("x"), Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}}))
	for _, c := range []struct {
		name, key, password string
		want                string // what follows the name of the key
	}{
		{"cosign's", pemOf(encrypted), "pw", ""},
		{"an older one of cosign's", pemOf("ENCRYPTED COSIGN PRIVATE KEY"), "pw", ""},
		{"an open one", pemOf("PRIVATE KEY"), "", ""},
		{"an open one of openssl's", pemOf("EC PRIVATE KEY"), "", ""},
		{"an open one and a password", pemOf("PRIVATE KEY"), "pw", ""},
		{"Windows line ends", strings.ReplaceAll(pemOf(encrypted), "\n", "\r\n"), "pw", ""},
		{"no password", pemOf(encrypted), "", "is encrypted, and SIGNING_KEY_PASSWORD is not set | set SIGNING_KEY_PASSWORD"},
		{"a public key", pemOf("PUBLIC KEY"), "pw", "is not a private key | give the private key, cosign.key; cosign generate-key-pair makes one"},
		{"without its line breaks", strings.ReplaceAll(pemOf(encrypted), "\n", " "), "pw", "can't be parsed as a private key | give the whole text of the key, with its first and last line and its line breaks"},
		{"one of SSH", pemOf("OPENSSH PRIVATE KEY"), "", "is neither a key of cosign's nor an open one in PKCS #8 or SEC 1 | make a key with cosign generate-key-pair"},
		{"one that openssl encrypted", legacy, "pw", "is neither a key of cosign's nor an open one in PKCS #8 or SEC 1 | make a key with cosign generate-key-pair"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, from := range []struct{ set, which string }{
				{"SIGNING_KEY=" + c.key, "SIGNING_KEY "},
				{"SIGNING_KEY_FILE=~/cosign.key", "SIGNING_KEY_FILE names DIR/cosign.key, which "},
			} {
				w := newWorld(t)
				w.environ = append(w.environ, "DE_SITE_VERSION=1", "IMAGE_NAME=acme/erpnext", "SIGNING_KEY_PASSWORD="+c.password, from.set)
				w.write("cosign.key", c.key)
				config, report := w.load(Push)
				want := ""
				if detail, remedy, ok := strings.Cut(c.want, " | "); ok {
					want = "✗ environment: " + from.which + detail + "\n  fix: " + remedy + "\n"
				}
				if got := strings.ReplaceAll(rendered(t, report), w.dir, "DIR"); got != want {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
				if got := config.SigningKey; got.PEM.Reveal() != c.key || got.Password.Reveal() != c.password {
					t.Errorf("the key is %q, want %q; the password %q, want %q", got.PEM.Reveal(), c.key, got.Password.Reveal(), c.password)
				}
				// Who only builds needs no key.
				if _, report := w.load(Build); len(report) > 0 {
					t.Errorf("to build, there are problems:\n%s", rendered(t, report))
				}
			}
		})
	}
}

func TestSigningKeyFile(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*world)
		file   string
		want   string
	}{
		{"there", nil, "cosign.key", ""},
		{"no such file", nil, "none.key", "✗ environment: SIGNING_KEY_FILE names none.key: no such file or directory\n  fix: correct the path, or make the key with cosign generate-key-pair\n"},
		{"a folder", nil, "deploy", "✗ environment: SIGNING_KEY_FILE names deploy, which is not a file\n  fix: name the private key itself\n"},
		{"for all to read", func(w *world) { _ = os.Chmod(w.path("cosign.key"), 0o640) }, "cosign.key",
			"✗ environment: SIGNING_KEY_FILE names cosign.key, which others can get at (mode 0640)\n  fix: chmod 600 cosign.key\n"},
		{"two keys", func(w *world) { w.environ = append(w.environ, "SIGNING_KEY="+pemOf("PRIVATE KEY")) }, "cosign.key",
			"✗ environment: SIGNING_KEY and SIGNING_KEY_FILE are both set\n  fix: keep one of them\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.environ = append(w.environ, "DE_SITE_VERSION=1", "IMAGE_NAME=acme/erpnext", "SIGNING_KEY_FILE="+c.file)
			w.write("cosign.key", pemOf("PRIVATE KEY"))
			if c.change != nil {
				c.change(w)
			}
			_, report := w.load(Push)
			if got := rendered(t, report); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}
