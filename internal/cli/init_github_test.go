package cli

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github/githubtest"
)

// What a workflow needs arrives at GitHub, secrets sealed, and once more nothing but
// the secrets is set.
func TestInitGitHub(t *testing.T) {
	root := t.TempDir()
	server := githubtest.Start(t, github.Options{Root: root, Admins: map[string][]string{"acme/erp": {"ghp_admin"}}, Private: map[string][]string{"acme/secret": {"ghp_reader"}}})
	githubtest.New(t, root, "acme/erp").Commit("main", "README.md", "one\n")
	dir := t.TempDir()
	t.Chdir(dir)
	run := func(token, typed string, args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		c := newCLI([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GITHUB_API_URL=" + server.APIURL(), "GITHUB_TOKEN=" + token}, strings.NewReader(typed), &out, &errs)
		c.terminal = typed != ""
		root := newRoot(c)
		root.SetArgs(append([]string{"init"}, args...))
		code := c.report(t.Context(), root.ExecuteContext(t.Context()))
		c.flush()
		return code, out.String(), errs.String()
	}
	args := append([]string{"--image", "acme/erp", "--site", "erp.example.com", "--host", "127.0.0.1", "--set", "DEPLOY_PORT=1", "--user", "deploy", "--ssh-key", "key",
		"--app", "https://${ACME_PAT}@github.com/acme/own=v1"}, ownApps...)
	write(t, "key", "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n")
	if err := os.Chmod("key", 0o600); err != nil {
		t.Fatal(err)
	}

	for name, test := range map[string]struct {
		token string
		args  []string
		want  []string
	}{
		"no token":      {"", []string{"--github=acme/erp", "--yes"}, []string{"✗ GITHUB_TOKEN: is not set"}},
		"no remote":     {"ghp_admin", []string{"--github", "--yes"}, []string{"the folder has no remote origin that is at GitHub"}},
		"no terminal":   {"ghp_admin", []string{"--github=acme/erp"}, []string{"there is no terminal to ask on"}},
		"no repository": {"ghp_admin", []string{"--github=acme", "--yes"}, []string{`takes a repository, not "acme"`}},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := run(test.token, "", append(args, test.args...)...)
			for _, want := range test.want {
				if code != ExitUsage || !strings.Contains(errs, want) {
					t.Errorf("exit %d, no %q in\n%s", code, want, errs)
				}
			}
			if _, err := os.Stat(".env"); !os.IsNotExist(err) {
				t.Errorf("something was written: %v", err)
			}
		})
	}

	code, _, errs := run("ghp_admin", "no\n", append(args, "--github=acme/erp", "--project", "acme", "--registry=", "--frappe-version", "15")...)
	if code != ExitUsage || !strings.Contains(errs, "✗ declined: nothing was changed at GitHub\n") {
		t.Fatalf("the answer no: exit %d\n%s", code, errs)
	}
	if _, made := server.Environment("acme/erp", "production"); made {
		t.Error("the answer no made an environment")
	}
	code, out, errs := run("ghp_admin", "", append(args, "--github=acme/erp", "--yes")...)
	if code != 0 {
		t.Fatalf("exit %d\n%s", code, errs)
	}
	got, _ := server.Environment("acme/erp", "production")
	if !slices.Equal(got.Policies, []string{"tag site-v*", "branch main"}) {
		t.Errorf("the environment is for %q", got.Policies)
	}
	if want := map[string]string{"IMAGE_NAME": "acme/erp", "SITE_NAME": "erp.example.com", "DEPLOY_HOST": "127.0.0.1", "DEPLOY_PORT": "1", "DEPLOY_USER": "deploy", "COMPOSE_PROJECT_NAME": "acme"}; !maps.Equal(got.Variables, want) {
		t.Errorf("the variables are %v, want %v", got.Variables, want)
	}
	passwords := keysOf(t, "ADMIN_PASSWORD", "DB_ROOT_PASSWORD")
	if want := map[string]string{"ADMIN_PASSWORD": passwords[0], "DB_ROOT_PASSWORD": passwords[1], "DEPLOY_SSH_KEY": read(t, "key")}; !maps.Equal(got.Secrets, want) {
		t.Error("the secrets are not those of .env")
	}
	for _, want := range []string{"ACME_PAT has no value, and is left out at GitHub", "DEPLOY_KNOWN_HOSTS has no value", "DEPLOY_SSH_KEY (the text of key)", "let tags site-v* reach it"} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %q in\n%s", want, errs)
		}
	}
	for _, value := range got.Secrets {
		if strings.Contains(out+errs, value) {
			t.Error("a secret was printed")
		}
	}

	env := strings.Replace(read(t, ".env"), "SITE_NAME=erp.example.com", "SITE_NAME=new.example.com", 1)
	if err := os.WriteFile(".env", []byte(env), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, errs = run("ghp_admin", "y\n", "--github=acme/erp")
	if code != 0 || !strings.Contains(errs, "  - replace variables that have another value there\n      SITE_NAME\n  - set secrets again") || strings.Contains(errs, "reach it") {
		t.Errorf("once more: exit %d\n%s", code, errs)
	}
	if got, _ := server.Environment("acme/erp", "production"); got.Variables["SITE_NAME"] != "new.example.com" || len(got.Policies) != 2 {
		t.Errorf("the environment is %v", got)
	}

	for name, test := range map[string]struct{ token, repository, want string }{
		"a wrong token":        {"ghp_wrong", "acme/erp", "✗ GITHUB_TOKEN: is refused: Bad credentials"},
		"another's repository": {"ghp_admin", "acme/secret", "✗ acme/secret: there is no such repository, or the token may not see it"},
		"a reader's token":     {"ghp_reader", "acme/erp", "✗ acme/erp: can't read who may reach the environment: Resource not accessible by personal access token"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := run(test.token, "", "--github="+test.repository, "--yes")
			if code != ExitUsage || !strings.Contains(errs, "  fix: ") || !strings.Contains(errs, test.want) || strings.Contains(errs, test.token) {
				t.Errorf("exit %d, no %q in\n%s", code, test.want, errs)
			}
		})
	}
	if files, err := filepath.Glob(".github/workflows/*.yml"); err != nil || len(files) != 4 {
		t.Errorf("%q %v", files, err)
	}
}
