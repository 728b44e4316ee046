package config

import (
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/internal/engine"
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
	// RegistryAccess is to reach the registry, and to tidy up there.
	RegistryAccess
	// Certificate is to put a certificate live.
	Certificate
)

// String lists what is needed, for instance "build, push".
func (n Need) String() string {
	var names []string
	for _, one := range []struct {
		need Need
		name string
	}{{Build, "build"}, {Push, "push"}, {Deploy, "deploy"}, {HostAccess, "host commands"}, {RegistryAccess, "prune --stages"}, {Certificate, "certificate"}} {
		if n&one.need != 0 {
			names = append(names, one.name)
		}
	}
	return strings.Join(names, ", ")
}

// Key is one entry of the schema.
type Key struct {
	// Name is the environment variable, Alias another name of it.
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
	// Example is the company's own value in de-example.env.
	Example string
	// Need is what can't be done without a value.
	Need Need
	// Secret marks the value as a credential.
	Secret bool
	// PlaceOnly marks what belongs to one place that releases go to: a sandbox is
	// another one, with its own, and must not reach the real one.
	PlaceOnly bool
	// ReleaseOnly marks what a rollback does not read: it takes the image and
	// the files of the earlier release as they are on the host.
	ReleaseOnly bool
	// Elsewhere is where a workflow has the value from, if that is neither a
	// secret nor a variable: its env leaves the key out.
	Elsewhere string
	// Expression gives a workflow the value, if that is not the secret or the
	// variable of the key's name.
	Expression string

	// parse reads the value into the field that it is for.
	parse parser
}

// Schema returns all keys in reading order.
func Schema() []Key { return schema(newConfig()) }

// schema is the one list of the keys: flags, de-example.env, the table in
// README.md, the env of the workflows and [Load] follow it. Its parsers fill
// the Config.
//
// A key is added here, and as a field of the struct that uses it.
func schema(c *Config) []Key {
	var all []Key
	for _, group := range []struct {
		heading                string
		keys                   []Key
		releaseOnly, placeOnly bool
	}{
		{"The release", releaseKeys(c), true, false},
		{"The image", imageKeys(c), true, false},
		{"Makers of PDFs in the image", pdfKeys(c), true, false},
		{"Mirrors for the build", mirrorKeys(c), true, false},
		{"The engine", engineKeys(c), true, true},
		{"The registry", registryKeys(c), true, true},
		{"The signature", signatureKeys(c), true, true},
		{"GitHub", gitHubKeys(c), true, false},
		{"The host", hostKeys(c), false, true},
		{"How a release goes live", strategyKeys(c), false, false},
		{"The compose project", composeKeys(c), false, false},
		{"HTTPS", tlsKeys(c), false, true},
	} {
		for _, k := range group.keys {
			k.Group = group.heading
			k.ReleaseOnly = k.ReleaseOnly || group.releaseOnly
			k.PlaceOnly = k.PlaceOnly || group.placeOnly
			all = append(all, k)
		}
	}
	return all
}

func releaseKeys(c *Config) []Key {
	return []Key{
		{Name: "DE_SITE_VERSION", Flag: "version", Example: "1.1.5", Need: Build | Push, Elsewhere: "the tag or the input", parse: text(&c.Lock.SiteVersion).where(siteVersion),
			Doc: "Site version: the tag of the image. Raise it for every release; a version names one image for ever."},
		{Name: "APPS_FILE", Flag: "apps", Default: "apps.json", Elsewhere: "the repository", parse: text(&c.Apps.Path),
			Doc: "File with the apps of the image and their branches, tags or commits."},
		{Name: "DE_MACRS_PAT", Alias: "PAT_DESIRED_EFFECT", Secret: true, parse: named().where(wellCopied),
			Doc: "GitHub access token for the private apps: the value of that placeholder in the apps file. The older name PAT_DESIRED_EFFECT works as well."},
	}
}

func imageKeys(c *Config) []Key {
	return []Key{
		{Name: "FRAPPE_PATH", Default: "https://github.com/frappe/frappe", parse: text(&c.Apps.Frappe.URL).where(serverURL),
			Doc: "Repository of frappe, where the apps file has none."},
		{Name: "FRAPPE_BRANCH", parse: text(&c.Apps.Frappe.Ref),
			Doc: "Branch, tag or commit of frappe, where the apps file has none. Where it has one, they must agree."},
		{Name: "PYTHON_VERSION", parse: text(&c.Lock.Python).where(fullVersion("3.11.6")),
			Doc: "Python in the image, in full. Without it one that Frappe runs on: 3.10.14 for version 14, 3.11.6 for 15, 3.14.2 for 16."},
		{Name: "NODE_VERSION", parse: text(&c.Lock.Node).where(fullVersion("18.18.2")),
			Doc: "Node.js in the image, in full. Without it one that Frappe runs on: 16.20.2 for version 14, 18.18.2 for 15, 24.13.0 for 16."},
		{Name: "PACKAGES_AS_OF", parse: moment(&c.Image.PackagesAsOf),
			Doc: "Take no Python package published after this day or time (2024-03-20 or 2024-03-20T12:00:00Z). Without it a first release takes those of the day of its frappe."},
		{Name: "PLATFORMS", Flag: "platform", parse: platforms(&c.Image.Platforms),
			Doc: "Platforms of the image, separated by commas: linux/amd64, linux/arm64 or both. Without it the engine's own."},
		{Name: "APT_PACKAGES", parse: aptPackages(&c.Lock.AptPackages),
			Doc: "Debian packages in the image, and where Python packages are compiled, separated by spaces, beside those that apps ask for in [deploy.dependencies.apt] of their pyproject.toml. A dash in front leaves one of these out, or wkhtmltopdf."},
		{Name: "IMAGE_NAME", Example: "desiredeffect/erpnext-custom", Need: Build | Push | Deploy | RegistryAccess, parse: text(&c.Registry.Name).where(imageName),
			Doc: "Name of the image, without registry and tag."},
	}
}

func pdfKeys(c *Config) []Key {
	return []Key{
		{Name: "WKHTMLTOPDF_URL", parse: text(&c.Lock.Wkhtmltopdf.URL),
			Doc: "wkhtmltopdf with patched Qt: patched for the package that its makers published last, or another Debian package as an https URL, which needs WKHTMLTOPDF_SHA256; {arch} in it stands for amd64 or arm64. Without it Debian's own, which is not patched."},
		{Name: "WKHTMLTOPDF_SHA256", parse: checksums(&c.Lock.Wkhtmltopdf.SHA256),
			Doc: "SHA-256 checksum of that package in hexadecimal; with {arch} in the URL one for each, as amd64=HEX,arm64=HEX. Needs WKHTMLTOPDF_URL."},
		{Name: "CHROMIUM", parse: chromium(&c.Lock.Chromium.URL, &c.Lock.DebianChromium),
			Doc: "Chromium: debian for Debian's package, or the https URL of a .zip of chrome-headless-shell, with {arch} as above. Without it there is none. A URL needs CHROMIUM_SHA256."},
		{Name: "CHROMIUM_SHA256", parse: checksums(&c.Lock.Chromium.SHA256),
			Doc: "SHA-256 checksum of that .zip, written as WKHTMLTOPDF_SHA256 is. Needs a URL in CHROMIUM."},
	}
}

func mirrorKeys(c *Config) []Key {
	return []Key{
		{Name: "PYPI_INDEX_URL", Secret: true, parse: mirror(&c.Image.Mirrors.PyPI),
			Doc: "Index in place of PyPI for pip and uv, such as https://pypi.example.com/simple. It may have user:password@ in it."},
		{Name: "NPM_REGISTRY_URL", Secret: true, parse: mirror(&c.Image.Mirrors.NPM),
			Doc: "Registry in place of npm's public one. It may have user:password@ in it, or _authToken:TOKEN@."},
		{Name: "NPM_REGISTRIES", Secret: true, parse: registries(&c.Image.Mirrors.Registries),
			Doc: "Private registries of Node packages with their logins, separated by commas or blanks: @acme=https://user:password@npm.example.com/path for the packages of a scope, or with a token @acme=https://_authToken:TOKEN@npm.example.com. Without @acme= it is the login alone, at a registry that apps name themselves."},
		{Name: "APT_MIRROR_URL", Secret: true, parse: mirror(&c.Image.Mirrors.Apt),
			Doc: "Server in place of http://deb.debian.org, with /debian and /debian-security below it. It may have user:password@ in it."},
		{Name: "IMAGE_MIRROR", parse: trimmed(&c.Image.Mirrors.Images).where(imageMirror),
			Doc: "Registry in place of Docker Hub for base images, as host or host:port, with a path or without. With mirror.example.com/hub, python comes from mirror.example.com/hub/library/python."},
		{Name: "EXTRA_CA_FILE", parse: certificates(&c.Image.Mirrors.CAs),
			Doc: "File with certificates in PEM, such as a company's own CA, that are trusted where apps are asked for and while building, and don't get into the image. Without it those of this machine, /usr/local/share/ca-certificates/*.crt."},
	}
}

func engineKeys(c *Config) []Key {
	return []Key{
		{Name: "DAGGER_RUNNER_HOST", Alias: engine.RunnerHostVariable, Elsewhere: "the runner", parse: text(&c.Engine.RunnerHost),
			Doc: "Dagger engine that builds, such as tcp://builder.example.com:1234 or unix:///run/dagger.sock. Without it one that is started through Docker. Dagger's own name for it, " + engine.RunnerHostVariable + ", works as well."},
		{Name: "DAGGER_CLI_BIN", Alias: engine.CLIVariable, Elsewhere: "the runner", parse: file(&c.Engine.CLI),
			Doc: "Dagger's command on this machine, of version " + engine.Version + ". Without it that one is downloaded. Dagger's own name for it, " + engine.CLIVariable + ", works as well."},
		{Name: "SANDBOX", Elsewhere: "pipeline sandbox", parse: text(&c.Sandbox),
			Doc: "Folder of the sandbox that a .env file is for. pipeline sandbox writes it, and with it what leads to an engine, a registry or a host may come from that file alone."},
	}
}

func registryKeys(c *Config) []Key {
	return []Key{
		{Name: "REGISTRY", parse: text(&c.Registry.Host).where(registryHost),
			Doc: "Registry to push to, as host or host:port. Without one the host pulls through the SSH connection from a registry inside the pipeline."},
		{Name: "REGISTRY_USERNAME", parse: text(&c.Registry.Username),
			Doc: "User name at the registry. Needs REGISTRY_PASSWORD. Without both, the account that docker login or one of its helpers has, if that is one with a password; the host logs in with it too."},
		{Name: "REGISTRY_PASSWORD", Secret: true, parse: credential(&c.Registry.Password),
			Doc: "Password or token at the registry. Needs REGISTRY_USERNAME."},
	}
}

func signatureKeys(c *Config) []Key {
	return []Key{
		{Name: "SIGNING_KEY", Secret: true, parse: secretText(&c.SigningKey.PEM),
			Doc: "Private key of cosign that signs the image, its whole text. Without this and SIGNING_KEY_FILE the image is not signed."},
		{Name: "SIGNING_KEY_FILE", Elsewhere: "SIGNING_KEY", parse: signingKeyFile(&c.SigningKey.PEM),
			Doc: "File with that private key, readable by you alone."},
		{Name: "SIGNING_KEY_PASSWORD", Secret: true, parse: credential(&c.SigningKey.Password),
			Doc: "Password of that private key. An encrypted key needs it."},
	}
}

func gitHubKeys(c *Config) []Key {
	return []Key{
		{Name: "GITHUB_API_URL", Default: "https://api.github.com", Elsewhere: "GitHub Actions", parse: trimmed(&c.GitHubAPIURL).where(serverURL),
			Doc: "Where GitHub's REST API is. GitHub Actions sets it."},
		{Name: "GITHUB_TOKEN", Secret: true, Expression: "github.token", parse: credential(&c.GitHub.Token),
			Doc: "Token for public repositories, which otherwise share a low rate limit."},
	}
}

func hostKeys(c *Config) []Key {
	return []Key{
		{Name: "DEPLOY_HOST", Flag: "host", Need: Deploy | HostAccess, parse: text(&c.Host.Address).where(hostAddress),
			Doc: "Host that runs the site. Without one a release ends with the image."},
		{Name: "DEPLOY_PORT", Default: "22", parse: number(&c.Host.Port, 65535),
			Doc: "Port of its SSH server."},
		{Name: "DEPLOY_USER", Need: Deploy | HostAccess, parse: text(&c.Host.User).where(login),
			Doc: "User to log in as; it must be able to use Docker."},
		{Name: "DEPLOY_SSH_KEY", Secret: true, parse: secretText(&c.Host.Keys[0].PEM),
			Doc: "Private key to log in with, its whole text. Reaching the host needs this, DEPLOY_SSH_KEY_FILE or an SSH agent."},
		{Name: "DEPLOY_SSH_KEY_FILE", Elsewhere: "DEPLOY_SSH_KEY", parse: file(&c.Host.Keys[0].Path),
			Doc: "File with the private key, readable by you alone."},
		{Name: "DEPLOY_SSH_KEY_PASSPHRASE", Secret: true, parse: secretText(&c.Host.Keys[0].Passphrase),
			Doc: "Passphrase of the private key, if it has one."},
		{Name: "DEPLOY_KNOWN_HOSTS", parse: text(&c.Host.KnownHosts[0].Text),
			Doc: "Host keys that are accepted, in the format of known_hosts, their whole text: that of the host, and those of servers that apps are fetched from over SSH. Used in place of DEPLOY_KNOWN_HOSTS_FILE."},
		{Name: "DEPLOY_KNOWN_HOSTS_FILE", Default: "~/.ssh/known_hosts", Elsewhere: "DEPLOY_KNOWN_HOSTS", parse: text(&c.Host.KnownHosts[0].Path),
			Doc: "File with the host keys that are accepted."},
		{Name: "DEPLOY_JUMP_HOST", parse: jumpHost(&c.Host.Jump),
			Doc: "Host to connect through, as user@host:port; user and port may be left out."},
		{Name: "DEPLOY_DIR", Default: "/opt/erpnext", parse: cleaned(&c.Target.Dir).where(hostFolder),
			Doc: "Folder on the host for releases, backups and journals."},
	}
}

func strategyKeys(c *Config) []Key {
	return []Key{
		{Name: "DEPLOY_STRATEGY", Flag: "strategy", Default: deploy.Cycle, parse: text(&c.Target.Strategy).where(oneOf("a strategy", deploy.Cycle, deploy.Swap)),
			Doc: "How the new release takes over: cycle takes the old bench down and then brings the new one up, as the checklist does; swap brings the new one up beside the old one. Data services and the proxy stay up where they are the same in both, which swap asks for."},
		{Name: "BACKUP_FILES", Default: "false", parse: truth(&c.Target.BackupFiles),
			Doc: "Whether the backup before a migration takes the site's public and private files too, and not the database alone: true or false."},
		{Name: "DRAIN_SECONDS", Default: "300", parse: seconds(&c.Target.DrainLimit, 24*60*60),
			Doc: "How long to wait for running and queued jobs to end, in seconds, before a release gives up with nothing changed."},
		{Name: "KEEP_RELEASES", Default: "3", parse: number(&c.Target.KeepReleases, 1000),
			Doc: "How many releases before the live one keep their image, compose files and backup on the host, for a rollback. At least 1."},
		{Name: "HOOKS_DIR", Default: "deploy/hooks", PlaceOnly: true, parse: hooksFolder(&c.Target.HooksDir),
			Doc: "Folder with programs that the host runs before and after parts of a release. The default one need not exist."},
	}
}

func composeKeys(c *Config) []Key {
	return []Key{
		{Name: "COMPOSE_PROJECT_NAME", Flag: "project", Example: "de-erpnext", Need: Deploy | HostAccess, PlaceOnly: true, parse: text(&c.Target.Project).where(projectName),
			Doc: "Name of the compose project. Never change it: the volumes with the data carry it."},
		{Name: "COMPOSE_FILES", Default: "deploy/compose/compose-main.yaml", ReleaseOnly: true, parse: composeFiles(&c.Target.ComposeFiles),
			Doc: "Compose files in the order in which compose reads them, separated by commas. In a folder without deploy/compose it is the program's own, which is the same and goes with the program's version."},
		{Name: "SITE_NAME", Flag: "site", Need: Deploy | HostAccess, PlaceOnly: true, parse: only(&c.Target.Sites).where(siteName),
			Doc: "Name of the site: the host name under which people open it."},
		{Name: "HTTP_PORT", Default: "80", PlaceOnly: true, parse: number(&c.Target.HTTPPort, 65535),
			Doc: "Port of the host on which the site answers."},
		{Name: "ADMIN_PASSWORD", Need: Deploy, Secret: true, ReleaseOnly: true, PlaceOnly: true, parse: secretVariable(c.Target.Secrets),
			Doc: "Password of the site's Administrator, for a new site."},
		{Name: "DB_ROOT_PASSWORD", Need: Deploy, Secret: true, ReleaseOnly: true, PlaceOnly: true, parse: secretVariable(c.Target.Secrets),
			Doc: "Password of the database's root user; restoring a backup needs it."},
		{Name: "GUNICORN_WORKERS", Default: "2", ReleaseOnly: true, parse: variable(c.Target.Variables).where(upTo(1024)),
			Doc: "Worker processes of the backend."},
		{Name: "GUNICORN_THREADS", Default: "4", ReleaseOnly: true, parse: variable(c.Target.Variables).where(upTo(1024)),
			Doc: "Threads of each of these processes."},
		{Name: "CLIENT_MAX_BODY_SIZE", Default: "50m", ReleaseOnly: true, parse: variable(c.Target.Variables).where(nginxSize),
			Doc: "Largest upload, in nginx's notation."},
		{Name: "PROXY_READ_TIMEOUT", Default: "120", ReleaseOnly: true, parse: variable(c.Target.Variables).where(nginxTime),
			Doc: "How long the frontend waits for an answer of the backend, in seconds or nginx's notation."},
		{Name: "EXTRA_CONFIG", Secret: true, ReleaseOnly: true, PlaceOnly: true, parse: hiddenVariable(c.Target.Secrets).where(benchConfig),
			Doc: "More keys of common_site_config.json, for all sites, as a JSON object. They win over the program's own, and go when they are left out."},
		{Name: "RESTIC_REPOSITORY", Secret: true, ReleaseOnly: true, PlaceOnly: true, parse: hiddenVariable(c.Target.Secrets),
			Doc: "Where restic stores backups. It may have user:password@ in it. Needs RESTIC_PASSWORD."},
		{Name: "RESTIC_PASSWORD", Secret: true, ReleaseOnly: true, PlaceOnly: true, parse: secretVariable(c.Target.Secrets),
			Doc: "Password of restic's repository. Needs RESTIC_REPOSITORY."},
	}
}
