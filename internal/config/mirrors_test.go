package config

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// certificate makes a CA that is valid for so long from now on, in PEM.
func certificate(t testing.TB, name string, valid time.Duration) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{"Acme"}},
		NotBefore: time.Now().Add(-1000 * time.Hour), NotAfter: time.Now().Add(valid), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// pemOf returns a PEM block of a type, with nothing that has a meaning in it.
func pemOf(blockType string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: []byte("something in place of a real key")}))
}

func TestExtraCAFile(t *testing.T) {
	one, two, old := certificate(t, "One", time.Hour), certificate(t, "Two", time.Hour), certificate(t, "Old", -time.Hour)
	expired := time.Now().Add(-time.Hour).UTC().Format(time.DateOnly)
	for _, c := range []struct {
		name, text string
		certs      string
		want       string // what follows the name of the file
	}{
		{"one", one, one, ""},
		{"two with words between them", "One:\n" + one + "\nTwo:\r\n" + two, one + two, ""},
		{"Windows line ends", strings.ReplaceAll(one, "\n", "\r\n"), one, ""},
		{"other blocks beside them", pemOf("X509 CRL") + one, one, ""},
		{"empty", "", "", "has no certificate in it | give it in PEM, beginning with -----BEGIN CERTIFICATE-----; openssl x509 -inform der makes that of a binary one"},
		{"with a private key", one + pemOf("EC PRIVATE KEY"), one, "has a private key in it | give a file with certificates alone; a private key has no business in a build"},
		{"cut off", one + two[:len(two)/2], one, "has certificates in it that can't be parsed: 1 of 2 | give each in PEM, with its first and last line and its line breaks"},
		{"no certificate within the lines", pemOf("CERTIFICATE"), "", "has certificates in it that can't be parsed: 1 of 1 | give each in PEM, with its first and last line and its line breaks"},
		{"expired", one + old, one + old, `has the certificate of "CN=Old,O=Acme" in it, which expired on ` + expired + " | put its successor in its place, or remove it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.environ = append(w.environ, "EXTRA_CA_FILE=company.pem", "DE_SITE_VERSION=1", "IMAGE_NAME=acme/erpnext")
			w.write("company.pem", c.text)
			w.write("ca/machine.crt", two)
			config, report := w.load(Build)
			want := ""
			if c.want != "" {
				detail, remedy, _ := strings.Cut(c.want, " | ")
				want = "✗ environment: EXTRA_CA_FILE names company.pem, which " + detail + "\n  fix: " + remedy + "\n"
			}
			if got := rendered(t, report); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if config.Image.Mirrors.CAs != c.certs {
				t.Errorf("the certificates are\n%s\nwant\n%s", config.Image.Mirrors.CAs, c.certs)
			}
			// Nothing else than a build needs the file.
			if config, report := w.load(Push); len(report) > 0 || config.Image.Mirrors.CAs != "" {
				t.Errorf("to push, there are problems or certificates:\n%s%s", rendered(t, report), config.Image.Mirrors.CAs)
			}
		})
	}
	t.Run("everything at once", func(t *testing.T) {
		w := newWorld(t)
		w.environ = append(w.environ, "EXTRA_CA_FILE=company.pem", "DE_SITE_VERSION=1", "IMAGE_NAME=acme/erpnext")
		w.write("company.pem", old+pemOf("PRIVATE KEY")+pemOf("CERTIFICATE"))
		if _, report := w.load(Build); len(report) != 3 {
			t.Errorf("want three problems, got:\n%s", rendered(t, report))
		}
	})
	for name, want := range map[string]string{
		"none.pem": "names none.pem: no such file or directory\n  fix: correct the path\n",
		"deploy":   "names deploy, which is not a file\n  fix: name the file itself\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.environ = append(w.environ, "EXTRA_CA_FILE="+name, "DE_SITE_VERSION=1", "IMAGE_NAME=acme/erpnext")
			_, report := w.load(Build)
			if got, want := rendered(t, report), "✗ environment: EXTRA_CA_FILE "+want; got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestMachineCAs(t *testing.T) {
	w := newWorld(t)
	w.environ = append(w.environ, "EXTRA_CA_FILE=", "DE_SITE_VERSION=1", "IMAGE_NAME=acme/erpnext")
	load := func() string {
		t.Helper()
		config, report := w.load(Build)
		if len(report) > 0 {
			t.Errorf("problems:\n%s", rendered(t, report))
		}
		return config.Image.Mirrors.CAs
	}
	if got := load(); got != "" {
		t.Errorf("without the folder there are certificates:\n%s", got)
	}
	one, two := certificate(t, "One", time.Hour), certificate(t, "Two", time.Hour)
	w.write("ca/b.crt", two+pemOf("PRIVATE KEY"))
	w.write("ca/a.crt", "# first\n"+one)
	w.write("ca/again.crt", one)
	w.write("ca/old.crt", certificate(t, "Old", -time.Hour))
	w.write("ca/binary.crt", "\x30\x82")
	w.write("ca/other.pem", certificate(t, "Other", time.Hour))
	if err := os.Symlink(w.path("gone"), w.path("ca/gone.crt")); err != nil {
		t.Fatal(err)
	}
	if got, want := load(), one+two; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := os.Mkdir(w.path("ca/c.crt"), 0o700); err != nil {
		t.Fatal(err)
	}
	config, report := w.load(Build)
	want := "✗ default: EXTRA_CA_FILE is not set, and of the machine's own CAs DIR/ca/c.crt can't be read: is a directory\n  fix: make that file readable, or set EXTRA_CA_FILE\n"
	if got := strings.ReplaceAll(rendered(t, report), w.dir, "DIR"); got != want || config.Image.Mirrors.CAs != one+two {
		t.Errorf("got\n%s\nwant\n%s\nand the other certificates, got\n%s", got, want, config.Image.Mirrors.CAs)
	}
}

// Tools take a URL apart before they print it, and what comes from a file is
// as secret as what comes from the environment.
func TestSecretsWithinValues(t *testing.T) {
	w := newWorld(t)
	w.environ = append(w.environ,
		"DE_SITE_VERSION=1", "IMAGE_NAME=acme/erpnext",
		"PYPI_INDEX_URL=https://bot:p%40ss-word@pypi.example.com/simple/", "NPM_REGISTRY_URL=https://npm-token@npm.example.com", "APT_MIRROR_URL=https://deb.example.com",
		"NPM_REGISTRIES=@acme=https://_authToken:npm_secret@npm.acme.example, https://bot:p%2Cword@npm.example.com/x/",
		"SIGNING_KEY_FILE=cosign.key", "RESTIC_REPOSITORY=rest:https://bot:restic-login@backup.example.com/", "RESTIC_PASSWORD=restic-pw",
	)
	w.write("cosign.key", pemOf("PRIVATE KEY"))
	config, report := w.load(Push)
	if len(report) > 0 {
		t.Fatalf("problems:\n%s", rendered(t, report))
	}
	var got []string
	for _, s := range config.Secrets() {
		got = append(got, s.Reveal())
	}
	want := []string{
		"https://deb.example.com", "@acme=https://_authToken:npm_secret@npm.acme.example, https://bot:p%2Cword@npm.example.com/x/", "https://npm-token@npm.example.com", "https://bot:p%40ss-word@pypi.example.com/simple/",
		"restic-pw", "rest:https://bot:restic-login@backup.example.com/", pemOf("PRIVATE KEY"), "restic-login", "https://bot:p%40ss-word@pypi.example.com/simple", "p@ss-word", "npm-token",
		"https://_authToken:npm_secret@npm.acme.example", "npm_secret", "https://bot:p%2Cword@npm.example.com/x", "p,word",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the secrets are\n%q\nwant\n%q", got, want)
	}
	for _, key := range []string{"PYPI_INDEX_URL", "NPM_REGISTRY_URL", "NPM_REGISTRIES", "APT_MIRROR_URL", "RESTIC_REPOSITORY"} {
		if text, ok := config.Lookup(key); ok {
			t.Errorf("%s may be printed: %s", key, text)
		}
	}
	if got := config.Image.Mirrors.Registries; len(got) != 2 || got[0].Scope != "@acme" || got[1].Scope != "" {
		t.Errorf("the registries are %v", got)
	}
}
