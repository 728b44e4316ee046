package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

func TestUseDockerLogin(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the helper is a shell script")
	}
	tools := t.TempDir()
	helper := "#!/bin/sh\nread -r at\n[ \"$at\" = cloud.example.com ] || { echo 'credentials not found in native keychain'; exit 1; }\n" +
		`echo '{"ServerURL": "cloud.example.com", "Username": "AWS", "Secret": "for-an-hour-1"}'` + "\n"
	if err := os.WriteFile(filepath.Join(tools, "docker-credential-cloud"), []byte(helper), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", tools+":"+os.Getenv("PATH"))
	// bot:s3cret-word
	const logins = `{"auths": {"registry.example.com:5000": {"auth": "Ym90OnMzY3JldC13b3Jk"}, "https://index.docker.io/v1/": {"auth": "Ym90OnMzY3JldC13b3Jk"},
		"token.example.com": {"identitytoken": "id-token-1"}}, "credHelpers": {"cloud.example.com": "cloud", "gone.example.com": "nowhere"}}`
	for name, tc := range map[string]struct {
		file, host, username string
		password             secret.Secret
		want, said           string
		need                 config.Need
	}{
		"docker login":    {logins, "registry.example.com:5000", "", secret.Secret{}, "bot s3cret-word", "it is used here and on the host", config.Push},
		"Docker's own":    {logins, "docker.io", "", secret.Secret{}, "bot s3cret-word", "it is used here and on the host", config.Push},
		"a helper":        {logins, "cloud.example.com", "", secret.Secret{}, "AWS for-an-hour-1", "it is used here and on the host", config.Push},
		"another host":    {logins, "registry.example.com", "", secret.Secret{}, " ", "", config.Push},
		"no helper there": {logins, "gone.example.com", "", secret.Secret{}, " ", "docker-credential-nowhere", config.Push},
		"no password":     {logins, "token.example.com", "", secret.Secret{}, " ", "a token and no password", config.Push},
		"configured":      {logins, "registry.example.com:5000", "ci", secret.New("our-own-1"), "ci our-own-1", "", config.Push},
		"no file":         {"", "registry.example.com:5000", "", secret.Secret{}, " ", "", config.Push},
		"no JSON":         {"{", "registry.example.com:5000", "", secret.Secret{}, " ", "can't be used", config.Push},
		"for a look":      {logins, "registry.example.com:5000", "", secret.Secret{}, " ", "", config.HostAccess},
		"no registry":     {logins, "", "", secret.Secret{}, " ", "", config.Push},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if tc.file != "" {
				if err := os.WriteFile(filepath.Join(folder, "config.json"), []byte(tc.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var errs bytes.Buffer
			c := newCLI([]string{"DOCKER_CONFIG=" + folder}, strings.NewReader(""), &bytes.Buffer{}, &errs)
			in := inputs{}
			in.config.Registry = registry.Target{Host: tc.host, Username: tc.username, Password: tc.password}
			c.useDockerLogin(t.Context(), &in, tc.need)
			if got := in.config.Registry.Username + " " + in.config.Registry.Password.Reveal(); got != tc.want {
				t.Errorf("the account is %q, want %q", got, tc.want)
			}
			if login := in.config.Target.Login; tc.username == "" && login.Username+" "+login.Password.Reveal() != tc.want {
				t.Errorf("the host logs in as %+v", login)
			}
			c.flush()
			if said := errs.String(); (said != "") != (tc.said != "") || !strings.Contains(said, tc.said) {
				t.Errorf("said %q, want %q", said, tc.said)
			}
			if hidden := c.hidden("of s3cret-word"); tc.want == "bot s3cret-word" && hidden != "of ***" {
				t.Errorf("printed %q", hidden)
			}
		})
	}
}
