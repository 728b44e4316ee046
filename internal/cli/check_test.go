package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Everything that is wrong is in one report, each with its place and remedy,
// and nothing of a secret is.
func TestCheckReportsAllProblemsAtOnce(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		".env":      "DE_SITE_VERSION=\nIMAGE_NAME=acme/site\nDEPLOY_HOST=erp.example.com\nSITE_NMAE=erp\nHTTP_PORT=http\nDE_MACRS_PAT=ghp_0123456789abcdef\nCOMPOSE_FILES=missing.yaml\n",
		"apps.json": "[\n  {\"url\": \"https://github.com/frappe/frappe\", \"branch\": \"\"},\n  {\"url\": \"https://ghp_fedcba9876543210@github.com/acme/own\", \"branch\": \"main\"}\n]\n",
	} {
		if err := os.WriteFile(filepath.Join(".", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, out, errs := quietly(t, []string{"HOME=" + t.TempDir()}, "check", "--ref", "nonsense")
	if code != ExitUsage || out != "" {
		t.Errorf("exit %d, standard output %q", code, out)
	}
	for _, want := range []string{
		".env:1: DE_SITE_VERSION is empty",
		".env:4:", "SITE_NAME",
		".env:5: HTTP_PORT",
		"apps.json:2:",
		"apps.json:3:",
		"--ref nonsense: is not of the form app=ref",
		".env:7: COMPOSE_FILES names missing.yaml",
		"DEPLOY_USER",
	} {
		if !strings.Contains(errs, want) {
			t.Errorf("%q is not in\n%s", want, errs)
		}
	}
	if problems, remedies := strings.Count(errs, "✗ "), strings.Count(errs, "  fix: "); problems == 0 || problems != remedies {
		t.Errorf("%d problems, %d remedies:\n%s", problems, remedies, errs)
	}
	for _, value := range []string{"ghp_0123456789abcdef", "ghp_fedcba9876543210"} {
		if strings.Contains(errs, value) {
			t.Errorf("a token is in\n%s", errs)
		}
	}
}

func TestInActions(t *testing.T) {
	t.Chdir(t.TempDir())
	_, _, errs := quietly(t, []string{"GITHUB_ACTIONS=true", "HOME=" + t.TempDir()}, "check", "--env-file", "")
	if !strings.Contains(errs, "::error::") || strings.Contains(errs, "copy de-example.env") {
		t.Errorf("printed\n%s", errs)
	}
}
