package cli

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/desiredeffect/erpnext-pipeline/internal/config"
)

// ownApps keep init from asking GitHub for tags.
var ownApps = []string{"--app", "frappe/frappe=v15.1.0", "--app", "frappe/erpnext=v15.2.0"}

// initWith runs init with flags, and what a user types where there is a terminal.
func initWith(t *testing.T, typed *string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	in := ""
	if typed != nil {
		in = *typed
	}
	c := newCLI([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, strings.NewReader(in), &out, &errs)
	c.terminal = typed != nil
	root := newRoot(c)
	root.SetArgs(append([]string{"init"}, args...))
	code = c.report(t.Context(), root.ExecuteContext(t.Context()))
	c.flush()
	return code, out.String(), errs.String()
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// keysOf returns what .env says of some keys, as the program reads it.
func keysOf(t *testing.T, names ...string) []string {
	t.Helper()
	cfg, report := config.Load(config.Sources{EnvFile: ".env"}, config.Build|config.Push, []string{"ACME_PAT"})
	if len(report) > 0 {
		t.Errorf("problems of .env: %v", report.Err())
	}
	var values []string
	for _, name := range names {
		value, _ := cfg.Secret(name)
		values = append(values, value.Reveal())
	}
	return values
}

func TestInitNeedsAnswers(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, test := range map[string]struct {
		args []string
		want []string
	}{
		"nothing given":    {nil, []string{"✗ --image: is not given", "✗ --site: is not given", "✗ --host: is not given", "or --host= for none yet"}},
		"host, no user":    {[]string{"--image", "acme/erp", "--site", "erp.example.com", "--host", "erp.example.com"}, []string{"✗ --user: is not given"}},
		"bad image":        {[]string{"--image", "acme/erp:1", "--site", "erp.example.com", "--host="}, []string{`✗ --image: IMAGE_NAME is "acme/erp:1", which has a tag`}},
		"several bad":      {[]string{"--image", "A", "--site", "a b", "--host=", "--registry", "x/y"}, []string{"✗ --image: ", "✗ --site: ", "✗ --registry: "}},
		"no such key":      {[]string{"--image", "a/b", "--site", "a.b", "--host", "a.b", "--user", "me", "--ssh-key", "~/none"}, []string{"✗ --ssh-key: there is no file ~/none"}},
		"version":          {[]string{"--image", "a/b", "--site", "a.b", "--host=", "--frappe-version", "12"}, []string{`✗ --frappe-version: "12" is no version`}},
		"secret in --set":  {[]string{"--image", "a/b", "--site", "a.b", "--host=", "--set", "ADMIN_PASSWORD=x"}, []string{"✗ --set ADMIN_PASSWORD: is a secret"}},
		"unknown in --set": {[]string{"--image", "a/b", "--site", "a.b", "--host=", "--set", "NONE=x"}, []string{"✗ --set NONE: is no key"}},
		"bad app":          {[]string{"--image", "a/b", "--site", "a.b", "--host=", "--app", "https://secret@github.com/acme/own"}, []string{"✗ --app: url holds a credential"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := initWith(t, nil, test.args...)
			if code != ExitUsage || out != "" {
				t.Errorf("exit %d, standard output %q", code, out)
			}
			for _, want := range test.want {
				if !strings.Contains(errs, want) {
					t.Errorf("no %q in\n%s", want, errs)
				}
			}
			if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
				t.Errorf("written were %v %v", entries, err)
			}
		})
	}
}

func TestInitInEmptyFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	args := append([]string{"--image", "acme/erp", "--site", "erp.example.com", "--host=", "--set", "HTTP_PORT=8080",
		"--app", "https://${ACME_PAT}@github.com/acme/own=v1"}, ownApps...)
	code, out, errs := initWith(t, nil, args...)
	if code != 0 {
		t.Fatalf("exit %d\n%s", code, errs)
	}
	if got, want := keysOf(t, "IMAGE_NAME", "SITE_NAME", "COMPOSE_PROJECT_NAME", "DE_SITE_VERSION", "HTTP_PORT"),
		[]string{"acme/erp", "erp.example.com", "erp-example-com", "1.0.0", "8080"}; !slices.Equal(got, want) {
		t.Errorf(".env has %q, want %q", got, want)
	}
	passwords := keysOf(t, "ADMIN_PASSWORD", "DB_ROOT_PASSWORD")
	if len(passwords[0]) < 20 || len(passwords[1]) < 20 || passwords[0] == passwords[1] {
		t.Errorf("the passwords have %d and %d characters", len(passwords[0]), len(passwords[1]))
	}
	for _, password := range passwords {
		if strings.Contains(out+errs, password) {
			t.Error("a password was printed")
		}
	}
	if info, err := os.Stat(".env"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf(".env: %v %v", info.Mode(), err)
	}
	if got, want := read(t, "apps.json"), `[
  {"url": "https://github.com/frappe/frappe", "branch": "v15.1.0"},
  {"url": "https://github.com/frappe/erpnext", "branch": "v15.2.0"},
  {"url": "https://${ACME_PAT}@github.com/acme/own", "branch": "v1"}
]
`; got != want {
		t.Errorf("apps.json is\n%s", got)
	}
	for _, want := range []string{"\n          ACME_PAT: ${{ secrets.ACME_PAT }}\n"} {
		if !strings.Contains(read(t, ".github/workflows/deploy.yml"), want) {
			t.Errorf("deploy.yml has no %q", want)
		}
	}
	for _, want := range []string{"ACME_PAT", "pipeline check", "gh variable set SITE_NAME --env production --repo OWNER/NAME --body erp.example.com\n", "gh secret set ADMIN_PASSWORD"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if _, err := os.Stat("deploy/compose"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a compose file is there without --eject-compose: %v", err)
	}

	// Once more, with other answers, nothing changes.
	before := map[string]string{}
	for _, name := range []string{".env", "apps.json", ".gitignore", ".github/workflows/deploy.yml", "deploy/hooks/README.md"} {
		before[name] = read(t, name)
	}
	code, _, errs = initWith(t, nil, "--image", "acme/other", "--site", "b.example.com", "--host=", "--eject-compose")
	if code != 0 {
		t.Fatalf("again: exit %d\n%s", code, errs)
	}
	for name, text := range before {
		if read(t, name) != text {
			t.Errorf("%s was changed", name)
		}
	}
	if n := strings.Count(errs, "is there, and is left as it is"); n != 7 || !strings.Contains(errs, "+ deploy/compose/compose-main.yaml") {
		t.Errorf("%d files are left, want 7, and the compose file written\n%s", n, errs)
	}
}

// A token of a new app is missing in a workflow that is the user's own by then.
func TestInitSaysWhichTokensAreMissing(t *testing.T) {
	t.Chdir(t.TempDir())
	args := []string{"--image", "acme/erp", "--site", "erp.example.com", "--host="}
	if code, _, errs := initWith(t, nil, append(args, ownApps...)...); code != 0 {
		t.Fatalf("exit %d\n%s", code, errs)
	}
	write(t, "apps.json", `[{"url": "https://${NEW_PAT}@github.com/acme/own", "branch": "v1"}]`)
	_, out, errs := initWith(t, nil, args...)
	if !strings.Contains(errs, "Add a line to the env of the step Release in .github/workflows/deploy.yml:\n\n          NEW_PAT: ${{ secrets.NEW_PAT }}\n") {
		t.Errorf("it says\n%s", errs)
	}
	if !strings.Contains(out, "gh secret set NEW_PAT --env production --repo OWNER/NAME   # asks; it has no value yet\n") {
		t.Errorf("it says\n%s", out)
	}
}

func TestInitInRepository(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range [][]string{{"init", "--quiet"}, {"remote", "add", "origin", "git@github.com:Acme/site.git"}} {
		if out, err := exec.CommandContext(t.Context(), "git", args...).CombinedOutput(); err != nil {
			t.Skipf("git: %v %s", err, out)
		}
	}
	write(t, ".gitignore", "*.log")
	write(t, ".env", "SITE_NAME=old.example.com\n")
	if out, err := exec.CommandContext(t.Context(), "git", "add", ".env").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	code, out, errs := initWith(t, nil, ownApps...)
	if code != 0 {
		t.Fatalf("exit %d\n%s", code, errs)
	}
	if got, want := read(t, ".gitignore"), "*.log\n.env\n.env.*\n"; got != want {
		t.Errorf(".gitignore is %q, want %q", got, want)
	}
	if got := read(t, ".env"); got != "SITE_NAME=old.example.com\n" {
		t.Errorf(".env is %q", got)
	}
	if !strings.Contains(errs, ".env is in git, with the secrets in it") {
		t.Errorf("it does not say that .env is in git\n%s", errs)
	}
	if !strings.Contains(out, "pipeline init --github=Acme/site\n") {
		t.Errorf("the remote's repository is not named\n%s", out)
	}
}

func TestInitAsks(t *testing.T) {
	t.Chdir(t.TempDir())
	typed := "Bad Name\nacme/erp\n\nerp.example.com\n\nacme\n-\n16\n"
	code, _, errs := initWith(t, &typed, ownApps...)
	if code != 0 {
		t.Fatalf("exit %d\n%s", code, errs)
	}
	if got, want := keysOf(t, "IMAGE_NAME", "SITE_NAME", "DEPLOY_HOST", "COMPOSE_PROJECT_NAME"), []string{"acme/erp", "erp.example.com", "", "acme"}; !slices.Equal(got, want) {
		t.Errorf(".env has %q, want %q", got, want)
	}
	for _, want := range []string{`✗ IMAGE_NAME is "Bad Name", which can't be the name of an image`, "it needs an answer", "Name of the compose project, which stays for good [erp-example-com]: "} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %q in\n%s", want, errs)
		}
	}

	t.Chdir(t.TempDir())
	typed = "acme/erp\n"
	if code, _, errs := initWith(t, &typed, ownApps...); code != ExitUsage || !strings.Contains(errs, "declined: nothing was changed") {
		t.Errorf("the end of the input: exit %d\n%s", code, errs)
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
		t.Errorf("written were %v %v", entries, err)
	}
}

// shows is an SSH server with one host key, which nobody logs in to.
func shows(t *testing.T) (address string, key ssh.PublicKey) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
		t.Error("it was logged in")
		return nil, errors.New("no login")
	}}
	config.AddHostKey(signer)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _, _, _ = ssh.NewServerConn(conn, config)
				_ = conn.Close()
			}()
		}
	}()
	return listener.Addr().String(), signer.PublicKey()
}

// A key of a host is written after a person has compared it, and otherwise not.
func TestInitHostKeys(t *testing.T) {
	address, key := shows(t)
	host, port, _ := strings.Cut(address, ":")
	fingerprint, line := ssh.FingerprintSHA256(key), knownhosts.Line([]string{knownhosts.Normalize(address)}, key)
	args := append([]string{"--image", "acme/erp", "--site", "erp.example.com", "--host", host, "--user", "deploy", "--set", "DEPLOY_PORT=" + port, "--ssh-key=", "--project", "acme", "--registry=", "--frappe-version", "15"}, ownApps...)
	yes, no := "yes\n", "\n"
	for name, test := range map[string]struct {
		typed *string
		more  []string
		code  int
		taken bool
		says  string
	}{
		"yes":                   {&yes, nil, 0, true, fingerprint},
		"an empty line":         {&no, nil, 0, false, "init --host-key " + fingerprint},
		"without a terminal":    {nil, nil, 0, false, "init --host-key " + fingerprint},
		"its fingerprint":       {nil, []string{"--host-key", fingerprint}, 0, true, ""},
		"another's fingerprint": {nil, []string{"--host-key", "SHA256:0000"}, ExitUsage, false, "shows no such key, but " + fingerprint},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			code, _, errs := initWith(t, test.typed, append(args, test.more...)...)
			if code != test.code || !strings.Contains(errs, test.says) {
				t.Errorf("exit %d, want %d and %q in\n%s", code, test.code, test.says, errs)
			}
			text, err := os.ReadFile("known_hosts")
			switch {
			case test.taken && string(text) != line+"\n":
				t.Errorf("known_hosts is %q %v, want %q", text, err, line)
			case !test.taken && !errors.Is(err, os.ErrNotExist):
				t.Errorf("known_hosts is %q %v", text, err)
			}
			if code != 0 {
				if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
					t.Errorf("written were %v %v", entries, err)
				}
				return
			}
			if named := regexp.MustCompile(`(?m)^DEPLOY_KNOWN_HOSTS_FILE=known_hosts$`).MatchString(read(t, ".env")); named != test.taken {
				t.Errorf(".env names known_hosts: %v", named)
			}
		})
	}
}
