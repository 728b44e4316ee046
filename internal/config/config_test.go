package config

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// world is a folder with all files that a deployment needs, and what is set
// outside of it.
type world struct {
	t       testing.TB
	dir     string
	flags   map[string]string
	environ []string
	key     string
}

const passphrase = "open sesame"

// newWorld makes the folder: the key "id", known hosts and a compose file, but no .env.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), flags: map[string]string{}}
	w.environ = []string{"HOME=" + w.dir}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	open, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	w.key = string(pem.EncodeToMemory(open))
	w.write("id", w.key)
	host, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	w.write(".ssh/known_hosts", "# ours\n"+knownhosts.Line([]string{"erp.example.com"}, host)+"\n")
	w.write("deploy/compose/compose-main.yaml", "services: {}\n")
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// lock puts a passphrase on the key.
func (w *world) lock() {
	w.t.Helper()
	private, err := ssh.ParseRawPrivateKey([]byte(w.key))
	if err != nil {
		w.t.Fatal(err)
	}
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(*private.(*ed25519.PrivateKey), "", []byte(passphrase))
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("id", string(pem.EncodeToMemory(locked)))
}

// load loads as if the folder were the current one.
func (w *world) load(need Need, extraKnown ...string) (Config, problem.Report) {
	w.t.Helper()
	return Load(w.sources(), need, extraKnown)
}

func (w *world) sources() Sources {
	at := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return w.path(name)
	}
	return Sources{
		Flags: w.flags, Environ: w.environ, EnvFile: ".env",
		ReadFile: func(name string) ([]byte, error) { return os.ReadFile(at(name)) },
		Stat:     func(name string) (os.FileInfo, error) { return os.Stat(at(name)) },
		CAFolder: w.path("ca"),
	}
}

// enough is a .env with which everything can be done.
const enough = `DE_SITE_VERSION=1.1.5
IMAGE_NAME=acme/erpnext
DEPLOY_HOST=erp.example.com
DEPLOY_USER=deploy
DEPLOY_SSH_KEY_FILE=~/id
COMPOSE_PROJECT_NAME=erp
SITE_NAME=erp.example.com
ADMIN_PASSWORD='adm$in pw'
DB_ROOT_PASSWORD=root-pw
`

func TestLoadFillsConfig(t *testing.T) {
	w := newWorld(t)
	w.environ = append(w.environ, "SSH_AUTH_SOCK=/run/agent", "WIKI_TOKEN=wiki-token", "TRAEFIK_LEVEL=INFO")
	w.write(".env", enough+`DE_MACRS_PAT=ghp_token
PACKAGES_AS_OF=2024-03-20
FRAPPE_BRANCH=version-15
PYTHON_VERSION=3.14.2
PLATFORMS=linux/arm64, linux/amd64
APT_PACKAGES=libxml2 -ffmpeg
WKHTMLTOPDF_URL=https://example.com/wkhtmltox_{arch}.deb
WKHTMLTOPDF_SHA256=amd64=`+strings.Repeat("AB", 32)+`, arm64=`+strings.Repeat("cd", 32)+`
CHROMIUM=debian
PYPI_INDEX_URL=https://bot:pypi-pw@pypi.example.com/simple/
NPM_REGISTRY_URL=https://npm.example.com
APT_MIRROR_URL=http://deb.example.com/apt/
IMAGE_MIRROR=mirror.example.com/hub/
EXTRA_CA_FILE=~/ca.pem
SIGNING_KEY_FILE=cosign.key
SIGNING_KEY_PASSWORD=signing-pw
REGISTRY=registry.example.com:5000
REGISTRY_USERNAME=bot
REGISTRY_PASSWORD=registry-pw
GITHUB_API_URL=http://127.0.0.1:8080/api/v3/
DEPLOY_PORT=2222
DEPLOY_JUMP_HOST=jumper@bastion.example.com:2200
DEPLOY_DIR=/srv/erp/
COMPOSE_FILES=deploy/compose/compose-main.yaml, extra.yaml
DEPLOY_STRATEGY=swap
BACKUP_FILES=true
DRAIN_SECONDS=90
KEEP_RELEASES=5
HOOKS_DIR=hooks
RESTIC_REPOSITORY=/backup
RESTIC_PASSWORD=restic-pw
`)
	w.write("extra.yaml", "services: {}\n")
	w.write("hooks/README.md", "none yet\n")
	ca := certificate(t, "Acme Root", time.Hour)
	w.write("ca.pem", "# ours\n"+ca)
	w.write("cosign.key", pemOf("ENCRYPTED SIGSTORE PRIVATE KEY"))
	got, report := w.load(Build|Push|Deploy, "WIKI_TOKEN", "TRAEFIK_LEVEL", "NOT_SET")
	if len(report) > 0 {
		t.Fatalf("problems:\n%s", rendered(t, report))
	}
	if token, ok := got.Apps.Lookup("DE_MACRS_PAT"); !ok || token.Reveal() != "ghp_token" {
		t.Errorf("DE_MACRS_PAT is %q, %v for a placeholder", token.Reveal(), ok)
	}
	got.byName, got.Apps.Lookup = nil, nil
	want := Config{
		Apps:         apps.Options{Path: "apps.json", Frappe: apps.Fallback{URL: "https://github.com/frappe/frappe", Ref: "version-15"}},
		GitHubAPIURL: "http://127.0.0.1:8080/api/v3",
		Lock: release.Lock{
			SiteVersion: "1.1.5", Python: "3.14.2",
			Wkhtmltopdf: &release.Download{
				URL:    "https://example.com/wkhtmltox_{arch}.deb",
				SHA256: map[string]string{"amd64": strings.Repeat("ab", 32), "arm64": strings.Repeat("cd", 32)},
			},
			DebianChromium: true, AptPackages: []string{"libxml2", "-ffmpeg"},
		},
		Image: image.Options{
			PackagesAsOf: time.Date(2024, 3, 20, 0, 0, 0, 0, time.UTC),
			Mirrors: image.Mirrors{
				PyPI: secret.New("https://bot:pypi-pw@pypi.example.com/simple"), NPM: secret.New("https://npm.example.com"), Apt: secret.New("http://deb.example.com/apt"),
				Images: "mirror.example.com/hub", CAs: ca,
			},
		},
		Registry:   registry.Target{Host: "registry.example.com:5000", Name: "acme/erpnext", Username: "bot", Password: secret.New("registry-pw")},
		SigningKey: attest.Key{PEM: secret.New(pemOf("ENCRYPTED SIGSTORE PRIVATE KEY")), Password: secret.New("signing-pw")},
		Host: host.Config{
			Address: "erp.example.com", Port: 2222, User: "deploy", Keys: []host.Key{{Path: w.path("id"), Name: "DEPLOY_SSH_KEY"}}, AgentSocket: "/run/agent",
			KnownHosts: []host.KnownHosts{{Path: w.path(".ssh/known_hosts"), Name: "DEPLOY_KNOWN_HOSTS"}},
		},
		Target: deploy.Target{
			Dir: "/srv/erp", Project: "erp", ComposeFiles: []string{"deploy/compose/compose-main.yaml", "extra.yaml"},
			Sites: []string{"erp.example.com"}, Strategy: deploy.Swap, BackupFiles: true, DrainLimit: 90 * time.Second, KeepReleases: 5, HooksDir: "hooks",
			HTTPPort: 80, Login: deploy.Login{Host: "registry.example.com:5000", Username: "bot", Password: secret.New("registry-pw")},
			Variables: map[string]string{
				"GUNICORN_WORKERS": "2", "GUNICORN_THREADS": "4", "CLIENT_MAX_BODY_SIZE": "50m", "PROXY_READ_TIMEOUT": "120",
			},
			Secrets: map[string]secret.Secret{
				"ADMIN_PASSWORD": secret.New("adm$in pw"), "DB_ROOT_PASSWORD": secret.New("root-pw"), "RESTIC_PASSWORD": secret.New("restic-pw"),
				"WIKI_TOKEN": secret.New("wiki-token"), "TRAEFIK_LEVEL": secret.New("INFO"), "RESTIC_REPOSITORY": secret.New("/backup"),
			},
		},
	}
	want.Image.Platforms = append(want.Image.Platforms, "linux/arm64", "linux/amd64")
	jump := want.Host
	jump.Address, jump.Port, jump.User = "bastion.example.com", 2200, "jumper"
	want.Host.Jump = &jump
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDefaultsOfARelease(t *testing.T) {
	w := newWorld(t)
	w.write(".env", enough)
	config, report := w.load(Build | Push | Deploy)
	if len(report) > 0 {
		t.Fatalf("problems:\n%s", rendered(t, report))
	}
	got := config.Target
	if got.Strategy != deploy.Cycle || got.BackupFiles || got.DrainLimit != 5*time.Minute || got.KeepReleases != 3 || got.HooksDir != "deploy/hooks" {
		t.Errorf("got %+v", got)
	}
	w.flags["DEPLOY_STRATEGY"] = "swap"
	if config, _ := w.load(0); config.Target.Strategy != deploy.Swap {
		t.Errorf("with --strategy swap it is %q", config.Target.Strategy)
	}
}

func TestValuesByName(t *testing.T) {
	w := newWorld(t)
	w.environ = append(w.environ, "WIKI_TOKEN=wiki-token", "TRAEFIK_LEVEL=INFO", "UNASKED=x")
	w.write(".env", enough+"PAT_DESIRED_EFFECT=ghp_token\nEXTRA_CONFIG='{\"mail_password\": \"mail-pw\", \"mail_server\": \"smtp.example.com\"}'\n")
	config, report := w.load(Build, "WIKI_TOKEN", "TRAEFIK_LEVEL", "NOT_SET")
	if len(report) > 0 {
		t.Fatalf("problems:\n%s", rendered(t, report))
	}
	loader := newLoader(Schema(), w.sources(), Build, []string{"WIKI_TOKEN", "TRAEFIK_LEVEL", "NOT_SET"})
	for _, c := range []struct {
		name, value string
		open, set   bool
	}{
		{"DE_SITE_VERSION", "1.1.5", true, true},
		{"GUNICORN_WORKERS", "2", true, false},
		{"TRAEFIK_LEVEL", "INFO", true, true},
		{"WIKI_TOKEN", "wiki-token", false, true},
		{"DE_MACRS_PAT", "ghp_token", false, true},
		{"PAT_DESIRED_EFFECT", "ghp_token", false, true},
		{"ADMIN_PASSWORD", "adm$in pw", false, true},
		{"NOT_SET", "", false, false},
		{"UNASKED", "", false, false},
		{"RESTIC_PASSWORD", "", false, false},
	} {
		if got := loader.isSet(c.name); got != c.set {
			t.Errorf("isSet(%s) is %v, want %v", c.name, got, c.set)
		}
		s, ok := config.Secret(c.name)
		if ok != (c.value != "") || s.Reveal() != c.value {
			t.Errorf("Secret(%s) is %q, %v, want %q", c.name, s.Reveal(), ok, c.value)
		}
		want := c.value
		if !c.open {
			want = ""
		}
		if text, ok := config.Lookup(c.name); ok != c.open || text != want {
			t.Errorf("Lookup(%s) is %q, %v, want %q, %v", c.name, text, ok, want, c.open)
		}
	}
	var values []string
	for _, s := range config.Secrets() {
		values = append(values, s.Reveal())
	}
	if got := config.Guessable(); got != nil {
		t.Errorf("can be guessed: %q", got)
	}
	w.environ = append(w.environ, "DB_ROOT_PASSWORD=frappe", "REGISTRY_USERNAME=word", "REGISTRY_PASSWORD=abcdefghijklmnop")
	if config, _ := w.load(0); !slices.Equal(config.Guessable(), []string{"DB_ROOT_PASSWORD"}) {
		t.Errorf("can be guessed: %q", config.Guessable())
	}
	if got, want := strings.Join(values, ","), `adm$in pw,root-pw,ghp_token,{"mail_password": "mail-pw", "mail_server": "smtp.example.com"},ghp_token,wiki-token,mail-pw`; got != want {
		t.Errorf("the secrets are %q, want %q", got, want)
	}
}

func TestPasswordsIn(t *testing.T) {
	var got []string
	for _, s := range passwordsIn(secret.New(`{"google_login": {"client_secret": "GOCSPX-1", "client_id": "id"}, "mail_password": 12345678, "redis_cache": "redis://:pw@cache:6379",
		"logins": [{"root_pwd": "of root"}], "sentry_dsn": "https://key@sentry.example.com/1", "mail_server": "smtp.example.com", "api_key": ""}`)) {
		got = append(got, s.Reveal())
	}
	if want := "GOCSPX-1,of root,12345678,pw,key,https://key@sentry.example.com/1"; strings.Join(got, ",") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestConfigPrintsNoSecret(t *testing.T) {
	w := newWorld(t)
	w.write(".env", enough+"DE_MACRS_PAT=ghp_token\n")
	config, report := w.load(Build | Push | Deploy)
	if len(report) > 0 {
		t.Fatalf("problems:\n%s", rendered(t, report))
	}
	asJSON, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	for how, text := range map[string]string{"%v": fmt.Sprintf("%v", config), "%+v": fmt.Sprintf("%+v", config), "%#v": fmt.Sprintf("%#v", config), "JSON": string(asJSON)} {
		for _, value := range []string{"root-pw", "adm$in pw", "ghp_token"} {
			if strings.Contains(text, value) {
				t.Errorf("%s shows %s: %s", how, value, text)
			}
		}
		if !strings.Contains(text, "acme/erpnext") {
			t.Errorf("%s doesn't show the name of the image: %s", how, text)
		}
	}
}

func TestPriority(t *testing.T) {
	for _, c := range []struct {
		name                 string
		flag, outside, inEnv string
		want, place          string
	}{
		{"flag before all", "1", "2", "3", "1", "--version"},
		{"environment before .env", "", "2", "3", "2", "environment"},
		{".env before default", "", "", "3", "3", ".env:1"},
		{"nothing", "", "", "", "", "default"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.flags["DE_SITE_VERSION"] = c.flag
			w.environ = append(w.environ, "DE_SITE_VERSION="+c.outside)
			w.write(".env", "DE_SITE_VERSION="+c.inEnv+"\n")
			config, report := w.load(0)
			if len(report) > 0 || config.Lock.SiteVersion != c.want {
				t.Errorf("got %q, want %q; problems:\n%s", config.Lock.SiteVersion, c.want, rendered(t, report))
			}
			// The place of a bad value is that of the source that won.
			for _, text := range []*string{&c.flag, &c.outside, &c.inEnv} {
				if *text != "" {
					*text = "bad version"
				}
			}
			w.flags["DE_SITE_VERSION"] = c.flag
			w.environ = append(w.environ, "DE_SITE_VERSION="+c.outside)
			w.write(".env", "DE_SITE_VERSION='"+c.inEnv+"'\n")
			_, report = w.load(0)
			if c.want == "" {
				if len(report) > 0 {
					t.Errorf("an empty value is a problem:\n%s", rendered(t, report))
				}
			} else if len(report) != 1 || report[0].Subject != c.place {
				t.Errorf("want one problem at %s, got:\n%s", c.place, rendered(t, report))
			}
		})
	}
}

func TestMissing(t *testing.T) {
	const (
		version = "DE_SITE_VERSION %s, but needed for build (Site version: the tag of the image)\n"
		image   = "IMAGE_NAME %s, but needed for build (Name of the image, without registry and tag)\n"
	)
	for _, c := range []struct {
		name    string
		env     string // "-" for no file
		environ []string
		need    Need
		want    string
	}{
		{"nothing needed, no file", "-", nil, 0, ""},
		{"all in the environment, no file", "-", []string{"DE_SITE_VERSION=1", "IMAGE_NAME=acme/erpnext"}, Build, ""},
		{
			"no file", "-", []string{"IMAGE_NAME=acme/erpnext"}, Build,
			"✗ .env: there is no such file, and not everything that is needed is set without it\n  fix: copy de-example.env to .env and fill it in\n" +
				"✗ environment: " + fmt.Sprintf(version, "is not set") + "  fix: set it in .env or with --version\n",
		},
		{
			"in Actions there is no file", "-", []string{"GITHUB_ACTIONS=true", "IMAGE_NAME=", "DE_SITE_VERSION=1"}, Build,
			"✗ environment: " + fmt.Sprintf(image, "is empty") + "  fix: set it from a variable of the repository or its environment\n",
		},
		{
			"a secret in Actions", "-", append([]string{"GITHUB_ACTIONS=true", "ADMIN_PASSWORD="}, strings.Split(strings.Replace(strings.Replace(enough, "ADMIN", "X", 1), "~/id", "", 1), "\n")...), Deploy,
			"✗ environment: ADMIN_PASSWORD is empty, but needed for deploy (Password of the site's Administrator, for a new site)\n  fix: set it from a secret of the repository or its environment\n",
		},
		{
			"left out and empty", "\nIMAGE_NAME=''\n", nil, Build,
			"✗ .env: " + fmt.Sprintf(version, "is not set") + "  fix: set it in .env or with --version\n" +
				"✗ .env:2: " + fmt.Sprintf(image, "is empty") + "  fix: set it in .env\n",
		},
		{
			"what is needed for what", strings.Replace(strings.Replace(enough, "IMAGE_NAME=acme/erpnext", "", 1), "DEPLOY_USER=deploy", "", 1), nil, Build | Deploy,
			"✗ .env: IMAGE_NAME is not set, but needed for build, deploy (Name of the image, without registry and tag)\n  fix: set it in .env\n" +
				"✗ .env: DEPLOY_USER is not set, but needed for deploy (User to log in as; it must be able to use Docker)\n  fix: set it in .env\n",
		},
		{
			"no key", strings.Replace(enough, "DEPLOY_SSH_KEY_FILE=~/id", "", 1), nil, Deploy,
			"✗ environment: there is no SSH key to log in with, and no SSH agent\n  fix: set DEPLOY_SSH_KEY_FILE to a private key, or DEPLOY_SSH_KEY to its text\n",
		},
		{"an agent is enough", strings.Replace(enough, "DEPLOY_SSH_KEY_FILE=~/id", "", 1), []string{"SSH_AUTH_SOCK=/run/agent"}, Deploy, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.environ = append(w.environ, c.environ...)
			if c.env != "-" {
				w.write(".env", c.env)
			}
			// The key is not what these are about.
			if strings.Contains(c.name, "in Actions") {
				w.environ = append(w.environ, "DEPLOY_SSH_KEY="+w.key)
			}
			_, report := w.load(c.need)
			if got := rendered(t, report); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestEnvFileProblems(t *testing.T) {
	for _, c := range []struct {
		name, text, want string
	}{
		{"misspelt", "DE_SITE_VERSON=1\n", "✗ .env:1: DE_SITE_VERSON is not known\n  fix: write DE_SITE_VERSION, or remove it; de-example.env has every key\n"},
		{"in small letters", "\nimage_name=acme/erpnext\n", "✗ .env:2: image_name is not known\n  fix: write IMAGE_NAME, or remove it; de-example.env has every key\n"},
		{"like nothing known", "FOO=1\n", "✗ .env:1: FOO is not known\n  fix: remove it; de-example.env has every key\n"},
		{"a part of a secret as a key", "DEPLOY_SSH_KEY=-----BEGIN\nAAAAB3NzaC1yc2E+x/y\nb3BlbnNzaC1rZXk==\n",
			"✗ .env:2: this line is not of the form KEY=value\n  fix: write KEY=value; begin a comment with #; put a value of several lines in double quotes\n" +
				"✗ .env:3: a key is not known\n  fix: remove it; de-example.env has every key\n"},
		{"known to a compose file", "TRAEFIK_LEVEL=INFO\n", ""},
		{"the older name", "PAT_DESIRED_EFFECT=x\n", ""},
		{"both names, one value", "PAT_DESIRED_EFFECT=x\nDE_MACRS_PAT=x\n", ""},
		{"both names, two values", "PAT_DESIRED_EFFECT=hunter1\nDE_MACRS_PAT=hunter2\n",
			"✗ .env:2: DE_MACRS_PAT and its other name PAT_DESIRED_EFFECT (.env:1) have different values\n  fix: keep one of them\n"},
		{"twice", "HTTP_PORT=1\n\nHTTP_PORT=2\n", "✗ .env:3: HTTP_PORT is already set on line 1\n  fix: remove one of the two; compose takes the last\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.write(".env", c.text)
			_, report := w.load(0, "TRAEFIK_LEVEL")
			if got := rendered(t, report); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
	t.Run("a folder", func(t *testing.T) {
		w := newWorld(t)
		if err := os.Mkdir(w.path(".env"), 0o700); err != nil {
			t.Fatal(err)
		}
		_, report := w.load(0)
		if got, want := rendered(t, report), "✗ .env: can't be read: is a directory\n  fix: make it a file that you can read\n"; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestBadValues(t *testing.T) {
	long, sum := strings.Repeat("x", 129), strings.Repeat("0f", 32)
	for _, c := range []struct {
		key, value string
		want       string
	}{
		{"DE_SITE_VERSION", "latest", `is "latest", which would name another image after every release | name the version, for instance 1.1.5`},
		{"DE_SITE_VERSION", "1.1/5", `is "1.1/5", which can't be the tag of an image | use letters, digits, _, . and -, at most 128, and neither . nor - in front`},
		{"DE_SITE_VERSION", "-1", `is "-1", which can't be the tag of an image | use letters, digits, _, . and -, at most 128, and neither . nor - in front`},
		{"DE_SITE_VERSION", long, `is "` + long[:60] + `"…, which can't be the tag of an image | use letters, digits, _, . and -, at most 128, and neither . nor - in front`},
		{"PYTHON_VERSION", "3.11", `is "3.11", which is not a full version | write all three numbers, for instance 3.11.6`},
		{"NODE_VERSION", "v18.18.2", `is "v18.18.2", which is not a full version | write all three numbers, for instance 18.18.2`},
		{"PACKAGES_AS_OF", "20.3.2024", `is "20.3.2024", which is neither a day nor a time | write 2024-03-20 or 2024-03-20T12:00:00Z`},
		{"FRAPPE_PATH", "frappe/frappe", `is not the URL of a server | write it with https:// in front`},
		{"FRAPPE_PATH", "https://bot:pw@example.com/frappe", `has credentials in it | remove them; private repositories take a placeholder in the apps file`},
		{"GITHUB_API_URL", "ftp://example.com", `is not the URL of a server | write it with https:// in front`},
		{"IMAGE_NAME", "Acme/ERP", `is "Acme/ERP", which can't be the name of an image | write a name such as company/erpnext: small letters, digits, and / . _ - between them`},
		{"IMAGE_NAME", "acme/erp:1", `is "acme/erp:1", which has a tag or a digest | remove it; DE_SITE_VERSION is the tag`},
		{"IMAGE_NAME", "registry.example.com/acme/erp", `is "registry.example.com/acme/erp", which has a registry in it | set REGISTRY to the part before the first /, and leave it out here`},
		{"REGISTRY", "https://registry.example.com", `is "https://registry.example.com", which is not the name of a host | write host or host:port; a path belongs into IMAGE_NAME`},
		{"REGISTRY", "registry.example.com:0", `is "registry.example.com:0", which is not the name of a host | write host or host:port; a path belongs into IMAGE_NAME`},
		{"REGISTRY", "bot@registry.example.com", `is "bot@registry.example.com", which is not the name of a host | write host or host:port; a path belongs into IMAGE_NAME`},
		{"REGISTRY_USERNAME", "bot", `is set, but REGISTRY_PASSWORD is not | set REGISTRY_PASSWORD as well, or neither`},
		{"REGISTRY_PASSWORD", "pw", `is set, but REGISTRY_USERNAME is not | set REGISTRY_USERNAME as well, or neither`},
		{"EXTRA_CONFIG", "{\"a\": 1,\n \"mail_password\": hunter2}", `is not JSON from line 2, character 19 on | write an object, for instance {"mail_server": "smtp.example.com"}`},
		{"EXTRA_CONFIG", `["hunter2"]`, `is no JSON object | write an object, for instance {"mail_server": "smtp.example.com"}`},
		{"EXTRA_CONFIG", "null", `is no JSON object | write an object, for instance {"mail_server": "smtp.example.com"}`},
		{"EXTRA_CONFIG", `{"maintenance_mode": 0}`, `sets maintenance_mode | leave it out: a release closes sites and opens them, one at a time`},
		{"RESTIC_PASSWORD", "pw", `is set, but RESTIC_REPOSITORY is not | set RESTIC_REPOSITORY as well, or neither`},
		{"DEPLOY_HOST", "deploy@erp.example.com", `is "deploy@erp.example.com", which is not the name of a host | write a host name or an IP address; the port belongs into DEPLOY_PORT, the user into DEPLOY_USER`},
		{"DEPLOY_HOST", "erp.example.com:22", `is "erp.example.com:22", which is not the name of a host | write a host name or an IP address; the port belongs into DEPLOY_PORT, the user into DEPLOY_USER`},
		{"DEPLOY_HOST", "-oProxyCommand=x", `is "-oProxyCommand=x", which is not the name of a host | write a host name or an IP address; the port belongs into DEPLOY_PORT, the user into DEPLOY_USER`},
		{"DEPLOY_PORT", "ssh", `is "ssh", which is not a number from 1 to 65535 | write a number from 1 to 65535`},
		{"DEPLOY_PORT", "65536", `is "65536", which is not a number from 1 to 65535 | write a number from 1 to 65535`},
		{"DEPLOY_USER", "root; rm", `is "root; rm", which is not the name of a user | write the login name only`},
		{"DEPLOY_JUMP_HOST", "a@b@c", `is "a@b@c", which is not of the form user@host:port | write user@host:port; user and port may be left out`},
		{"DEPLOY_DIR", "erpnext", `is "erpnext", which is not an absolute path of a folder of its own | write a path from the root, for instance /opt/erpnext`},
		{"DEPLOY_DIR", "/opt/..", `is "/opt/..", which is not an absolute path of a folder of its own | write a path from the root, for instance /opt/erpnext`},
		{"COMPOSE_PROJECT_NAME", "My Project", `is "My Project", which compose doesn't take for a project | use small letters, digits, - and _, with a letter or a digit in front`},
		{"COMPOSE_FILES", "a/x.yaml,b/x.yaml", `has a/x.yaml and b/x.yaml, which have the same name | rename one; on the host they are in one folder`},
		{"COMPOSE_FILES", "a.yaml,,b.yaml", `has an empty place in its list | separate the files by single commas`},
		{"DEPLOY_STRATEGY", "rolling", `is "rolling", which is not a strategy | write cycle or swap`},
		{"BACKUP_FILES", "yes", `is "yes", which is neither true nor false | write true or false`},
		{"DRAIN_SECONDS", "5m", `is "5m", which is not a number from 1 to 86400 | write a number from 1 to 86400`},
		{"DRAIN_SECONDS", "86401", `is "86401", which is not a number from 1 to 86400 | write a number from 1 to 86400`},
		{"KEEP_RELEASES", "0", `is "0", which is not a number from 1 to 1000 | write a number from 1 to 1000`},
		{"SITE_NAME", "https://erp.example.com/", `is "https://erp.example.com/", which is not the name of a host | write one host name, without scheme and path`},
		{"HTTP_PORT", "0", `is "0", which is not a number from 1 to 65535 | write a number from 1 to 65535`},
		{"GUNICORN_WORKERS", "two", `is "two", which is not a number from 1 to 1024 | write a number from 1 to 1024`},
		{"CLIENT_MAX_BODY_SIZE", "50 MB", `is "50 MB", which is not a size | write a number with k, m or g, for instance 50m`},
		{"PROXY_READ_TIMEOUT", "2min", `is "2min", which is not a time | write seconds, or a number with s, m or h, for instance 120`},
		{"PYPI_INDEX_URL", "pypi.example.com/simple", `is not the URL of a server | write it as https://host/path; in a password write special characters as %40 for @`},
		{"PYPI_INDEX_URL", "https://bot:p#w@pypi.example.com", `is not the URL of a server | write it as https://host/path; in a password write special characters as %40 for @`},
		{"PYPI_INDEX_URL", "https://pypi.example.com/simple?x=1", `has a ? or # in it | end it with the path`},
		{"PYPI_INDEX_URL", "https://pypi.example.com/sim ple", `has white space or a control character in it | set it again without that`},
		{"PYPI_INDEX_URL", "http://bot:pw@pypi.example.com/simple", `has credentials in it, which http:// would send unencrypted | write https:// in front, or leave the credentials out`},
		{"NPM_REGISTRY_URL", "https://npm.example.com:0", `is not the URL of a server | write it as https://host/path; in a password write special characters as %40 for @`},
		{"NPM_REGISTRY_URL", "http://token@192.0.2.1/", `has credentials in it, which http:// would send unencrypted | write https:// in front, or leave the credentials out`},
		{"NPM_REGISTRIES", "@acme=npm.example.com", `has an entry for @acme that is not the URL of a server | write @scope=https://user:password@host/path, or with a token @scope=https://_authToken:TOKEN@host/path, separated by commas; in a password write special characters as %40 for @ and %2C for a comma`},
		{"NPM_REGISTRIES", "https://u:p@a.example.com,https://u:p,w@b.example.com", `has an entry, number 2, that is not the URL of a server | write @scope=https://user:password@host/path, or with a token @scope=https://_authToken:TOKEN@host/path, separated by commas; in a password write special characters as %40 for @ and %2C for a comma`},
		{"NPM_REGISTRIES", "@Acme=https://u:p@npm.example.com", `has an entry, number 1, that begins with an @ and no scope | write @scope=https://user:password@host/path, or with a token @scope=https://_authToken:TOKEN@host/path, separated by commas`},
		{"NPM_REGISTRIES", "@acme=https://a.example.com @acme=https://b.example.com", `has two entries for @acme | remove one of the two; one without @scope gives a login alone`},
		{"NPM_REGISTRIES", "https://npm.example.com", `has an entry, number 1, that has neither a scope nor a login | write @scope=https://user:password@host/path, or with a token @scope=https://_authToken:TOKEN@host/path, separated by commas`},
		{"NPM_REGISTRIES", "@acme=https://_authToken@npm.example.com", `has an entry for @acme that has no token behind _authToken: | copy the token again; user:password is for a login with a password`},
		{"NPM_REGISTRIES", "@acme=https://_authToken:a;b@npm.example.com", `has an entry for @acme that has no token behind _authToken: | copy the token again; user:password is for a login with a password`},
		{"NPM_REGISTRIES", "@acme=http://_authToken:t@npm.example.com", `has an entry for @acme that has credentials in it, which http:// would send unencrypted | write https:// in front, or leave the credentials out`},
		{"APT_MIRROR_URL", "ftp://deb.example.com", `is not the URL of a server | write it as https://host/path; in a password write special characters as %40 for @`},
		{"APT_MIRROR_URL", "/", `is not the URL of a server | write it as https://host/path; in a password write special characters as %40 for @`},
		{"IMAGE_MIRROR", "https://bot:pw@mirror.example.com", `has a scheme in front | leave out what stands before the host`},
		{"IMAGE_MIRROR", "bot:pw@mirror.example.com", `has an @ in it | write host or host:port, and a path if there is one; docker login keeps credentials`},
		{"IMAGE_MIRROR", "mirror.example.com/Hub", `is "mirror.example.com/Hub", which is not the name of a registry | write host or host:port, and a path in small letters if there is one, for instance mirror.example.com/hub`},
		{"IMAGE_MIRROR", "mirror.example.com/hub:1", `is "mirror.example.com/hub:1", which is not the name of a registry | write host or host:port, and a path in small letters if there is one, for instance mirror.example.com/hub`},
		{"IMAGE_MIRROR", "mirror.example.com:65536", `is "mirror.example.com:65536", which is not the name of a registry | write host or host:port, and a path in small letters if there is one, for instance mirror.example.com/hub`},
		{"IMAGE_MIRROR", "/", `is "", which is not the name of a registry | write host or host:port, and a path in small letters if there is one, for instance mirror.example.com/hub`},
		{"IMAGE_MIRROR", "mirror/hub", `is "mirror/hub", which would be taken for a name on Docker Hub | write the host's whole name, or its port as well, for instance mirror.example.com/hub`},
		{"PLATFORMS", "linux/amd64,linux/arm/v7", `has "linux/arm/v7", which the image can't be built for | take linux/amd64, linux/arm64 or both, separated by a comma`},
		{"APT_PACKAGES", "libxml2 $(reboot)", `has "$(reboot)", which can't be the name of a Debian package | write names like libxml2, separated by spaces`},
		{"PLATFORMS", "amd64", `has "amd64", which the image can't be built for | take linux/amd64, linux/arm64 or both, separated by a comma`},
		{"PLATFORMS", "linux/amd64, linux/amd64", `has linux/amd64 twice | remove one of the two`},
		{"PLATFORMS", "linux/amd64,", `has an empty place in its list | separate the platforms by single commas`},
		{"WKHTMLTOPDF_URL", "https://example.com/w.deb", `is set, but WKHTMLTOPDF_SHA256 is not | set WKHTMLTOPDF_SHA256 as well, or neither`},
		{"WKHTMLTOPDF_SHA256", sum, `is set, but WKHTMLTOPDF_URL is not | set WKHTMLTOPDF_URL as well, or neither`},
		{"CHROMIUM", "Debian", `is "Debian", which is neither debian nor a URL | write debian, or the https:// URL of a .zip; leave it empty for none`},
		{"CHROMIUM", "https://example.com/c.zip", `is a URL, but CHROMIUM_SHA256 is not set | set CHROMIUM_SHA256 as well; sha256sum prints it`},
		{"CHROMIUM_SHA256", sum, `is set, but CHROMIUM is not a URL | set CHROMIUM to the URL of that file, or remove the checksum`},
		{"SIGNING_KEY_PASSWORD", "pw", `is set, but there is no key to sign with | set SIGNING_KEY or SIGNING_KEY_FILE as well, or none of them`},
		{"DE_MACRS_PAT", "ghp_x\n", `begins or ends with white space | set it again without that`},
		{"ADMIN_PASSWORD", "a\nb", `has a line break or another control character in it | set it again without that`},
	} {
		t.Run(c.key+" "+quote(c.value), func(t *testing.T) {
			w := newWorld(t)
			w.environ = append(w.environ, c.key+"="+c.value)
			_, report := w.load(0)
			detail, remedy, _ := strings.Cut(c.want, " | ")
			want := "✗ environment: " + c.key + " " + detail + "\n  fix: " + remedy + "\n"
			if got := rendered(t, report); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestGoodValues(t *testing.T) {
	for _, c := range []struct{ key, value string }{
		{"DE_SITE_VERSION", "v1.1.5-rc.1_x"},
		{"PACKAGES_AS_OF", "2024-03-20T12:00:00+02:00"},
		{"IMAGE_NAME", "erpnext"},
		{"IMAGE_NAME", "a/b/c-d.e__f"},
		{"REGISTRY", "localhost:5000"},
		{"REGISTRY", "[::1]:5000"},
		{"DEPLOY_HOST", "fe80::1"},
		{"DEPLOY_HOST", "192.0.2.1"},
		{"DEPLOY_HOST", "erp"},
		{"SITE_NAME", "erp_test.localhost"},
		{"PYPI_INDEX_URL", "https://bot:p%40w@pypi.example.com:8443/root/pypi/+simple/"},
		{"PYPI_INDEX_URL", "http://pypi.example.com/simple"},
		{"PYPI_INDEX_URL", "http://bot:pw@10.0.0.7:8081/simple"},
		{"NPM_REGISTRY_URL", "http://bot:pw@[fd00::7]/npm"},
		{"NPM_REGISTRY_URL", "http://bot:pw@LOCALHOST:4873"},
		{"NPM_REGISTRIES", "@acme=https://_authToken:a.b-c~d+e%2Ff_0==@npm.example.com/x, https://bot:p%2Cw@10.0.0.7\n@open=http://open.example.com,"},
		{"APT_MIRROR_URL", "http://bot:pw@127.0.0.1"},
		{"IMAGE_MIRROR", "localhost:5000"},
		{"IMAGE_MIRROR", "mirror:5000/a/b"},
		{"IMAGE_MIRROR", "mirror.example.com"},
		{"PLATFORMS", "linux/arm64"},
		{"CHROMIUM", "debian"},
		{"COMPOSE_PROJECT_NAME", "0_a-b"},
		{"CLIENT_MAX_BODY_SIZE", "0"},
		{"PROXY_READ_TIMEOUT", "2m"},
	} {
		w := newWorld(t)
		w.environ = append(w.environ, c.key+"="+c.value)
		if _, report := w.load(0); len(report) > 0 {
			t.Errorf("%s=%s:\n%s", c.key, c.value, rendered(t, report))
		}
	}
}

func TestJumpHost(t *testing.T) {
	for _, c := range []struct {
		text string
		want host.Config
		ok   bool
	}{
		{"bastion", host.Config{Address: "bastion", Port: 22}, true},
		{"me@bastion:2200", host.Config{User: "me", Address: "bastion", Port: 2200}, true},
		{"me@192.0.2.1", host.Config{User: "me", Address: "192.0.2.1", Port: 22}, true},
		{"me@[2001:db8::1]:2200", host.Config{User: "me", Address: "2001:db8::1", Port: 2200}, true},
		{"[2001:db8::1]", host.Config{Address: "2001:db8::1", Port: 22}, true},
		{"2001:db8::1", host.Config{Address: "2001:db8::1", Port: 22}, true},
		{"me@", host.Config{}, false},
		{"@bastion", host.Config{}, false},
		{"bastion:", host.Config{}, false},
		{"bastion:ssh", host.Config{}, false},
		{"[bastion]", host.Config{}, false},
		{"[::1", host.Config{}, false},
		{"[::1]22", host.Config{}, false},
		{"a,b", host.Config{}, false},
	} {
		got, ok := parseAddress(c.text)
		if ok != c.ok || ok && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: got %+v, %v, want %+v, %v", c.text, got, ok, c.want, c.ok)
		}
	}
	w := newWorld(t)
	w.environ = append(w.environ, "DEPLOY_JUMP_HOST=bastion", "DEPLOY_USER=deploy")
	config, _ := w.load(0)
	if got := config.Host.Jump; got == nil || got.User != "deploy" {
		t.Errorf("a jump host without a user: got %+v, want the user of the host", got)
	}
}

func TestDeployFiles(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*world)
		env    string // added to enough, of which keys set here are left out
		want   string // DIR stands for the folder
	}{
		{"all there", nil, "", ""},
		{"no such key file", nil, "DEPLOY_SSH_KEY_FILE=~/none",
			"✗ .env:9: DEPLOY_SSH_KEY_FILE names DIR/none: no such file or directory\n  fix: correct the path, or make the key with ssh-keygen\n"},
		{"a key file that is a folder", nil, "DEPLOY_SSH_KEY_FILE=~/.ssh",
			"✗ .env:9: DEPLOY_SSH_KEY_FILE names DIR/.ssh, which is not a file\n  fix: name the private key itself\n"},
		{"a key file for all to read", func(w *world) { _ = os.Chmod(w.path("id"), 0o644) }, "",
			"✗ .env:5: DEPLOY_SSH_KEY_FILE names DIR/id, which others can get at (mode 0644)\n  fix: chmod 600 DIR/id\n"},
		{"no HOME", func(w *world) { w.environ = []string{"DEPLOY_KNOWN_HOSTS_FILE=" + w.path(".ssh/known_hosts")} }, "",
			"✗ .env:5: DEPLOY_SSH_KEY_FILE begins with ~/, and there is no HOME\n  fix: write the whole path\n" +
				"✗ .env:5: DEPLOY_SSH_KEY_FILE names ~/id: no such file or directory\n  fix: correct the path, or make the key with ssh-keygen\n"},
		{"a public key", func(w *world) { w.write("id", "ssh-ed25519 AAAAC3 me\n") }, "",
			"✗ .env:5: DEPLOY_SSH_KEY_FILE names DIR/id, which is not a private key\n  fix: give the private key, whose first line has BEGIN and PRIVATE KEY in it\n"},
		{"half a key", func(w *world) { w.write("id", w.key[:len(w.key)/2]) }, "",
			"✗ .env:5: DEPLOY_SSH_KEY_FILE names DIR/id, which can't be parsed as a private key: ssh: no key found\n  fix: give the whole text of the key, with its first and last line and its line breaks\n"},
		{"a locked key", (*world).lock, "",
			"✗ .env:5: DEPLOY_SSH_KEY_FILE names DIR/id, which has a passphrase, and DEPLOY_SSH_KEY_PASSPHRASE is not set\n  fix: set DEPLOY_SSH_KEY_PASSPHRASE, or use a key without a passphrase\n"},
		{"a locked key and its passphrase", (*world).lock, "DEPLOY_SSH_KEY_PASSPHRASE=" + passphrase, ""},
		{"a locked key and another passphrase", (*world).lock, "DEPLOY_SSH_KEY_PASSPHRASE=x",
			"✗ .env:5: DEPLOY_SSH_KEY_FILE names DIR/id, which doesn't open with DEPLOY_SSH_KEY_PASSPHRASE\n  fix: set DEPLOY_SSH_KEY_PASSPHRASE to the key's own\n"},
		{"an open key and a passphrase", nil, "DEPLOY_SSH_KEY_PASSPHRASE=x", ""},
		{"the key itself", func(w *world) { w.environ = append(w.environ, "DEPLOY_SSH_KEY="+w.key) }, "DEPLOY_SSH_KEY_FILE=", ""},
		{"the key itself, Windows line ends", func(w *world) {
			w.environ = append(w.environ, "DEPLOY_SSH_KEY="+strings.ReplaceAll(w.key, "\n", "\r\n"))
		}, "DEPLOY_SSH_KEY_FILE=", ""},
		{"the key itself without its line breaks", func(w *world) {
			w.environ = append(w.environ, "DEPLOY_SSH_KEY="+strings.ReplaceAll(w.key, "\n", " "))
		}, "DEPLOY_SSH_KEY_FILE=",
			"✗ environment: DEPLOY_SSH_KEY can't be parsed as a private key: ssh: no key found\n  fix: give the whole text of the key, with its first and last line and its line breaks\n"},
		{"two keys", func(w *world) { w.environ = append(w.environ, "DEPLOY_SSH_KEY="+w.key) }, "",
			"✗ environment: DEPLOY_SSH_KEY and DEPLOY_SSH_KEY_FILE are both set\n  fix: keep one of them\n"},
		{"no known hosts", func(w *world) { _ = os.Remove(w.path(".ssh/known_hosts")) }, "",
			"✗ default: DEPLOY_KNOWN_HOSTS_FILE names DIR/.ssh/known_hosts: no such file or directory\n  fix: give the host's key in DEPLOY_KNOWN_HOSTS or DEPLOY_KNOWN_HOSTS_FILE; ssh-keyscan prints it, compare it with the host's own\n"},
		{"empty known hosts", func(w *world) { w.write(".ssh/known_hosts", "# none yet\n") }, "",
			"✗ default: DEPLOY_KNOWN_HOSTS_FILE has no host keys in it\n  fix: give the host's key; ssh-keyscan prints it, compare it with the host's own\n"},
		{"a bad line among known hosts", func(w *world) {
			w.write(".ssh/known_hosts", "\nerp.example.com ssh-ed25519 !!!\nerp.example.com xmss@openssh.com AAAAEHhtc3NAb3BlbnNzaC5jb20=\n")
		}, "",
			"✗ DIR/.ssh/known_hosts:2: this is not a line of a known_hosts file\n  fix: correct or remove the line\n"},
		{"known hosts in place of the default file", func(w *world) {
			known, err := os.ReadFile(w.path(".ssh/known_hosts"))
			if err != nil {
				w.t.Fatal(err)
			}
			_ = os.Remove(w.path(".ssh/known_hosts"))
			w.environ = append(w.environ, "DEPLOY_KNOWN_HOSTS="+string(known))
		}, "", ""},
		{"a bad line in known hosts themselves", nil, "DEPLOY_KNOWN_HOSTS=\"# x\nerp.example.com\"",
			"✗ .env:10: DEPLOY_KNOWN_HOSTS is not in the format of known_hosts: see its line 2\n  fix: correct or remove the line\n"},
		{"known hosts twice", nil, "DEPLOY_KNOWN_HOSTS_FILE=~/.ssh/known_hosts\nDEPLOY_KNOWN_HOSTS='# x'",
			"✗ .env:11: DEPLOY_KNOWN_HOSTS and DEPLOY_KNOWN_HOSTS_FILE are both set\n  fix: keep one of them\n" +
				"✗ .env:11: DEPLOY_KNOWN_HOSTS has no host keys in it\n  fix: give the host's key; ssh-keyscan prints it, compare it with the host's own\n"},
		{"no folder with hooks where one was named", nil, "HOOKS_DIR=deploy/hooks",
			"✗ .env:10: HOOKS_DIR names deploy/hooks: no such file or directory\n  fix: correct the path; it is relative to the current folder\n"},
		{"a file in place of the folder with hooks", func(w *world) { w.write("deploy/hooks", "") }, "",
			"✗ default: HOOKS_DIR names deploy/hooks, which is not a folder\n  fix: name the folder that the hooks are in\n"},
		{"no compose file", nil, "COMPOSE_FILES=none.yaml,deploy",
			"✗ .env:10: COMPOSE_FILES names none.yaml: no such file or directory\n  fix: correct the path; it is relative to the current folder\n" +
				"✗ .env:10: COMPOSE_FILES names deploy, which is not a file\n  fix: name the file itself\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			var kept bytes.Buffer
			for line := range strings.Lines(enough) {
				key, _, _ := strings.Cut(line, "=")
				if !strings.Contains("\n"+c.env, "\n"+key+"=") {
					kept.WriteString(line)
				}
			}
			w.write(".env", kept.String()+c.env+"\n")
			if c.change != nil {
				c.change(w)
			}
			_, report := w.load(Deploy)
			got := strings.ReplaceAll(rendered(t, report), w.dir, "DIR")
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			// Who only builds needs none of these files.
			if _, report := w.load(Build | Push); len(report) > 0 && !strings.Contains(c.want, "both set") && c.name != "no HOME" {
				t.Errorf("to build, there are problems:\n%s", rendered(t, report))
			}
		})
	}
}

// A command that only looks at the host needs the way to it, and neither
// passwords nor the files of a checkout.
func TestHostAccessNeedsTheWayToTheHost(t *testing.T) {
	w := newWorld(t)
	if err := os.RemoveAll(w.path("deploy")); err != nil {
		t.Fatal(err)
	}
	w.write(".env", "DEPLOY_SSH_KEY_FILE=~/id\nTRAEFIK_LEVEL=INFO\nHOOKS_DIR=hooks\n")
	_, report := w.load(HostAccess)
	want := ""
	for _, missing := range []string{
		"DEPLOY_HOST is not set, but needed for host commands (Host that runs the site)\n  fix: set it in .env or with --host",
		"DEPLOY_USER is not set, but needed for host commands (User to log in as; it must be able to use Docker)\n  fix: set it in .env",
		"COMPOSE_PROJECT_NAME is not set, but needed for host commands (Name of the compose project)\n  fix: set it in .env or with --project",
		"SITE_NAME is not set, but needed for host commands (Name of the site: the host name under which people open it)\n  fix: set it in .env or with --site",
	} {
		want += "✗ .env: " + missing + "\n"
	}
	if got := rendered(t, report); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	w.write(".env", "DEPLOY_SSH_KEY_FILE=~/none\nDEPLOY_HOST=erp.example.com\nDEPLOY_USER=deploy\nCOMPOSE_PROJECT_NAME=erp\nSITE_NAME=erp.example.com\n")
	_, report = w.load(HostAccess)
	if len(report) != 1 || !strings.Contains(report[0].Error(), "DEPLOY_SSH_KEY_FILE names") {
		t.Errorf("without the key, got\n%s", rendered(t, report))
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.flags["SITE_NAME"] = "not a site"
	w.environ = append(w.environ, "PYTHON_VERSION=3")
	w.write(".env", "DE_SITE_VERSION=latest\nFOO=1\nnonsense\nNODE_VERSION=18\n")
	_, report := w.load(Build)
	var places []string
	for _, p := range report {
		places = append(places, p.Code+" "+p.Subject)
		if p.Remedy == "" {
			t.Errorf("%s has no remedy", p.Error())
		}
	}
	want := []string{"config.env-line .env:3", "config.unknown .env:2", "config.missing .env", "config.value .env:1", "config.value environment", "config.value .env:4", "config.value --site"}
	if !reflect.DeepEqual(places, want) {
		t.Errorf("got %q\nwant %q", places, want)
	}
}

// FuzzLoad holds that no .env brings the loader down or gets its passwords
// printed.
func FuzzLoad(f *testing.F) {
	f.Add(enough, uint8(7))
	f.Add("PLATFORMS=,linux/amd64\nCHROMIUM=https://{arch}\nWKHTMLTOPDF_URL=https://%\nWKHTMLTOPDF_SHA256=amd64=,\nIMAGE_MIRROR=@/:\nNPM_REGISTRY_URL=http://[\nSIGNING_KEY='-----BEGIN EC PRIVATE KEY-----'", uint8(3))
	f.Add("REGISTRY=[::1\nDEPLOY_JUMP_HOST=@:\nCOMPOSE_FILES=,\nDEPLOY_KNOWN_HOSTS=|1|x\nDEPLOY_SSH_KEY='-----BEGIN PRIVATE KEY-----'", uint8(4))
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, text string, need uint8) {
		const value = "hunter2-is-secret"
		config, report := Load(Sources{
			Environ: append([]string{"RESTIC_PASSWORD=" + value, "PYPI_INDEX_URL=http://bot:" + value + "@example.com/simple", "SIGNING_KEY_PASSWORD=" + value}, w.environ...), EnvFile: ".env",
			CAFolder: w.path("ca"),
			ReadFile: func(name string) ([]byte, error) {
				if name == ".env" {
					return []byte(text), nil
				}
				return os.ReadFile(name)
			},
		}, Need(need), nil)
		for _, p := range report {
			if p.Subject == "" || p.Detail == "" || p.Remedy == "" || p.Code == "" {
				t.Errorf("incomplete problem: %#v", p)
			}
		}
		if printed := fmt.Sprintf("%+v", config) + rendered(t, report); !strings.Contains(text, value) && strings.Contains(printed, value) {
			t.Errorf("the password is printed: %s", printed)
		}
	})
}
