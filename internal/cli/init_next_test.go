package cli

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// gitIn runs git in the folder.
func gitIn(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "git", args...).CombinedOutput(); err != nil {
		t.Fatalf("git %q: %v %s", args, err, out)
	}
}

// Commands to type keep the rules of an environment that is there, and name what they
// set as the workflows read it.
func TestInitSaysWhatToTypeAtGitHub(t *testing.T) {
	t.Chdir(t.TempDir())
	gitIn(t, "init", "--quiet")
	write(t, "in-git.pem", "a CA\n")
	gitIn(t, "add", "in-git.pem")
	_, out, errs := initWith(t, nil, append([]string{"--image", "acme/erp", "--site", "erp.example.com", "--host=", "--set", "TLS=files", "--set", "EXTRA_CA_FILE=ca.pem", "--set", "ACME_CA_FILE=in-git.pem"}, ownApps...)...)
	if strings.Count(out, "PUT") != 1 || !strings.Contains(out, "    gh api repos/OWNER/NAME/environments/production >/dev/null 2>&1 || gh api -X PUT repos/OWNER/NAME/environments/production -F ") {
		t.Errorf("rules that an environment has are reset by\n%s", out)
	}
	if !strings.Contains(out, `-f name="$(gh api repos/OWNER/NAME --jq .default_branch)" -f type=branch`) {
		t.Errorf("the default branch is not asked for in\n%s", out)
	}
	if !strings.Contains(errs, "EXTRA_CA_FILE names ca.pem, which is not in git") || strings.Contains(errs, "ACME_CA_FILE names") {
		t.Errorf("it says of files that workflows read\n%s", errs)
	}
	env := strings.NewReplacer("DEPLOY_HOST=\n", "DEPLOY_HOST=erp.example.com\n").Replace(read(t, ".env"))
	write(t, ".env", env)
	_, out, _ = initWith(t, nil)
	for _, want := range []string{"gh variable set TLS_CERT ", "gh variable set DEPLOY_USER ", "gh secret set TLS_KEY ", "gh secret set DEPLOY_SSH_KEY "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// known_hosts that is there is used, and not changed.
func TestInitKnownHosts(t *testing.T) {
	address, key := shows(t)
	host, port, _ := strings.Cut(address, ":")
	fingerprint, line := ssh.FingerprintSHA256(key), knownhosts.Line([]string{knownhosts.Normalize(address)}, key)+"\n"
	args := append([]string{"--image", "acme/erp", "--site", "erp.example.com", "--host", host, "--user", "deploy", "--set", "DEPLOY_PORT=" + port}, ownApps...)
	const hint = "Add DEPLOY_KNOWN_HOSTS_FILE=known_hosts to .env"
	for name, test := range map[string]struct {
		file, env string
		args      []string
		code      int
		says      string
	}{
		"there":                     {line, "", nil, 0, ""},
		"with the key":              {line, "", []string{"--host-key", fingerprint}, 0, ""},
		"without the key":           {line, "", []string{"--host-key", "SHA256:0000"}, ExitUsage, "✗ --host-key SHA256:0000: known_hosts is there already, without that key"},
		"revoked":                   {"@revoked " + line, "", []string{"--host-key", fingerprint}, ExitUsage, "without that key"},
		"an older .env":             {"", "DEPLOY_HOST=" + host + "\nDEPLOY_PORT=" + port + "\n# DEPLOY_KNOWN_HOSTS_FILE=~/.ssh/known_hosts\n", []string{"--host-key", fingerprint}, 0, hint},
		"both older":                {line, "DEPLOY_HOST=" + host + "\n", nil, 0, hint},
		"an older .env that names":  {line, "DEPLOY_HOST=" + host + "\nDEPLOY_KNOWN_HOSTS_FILE=known_hosts\n", nil, 0, ""},
		"a key and no host to have": {"", "SITE_NAME=erp.example.com\n", []string{"--host-key", fingerprint, "--host="}, ExitUsage, "✗ --host-key: there is no host"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			all := append(slices.Clone(args), test.args...)
			if test.env != "" {
				write(t, ".env", test.env)
				all = append(slices.Clone(ownApps), test.args...)
			}
			if test.file != "" {
				write(t, "known_hosts", test.file)
			}
			code, _, errs := initWith(t, nil, all...)
			if code != test.code || !strings.Contains(errs, test.says) || test.says != hint && strings.Contains(errs, hint) {
				t.Errorf("exit %d, want %d and %q in\n%s", code, test.code, test.says, errs)
			}
			if test.file != "" && read(t, "known_hosts") != test.file {
				t.Error("known_hosts was changed")
			}
			if named := regexp.MustCompile(`(?m)^DEPLOY_KNOWN_HOSTS_FILE=known_hosts$`); code == 0 && test.env == "" && !named.MatchString(read(t, ".env")) {
				t.Error(".env does not name known_hosts")
			}
		})
	}
}
