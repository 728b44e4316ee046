package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// What is filled in is read back as it was, whatever is in it.
func TestFilledEnv(t *testing.T) {
	values := map[string]string{"SITE_NAME": "erp.example.com", "ADMIN_PASSWORD": `it's $5 #1 "now"`, "DEPLOY_SSH_KEY": "-----BEGIN\nkey\n", "ACME_PAT": ""}
	secrets := map[string]secret.Secret{}
	for name, value := range values {
		secrets[name] = secret.New(value)
	}
	text, err := FilledEnv(secrets)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c, report := Load(Sources{EnvFile: file}, 0, []string{"ACME_PAT"})
	if len(report) > 0 {
		t.Error(report.Err())
	}
	for name, want := range values {
		if got, _ := c.Secret(name); got.Reveal() != want {
			t.Errorf("%s is read back as %q, want %q", name, got.Reveal(), want)
		}
	}
	for _, k := range Schema() {
		if n := strings.Count("\n"+string(text), "\n"+k.Name+"=") + strings.Count("\n"+string(text), "\n# "+k.Name+"="); n != 1 {
			t.Errorf("%s stands there %d times", k.Name, n)
		}
	}
	if strings.Contains(string(text), "desiredeffect/erpnext-custom") {
		t.Error("it has the company's own values")
	}
	if !strings.HasSuffix(string(text), "\nACME_PAT=\n") {
		t.Error("a token to fill in is not its last line")
	}
	if _, err := FilledEnv(map[string]secret.Secret{"ADMIN_PASSWORD": secret.New("a\rb\\'")}); err != nil && strings.Contains(err.Error(), "a\rb") {
		t.Errorf("the error shows the value: %v", err)
	}
}
