package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Need is a set of things that a command is going to do. It decides which
// keys must have a value.
type Need int

// What a command can be going to do.
const (
	Build Need = 1 << iota
	Push
	Deploy
	// HostAccess is to reach the host and its live release, and no more: to show
	// what is there, or to run something in it.
	HostAccess
)

// String lists what is needed, for instance "build, push".
func (n Need) String() string {
	var names []string
	for _, one := range []struct {
		need Need
		name string
	}{{Build, "build"}, {Push, "push"}, {Deploy, "deploy"}, {HostAccess, "host commands"}} {
		if n&one.need != 0 {
			names = append(names, one.name)
		}
	}
	return strings.Join(names, ", ")
}

// keys are the values of all keys as text. Its tags are the one schema of the
// configuration: the loader, de-example.env and the table in README.md come
// from them.
//
//	env      the key and its default
//	alias    an older name of the key
//	flag     the flag of the same meaning, without dashes
//	group    the heading that begins here
//	need     what can't be done without a value
//	secret   the value is a credential
//	example  the company's value in de-example.env
//	doc      what it is for
type keys struct {
	SiteVersion string `env:"DE_SITE_VERSION" group:"The release" flag:"version" need:"build push" example:"1.1.5" doc:"Site version: the tag of the image. Raise it for every release; a version names one image for ever."`
	AppsFile    string `env:"APPS_FILE, default=apps.json" flag:"apps" doc:"File with the apps of the image and their branches, tags or commits."`
	Token       string `env:"DE_MACRS_PAT" alias:"PAT_DESIRED_EFFECT" secret:"true" doc:"GitHub access token for the private apps: the value of that placeholder in the apps file. The older name PAT_DESIRED_EFFECT works as well."`

	FrappePath   string `env:"FRAPPE_PATH, default=https://github.com/frappe/frappe" group:"The image" doc:"Repository of frappe, where the apps file has none."`
	FrappeBranch string `env:"FRAPPE_BRANCH" doc:"Branch, tag or commit of frappe, where the apps file has none. Where it has one, they must agree."`
	Python       string `env:"PYTHON_VERSION, default=3.11.6" example:"3.11.6" doc:"Python in the image, in full."`
	Node         string `env:"NODE_VERSION, default=18.18.2" example:"18.18.2" doc:"Node.js in the image, in full."`
	PackagesAsOf string `env:"PACKAGES_AS_OF" doc:"Take no Python package published after this day or time (2024-03-20 or 2024-03-20T12:00:00Z). Without it a first release takes those of the day of its frappe."`
	Platforms    string `env:"PLATFORMS" flag:"platform" doc:"Platforms of the image, separated by commas: linux/amd64, linux/arm64 or both. Without it the engine's own."`
	ImageName    string `env:"IMAGE_NAME" need:"build push deploy" example:"desiredeffect/erpnext-custom" doc:"Name of the image, without registry and tag."`

	WkhtmltopdfURL    string `env:"WKHTMLTOPDF_URL" group:"Makers of PDFs in the image" doc:"Debian package of wkhtmltopdf with patched Qt, as an https URL; {arch} in it stands for amd64 or arm64. Without it Debian's own, which is not patched. Needs WKHTMLTOPDF_SHA256."`
	WkhtmltopdfSHA256 string `env:"WKHTMLTOPDF_SHA256" doc:"SHA-256 checksum of that package in hexadecimal; with {arch} in the URL one for each, as amd64=HEX,arm64=HEX. Needs WKHTMLTOPDF_URL."`
	Chromium          string `env:"CHROMIUM" doc:"Chromium: debian for Debian's package, or the https URL of a .zip of chrome-headless-shell, with {arch} as above. Without it there is none. A URL needs CHROMIUM_SHA256."`
	ChromiumSHA256    string `env:"CHROMIUM_SHA256" doc:"SHA-256 checksum of that .zip, written as WKHTMLTOPDF_SHA256 is. Needs a URL in CHROMIUM."`

	PyPIIndexURL   string `env:"PYPI_INDEX_URL" group:"Mirrors for the build" secret:"true" doc:"Index in place of PyPI for pip and uv, such as https://pypi.example.com/simple. It may have user:password@ in it."`
	NPMRegistryURL string `env:"NPM_REGISTRY_URL" secret:"true" doc:"Registry in place of npm's for yarn. It may have user:password@ in it."`
	AptMirrorURL   string `env:"APT_MIRROR_URL" secret:"true" doc:"Server in place of http://deb.debian.org, with /debian and /debian-security below it. It may have user:password@ in it."`
	ImageMirror    string `env:"IMAGE_MIRROR" doc:"Registry in place of Docker Hub for base images, as host or host:port, with a path or without. With mirror.example.com/hub, python comes from mirror.example.com/hub/library/python."`
	ExtraCAFile    string `env:"EXTRA_CA_FILE" doc:"File with certificates in PEM, such as a company's own CA, that are trusted while building and don't get into the image. Without it those of this machine, /usr/local/share/ca-certificates/*.crt."`

	Registry         string `env:"REGISTRY" group:"The registry" doc:"Registry to push to, as host or host:port. Without one the host pulls through the SSH connection from a registry inside the pipeline."`
	RegistryUsername string `env:"REGISTRY_USERNAME" doc:"User name at the registry. Needs REGISTRY_PASSWORD."`
	RegistryPassword string `env:"REGISTRY_PASSWORD" secret:"true" doc:"Password or token at the registry. Needs REGISTRY_USERNAME."`

	SigningKey         string `env:"SIGNING_KEY" group:"The signature" secret:"true" doc:"Private key of cosign that signs the image, its whole text. Without this and SIGNING_KEY_FILE the image is not signed."`
	SigningKeyFile     string `env:"SIGNING_KEY_FILE" doc:"File with that private key, readable by nobody else."`
	SigningKeyPassword string `env:"SIGNING_KEY_PASSWORD" secret:"true" doc:"Password of that private key. An encrypted key needs it."`

	GitHubAPIURL string `env:"GITHUB_API_URL, default=https://api.github.com" group:"GitHub" doc:"Where GitHub's REST API is. GitHub Actions sets it."`
	GitHubToken  string `env:"GITHUB_TOKEN" secret:"true" doc:"Token for public repositories, which otherwise share a low rate limit."`

	Host             string `env:"DEPLOY_HOST" group:"The host" flag:"host" need:"deploy host" doc:"Host that runs the site. Without one a release ends with the image."`
	Port             string `env:"DEPLOY_PORT, default=22" doc:"Port of its SSH server."`
	User             string `env:"DEPLOY_USER" need:"deploy host" doc:"User to log in as; it must be able to use Docker."`
	SSHKey           string `env:"DEPLOY_SSH_KEY" secret:"true" doc:"Private key to log in with, its whole text. Reaching the host needs this, DEPLOY_SSH_KEY_FILE or an SSH agent."`
	SSHKeyFile       string `env:"DEPLOY_SSH_KEY_FILE" doc:"File with the private key, readable by nobody else."`
	SSHKeyPassphrase string `env:"DEPLOY_SSH_KEY_PASSPHRASE" secret:"true" doc:"Passphrase of the private key, if it has one."`
	KnownHosts       string `env:"DEPLOY_KNOWN_HOSTS" doc:"Host keys that are accepted, in the format of known_hosts, their whole text. Used in place of DEPLOY_KNOWN_HOSTS_FILE."`
	KnownHostsFile   string `env:"DEPLOY_KNOWN_HOSTS_FILE, default=~/.ssh/known_hosts" doc:"File with the host keys that are accepted."`
	JumpHost         string `env:"DEPLOY_JUMP_HOST" doc:"Host to connect through, as user@host:port; user and port may be left out."`
	Dir              string `env:"DEPLOY_DIR, default=/opt/erpnext" doc:"Folder on the host for releases, backups and journals."`

	Strategy     string `env:"DEPLOY_STRATEGY, default=cycle" group:"How a release goes live" flag:"strategy" doc:"How the new release takes over: cycle takes the old bench down and then brings the new one up, as the checklist does; swap brings the new one up beside the old one. Data services and the proxy stay up where they are the same in both, which swap asks for."`
	BackupFiles  string `env:"BACKUP_FILES, default=false" doc:"Whether the backup before a migration takes the site's public and private files too, and not the database alone: true or false."`
	DrainSeconds string `env:"DRAIN_SECONDS, default=300" doc:"How long to wait for running and queued jobs to end, in seconds, before a release gives up with nothing changed."`
	KeepReleases string `env:"KEEP_RELEASES, default=3" doc:"How many releases before the live one keep their image, compose files and backup on the host, for a rollback. At least 1."`
	HooksDir     string `env:"HOOKS_DIR, default=deploy/hooks" doc:"Folder with programs that the host runs before and after parts of a release. The default one need not exist."`

	Project      string `env:"COMPOSE_PROJECT_NAME" group:"The compose project" flag:"project" need:"deploy host" example:"de-erpnext" doc:"Name of the compose project. Never change it: the volumes with the data carry it."`
	ComposeFiles string `env:"COMPOSE_FILES, default=deploy/compose/compose-main.yaml" doc:"Compose files in the order in which compose reads them, separated by commas."`
	SiteName     string `env:"SITE_NAME" flag:"site" need:"deploy host" doc:"Name of the site: the host name under which people open it."`
	HTTPPort     string `env:"HTTP_PORT, default=80" doc:"Port of the host on which the site answers."`

	AdminPassword  string `env:"ADMIN_PASSWORD" secret:"true" need:"deploy" doc:"Password of the site's Administrator, for a new site."`
	DBRootPassword string `env:"DB_ROOT_PASSWORD" secret:"true" need:"deploy" doc:"Password of the database's root user; restoring a backup needs it."`

	GunicornWorkers   string `env:"GUNICORN_WORKERS, default=2" doc:"Worker processes of the backend."`
	GunicornThreads   string `env:"GUNICORN_THREADS, default=4" doc:"Threads of each of these processes."`
	ClientMaxBodySize string `env:"CLIENT_MAX_BODY_SIZE, default=50m" doc:"Largest upload, in nginx's notation."`
	ProxyReadTimeout  string `env:"PROXY_READ_TIMEOUT, default=120" doc:"How long the frontend waits for an answer of the backend, in seconds or nginx's notation."`

	ResticRepository string `env:"RESTIC_REPOSITORY" doc:"Where restic stores backups. Needs RESTIC_PASSWORD."`
	ResticPassword   string `env:"RESTIC_PASSWORD" secret:"true" doc:"Password of restic's repository. Needs RESTIC_REPOSITORY."`
}

// Key is one entry of the schema.
type Key struct {
	// Name is the environment variable, Alias an older name of it.
	Name, Alias string
	// Flag is the flag of the same meaning, without dashes; empty if there
	// is none.
	Flag string
	// Group is the heading that the key stands under.
	Group string
	// Doc says what it is for.
	Doc string
	// Default is used where there is no value.
	Default string
	// Example is the company's own value.
	Example string
	// Need is what can't be done without a value.
	Need Need
	// Secret says that the value is a credential.
	Secret bool
}

// Schema gives all keys in the order in which a person reads them.
func Schema() []Key {
	fields := reflect.TypeFor[keys]()
	schema := make([]Key, fields.NumField())
	group := ""
	for i := range schema {
		tag := fields.Field(i).Tag
		name, option, _ := strings.Cut(tag.Get("env"), ",")
		if heading := tag.Get("group"); heading != "" {
			group = heading
		}
		need := Need(0)
		for _, word := range strings.Fields(tag.Get("need")) {
			need |= map[string]Need{"build": Build, "push": Push, "deploy": Deploy, "host": HostAccess}[word]
		}
		schema[i] = Key{
			Name: name, Alias: tag.Get("alias"), Flag: tag.Get("flag"), Group: group, Doc: tag.Get("doc"),
			Default: strings.TrimPrefix(strings.TrimSpace(option), "default="),
			Example: tag.Get("example"), Need: need, Secret: tag.Get("secret") != "",
		}
	}
	return schema
}

// exampleWidth is the width of comments in de-example.env, in characters.
const exampleWidth = 76

// ExampleEnv gives the text of de-example.env: every key with what it is for,
// its default and what needs it, and the company's values. A key that may
// stay without a value is commented out.
func ExampleEnv() string {
	var b strings.Builder
	comment := func(text string) {
		line := "#"
		for _, word := range strings.Fields(text) {
			if len(line)+1+len(word) > exampleWidth {
				fmt.Fprintln(&b, line)
				line = "#"
			}
			line += " " + word
		}
		fmt.Fprintln(&b, line)
	}
	comment("Configuration of the pipeline and of the compose project, with every key there is. Copy it to .env and fill it in. Values follow compose's rules for this file, because compose reads it as well: in single quotes nothing is replaced; elsewhere write $$ for a dollar sign. An empty value counts as none. Host commands are those that only reach the host, such as status, history, bench and logs.")
	group := ""
	for _, k := range Schema() {
		if k.Group != group {
			group = k.Group
			fmt.Fprintf(&b, "\n\n# --- %s ---\n", group)
		}
		fmt.Fprintln(&b)
		comment(k.Doc)
		var facts []string
		if k.Need != 0 {
			facts = append(facts, "Required for: "+k.Need.String()+".")
		} else {
			facts = append(facts, "Optional.")
		}
		if k.Default != "" {
			facts = append(facts, "Default: "+k.Default)
		}
		comment(strings.Join(facts, " "))
		switch {
		case k.Example != "":
			fmt.Fprintf(&b, "%s=%s\n", k.Name, k.Example)
		case k.Need != 0:
			fmt.Fprintf(&b, "%s=\n", k.Name)
		default:
			fmt.Fprintf(&b, "# %s=%s\n", k.Name, k.Default)
		}
	}
	return b.String()
}

// MarkdownTable gives the table of all keys for README.md.
func MarkdownTable() string {
	var b strings.Builder
	b.WriteString("| key | for | default | required for |\n|---|---|---|---|\n")
	for _, k := range Schema() {
		name, fallback := "`"+k.Name+"`", ""
		if k.Flag != "" {
			name += "<br>`--" + k.Flag + "`"
		}
		if k.Default != "" {
			fallback = "`" + k.Default + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, k.Doc, fallback, k.Need)
	}
	return b.String()
}
