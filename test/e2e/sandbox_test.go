package e2e

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"golang.org/x/crypto/ssh"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine/enginetest"
)

// A company tries its own release: its apps file with addresses at GitHub, its own
// compose file beside the project's, and a .env that names its host.
func TestOwnReleaseInSandbox(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a sandbox: an engine, a registry and a host")
	}
	enginetest.Start(t)
	u := withTurn(t)
	defer u.turn.done()
	dir := t.TempDir()
	t.Chdir(dir)
	if _, err := apps.Write(t.Context(), filepath.Join(dir, "repositories")); err != nil {
		t.Fatal(err)
	}
	list, err := apps.Version1().AppsJSON("https://github.com")
	if err != nil {
		t.Fatal(err)
	}
	own, err := compose.Own.ReadFile("compose-main.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"apps.json":    string(list),
		"main.yaml":    string(own),
		"company.yaml": "services:\n  backend:\n    environment:\n      COMPANY_MOTTO: ${COMPANY_MOTTO:?}\n",
		".env": "DE_MACRS_PAT=ghp_0123456789abcdefghij0123456789abcdef\nIMAGE_NAME=acme/erp\nDE_SITE_VERSION=7.8.9\nCOMPOSE_FILES=main.yaml,company.yaml\n" +
			"COMPANY_MOTTO='it''s $5'\nDB_HOST=db.acme.example\nS3_BUCKET=company-backups\nFRAPPE_PATH=https://github.com/frappe/frappe\nCOMPOSE_PROJECT_NAME=acme\nSITE_NAME=erp.acme.example\n" +
			"DEPLOY_HOST=erp.acme.example\nDEPLOY_USER=root\nREGISTRY=registry.acme.example\nADMIN_PASSWORD=company-administrator-9\nDB_ROOT_PASSWORD=company-database-9\n" +
			"RESTIC_REPOSITORY=s3:https://backup.acme.example/erp\nRESTIC_PASSWORD=company-backup-9\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "''", `\'`)), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	u.environ = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "DO_NOT_TRACK=1"}
	run := func(ctx context.Context, environ []string, args ...string) (int, string, string) {
		var out, errs syncedBuffer
		code := cli.Run(ctx, args, environ, strings.NewReader(""), io.MultiWriter(&out, u.printed), io.MultiWriter(&errs, u.printed))
		return code, out.String(), errs.String()
	}

	t.Run("what in the environment would lead elsewhere is refused", func(t *testing.T) {
		code, _, errs := run(t.Context(), append(u.environ, "DEPLOY_HOST=erp.acme.example"), "sandbox", "--repositories", "repositories")
		if code != cli.ExitUsage || !strings.Contains(errs, "✗ DEPLOY_HOST: is set in the environment") {
			t.Errorf("exit %d\n%s", code, errs)
		}
	})

	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	ended := make(chan int, 1)
	var stands syncedBuffer
	go func() {
		ended <- cli.Run(ctx, []string{"sandbox", "--repositories", "repositories", "--port", "8093", "--carry", "COMPANY_MOTTO"}, u.environ, strings.NewReader(""), &stands, u.printed)
	}()
	for !strings.Contains(stands.String(), "Ctrl-C") {
		select {
		case code := <-ended:
			t.Fatalf("the sandbox ended: exit %d\n%s", code, u.printed)
		case <-time.After(time.Second):
		}
	}

	t.Run("its file has nothing of the company's places", func(t *testing.T) {
		text, err := os.ReadFile(".env.sandbox")
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"acme.example", "company-", "restic"} {
			if strings.Contains(strings.ToLower(string(text)), word) {
				t.Errorf("%s is in\n%s", word, text)
			}
		}
		if info, err := os.Stat(".env.sandbox"); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info, err)
		}
	})
	t.Run("it leads nowhere else", func(t *testing.T) {
		code, _, errs := run(t.Context(), append(u.environ, "REGISTRY=registry.acme.example"), "release", "--yes", "--env-file", ".env.sandbox")
		if code != cli.ExitUsage || !strings.Contains(errs, "✗ environment: REGISTRY is set, which comes before the file of the sandbox") {
			t.Errorf("exit %d\n%s", code, errs)
		}
	})
	t.Run("a second one leaves the first one's file alone", func(t *testing.T) {
		code, _, errs := run(t.Context(), u.environ, "sandbox")
		if code != cli.ExitUsage || !strings.Contains(errs, "✗ .env.sandbox: is there already") {
			t.Errorf("exit %d\n%s", code, errs)
		}
	})
	t.Run("what init writes in an empty folder has no problem there", func(t *testing.T) {
		environ, values := slices.Clone(u.environ), map[string]string{}
		for name, value := range readDotEnv(t, ".env.sandbox") {
			values[name] = value
			// The host's key is compared, as a user does. Its own file has no place in another.
			if name != "DEPLOY_KNOWN_HOSTS" && name != "SANDBOX" && name != "APPS_FILE" && name != "COMPOSE_FILES" && name != "DE_SITE_VERSION" {
				environ = append(environ, name+"="+value)
			}
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(strings.SplitN(values["DEPLOY_KNOWN_HOSTS"], " ", 2)[1]))
		if err != nil {
			t.Fatal(err)
		}
		t.Chdir(t.TempDir())
		gitHub := strings.TrimSuffix(values["GITHUB_API_URL"], "/api/v3")
		code, out, errs := run(t.Context(), environ, "init", "--image", "acme/started", "--set", "DEPLOY_PORT="+values["DEPLOY_PORT"],
			"--host-key", ssh.FingerprintSHA256(key), "--app", gitHub+"/frappe/frappe", "--app", gitHub+"/frappe/erpnext")
		if code != 0 || !strings.Contains(out, "pipeline check") {
			t.Fatalf("init: exit %d\n%s%s", code, out, errs)
		}
		if list, err := os.ReadFile("apps.json"); err != nil || strings.Count(string(list), `"branch": "v15.`) != 2 {
			t.Errorf("apps.json has not the newest tags: %v\n%s", err, list)
		}
		if code, out, errs := run(t.Context(), environ, "check"); code != 0 || strings.Contains(errs, "✗") || !strings.Contains(errs, "no problem found") {
			t.Errorf("check: exit %d\n%s%s", code, out, errs)
		}
	})
	t.Run("the company's release goes live there", func(t *testing.T) {
		code, _, errs := run(t.Context(), u.environ, "release", "--yes", "--env-file", ".env.sandbox")
		if code != 0 {
			t.Fatalf("exit %d\n%s", code, errs)
		}
		address := regexp.MustCompile(`http://[^ ]+`).FindString(stands.String())
		site, port, _ := strings.Cut(strings.TrimPrefix(address, "http://"), ":")
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+port+"/login", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = site
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s answers %s", address, response.Status)
		}
		code, out, errs := run(t.Context(), u.environ, "bench", "--env-file", ".env.sandbox", "--", "--version")
		if code != 0 {
			t.Errorf("bench: exit %d\n%s%s", code, out, errs)
		}
		code, out, errs = run(t.Context(), u.environ, "status", "--env-file", ".env.sandbox")
		if code != 0 || !strings.Contains(out, "7.8.9") {
			t.Errorf("status: exit %d\n%s%s", code, out, errs)
		}
	})

	interrupt()
	if code := <-ended; code != 0 {
		t.Errorf("the sandbox ends with exit %d\n%s", code, u.printed)
	}
	if _, err := os.Stat(".env.sandbox"); !os.IsNotExist(err) {
		t.Errorf("its file is left: %v", err)
	}
}

// readDotEnv returns what a .env file says.
func readDotEnv(t *testing.T, name string) map[string]string {
	t.Helper()
	values, err := dotenv.Read(name)
	if err != nil {
		t.Fatal(err)
	}
	return values
}
