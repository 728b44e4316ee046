package image

import (
	"crypto/rand"
	"embed"
	"strings"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// Where everything lies: the layout of the public custom image, which compose
// files written for it expect.
const (
	user = "frappe"
	// owner is user and group of user by their numbers: a name would have the
	// engine look into the file system for it, at each use.
	owner    = "1000:1000"
	home     = "/home/frappe"
	benchDir = home + "/frappe-bench"
)

// Versions of the tools that build the image. They are part of what a build
// reads, so they are pinned; move them on purpose.
const (
	uvVersion    = "0.13.9"
	benchVersion = "5.31.1"
	// benchAsOf fixes what bench's own ranges resolve to.
	benchAsOf   = "2026-11-01T00:00:00Z"
	yarnVersion = "1.22.22"
)

// certificates is the system's trust store. The engine adds the machine's
// own CAs to it for the time of an exec; pip, uv and Node look elsewhere
// unless told.
const certificates = "/etc/ssl/certs/ca-certificates.crt"

// trust names the variables by which each tool finds the trust store.
var trust = []string{"SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"}

// runtimePackages are the system packages of the image: what frappe, nginx,
// the backups and a person in a shell need.
var runtimePackages = []string{
	"ca-certificates", "curl", "file", "gettext-base", "git", "gpg", "jq", "less",
	"libharfbuzz0b", "libpango-1.0-0", "libpangocairo-1.0-0", "libpangoft2-1.0-0",
	"mariadb-client", "media-types", "nginx", "restic", "wait-for-it", "wkhtmltopdf",
}

// buildPackages are needed where a Python package has no wheel. They are not
// in the image.
var buildPackages = []string{
	"build-essential", "libffi-dev", "libjpeg-dev", "libldap2-dev", "libmariadb-dev",
	"libpq-dev", "libsasl2-dev", "pkg-config",
}

//go:embed rootfs
var rootfs embed.FS

// base is the container that the image starts from: Python's image with
// Node, bench, nginx and the entrypoints.
func (b *Builder) base(lock release.Lock) *dagger.Container {
	// Dagger has no way to declare volumes, but keeps those of a Dockerfile.
	dockerfile := "FROM python:" + lock.Python + "-slim-bookworm\n" +
		"VOLUME [\"" + benchDir + "/sites\", \"" + benchDir + "/logs\"]\n"
	c := b.Client.Directory().WithNewFile("Dockerfile", dockerfile).DockerBuild()
	c = script(b.fresh(c).WithEnvVariable("DEBIAN_FRONTEND", "noninteractive"), install(runtimePackages)+`
useradd --create-home --uid 1000 --shell /bin/bash `+user+`
rm -f /etc/nginx/sites-enabled/default
sed -i '/^user /d; s|^pid .*|pid /tmp/nginx.pid;|' /etc/nginx/nginx.conf
ln -sf /dev/stdout /var/log/nginx/access.log
ln -sf /dev/stderr /var/log/nginx/error.log
chown -R `+user+`: /etc/nginx/conf.d /var/log/nginx /var/lib/nginx
`).WithoutEnvVariable("DEBIAN_FRONTEND").WithoutEnvVariable(freshVariable)

	node := b.Client.Container().From("node:" + lock.Node + "-bookworm-slim")
	c = c.WithFile("/usr/local/bin/node", node.File("/usr/local/bin/node")).
		WithDirectory("/opt/bench", b.benchCommand(lock).Directory("/opt/bench"))

	entrypoints := b.Client.Directory()
	for _, name := range []string{
		"usr/local/bin/entrypoint.sh", "usr/local/bin/nginx-entrypoint.sh", "usr/local/bin/start.sh",
		"templates/nginx/frappe.conf.template", "etc/nginx/snippets/security_headers.conf",
	} {
		text, err := rootfs.ReadFile("rootfs/" + name)
		if err != nil {
			panic(err) // The file is embedded under this very name.
		}
		mode := 0o644
		if strings.HasSuffix(name, ".sh") {
			mode = 0o755
		}
		entrypoints = entrypoints.WithNewFile(name, string(text), dagger.DirectoryWithNewFileOpts{Permissions: mode})
	}
	// A new volume takes owner and content from the folder that it covers, and
	// bench knows a bench by these folders.
	return script(c.WithDirectory("/", entrypoints), "ln -s /opt/bench/bin/bench /usr/local/bin/bench\n"+benchFolders)
}

// tools is the container in which everything is built. It has the same
// Python as the image at the same place, because the virtualenv points at it.
func (b *Builder) tools(lock release.Lock) *dagger.Container {
	node := b.Client.Container().From("node:" + lock.Node + "-bookworm-slim")
	c := b.fresh(b.python(lock)).
		WithFile("/usr/local/bin/node", node.File("/usr/local/bin/node")).
		WithDirectory("/usr/local/lib/node_modules", node.Directory("/usr/local/lib/node_modules"))
	return script(c.WithEnvVariable("DEBIAN_FRONTEND", "noninteractive"), install(append([]string{"ca-certificates", "git"}, buildPackages...))+`
useradd --create-home --uid 1000 --shell /bin/bash `+user+`
python3 -m pip install --no-cache-dir --root-user-action=ignore uv==`+uvVersion+`
node /usr/local/lib/node_modules/npm/bin/npm-cli.js install --global yarn@`+yarnVersion+`
install -d -o `+user+` -g `+user+` `+cacheHome+` /tmp/requirements
`+benchFolders).
		WithWorkdir(benchDir).
		WithUser(user)
}

// benchFolders makes the folders of an empty bench.
const benchFolders = `
for folder in "" apps sites logs config config/pids; do
	install -d -o ` + user + ` -g ` + user + ` "` + benchDir + `/$folder"
done
`

// benchCommand has the bench command in a virtualenv of its own, so that its
// packages and frappe's never meet.
func (b *Builder) benchCommand(lock release.Lock) *dagger.Container {
	return script(b.fresh(b.python(lock)), `
python3 -m pip install --no-cache-dir --root-user-action=ignore uv==`+uvVersion+`
uv venv --python /usr/local/bin/python3 /opt/bench
uv pip install --no-cache --python /opt/bench/bin/python --exclude-newer `+benchAsOf+` frappe-bench==`+benchVersion+`
`)
}

func (b *Builder) python(lock release.Lock) *dagger.Container {
	c := b.Client.Container().From("python:" + lock.Python + "-slim-bookworm")
	for _, name := range trust {
		c = c.WithEnvVariable(name, certificates)
	}
	return c
}

// freshVariable is what a stage reads beside its inputs when the cache is not
// to be used.
const freshVariable = "PIPELINE_BUILD"

// fresh makes what follows run anew where that was asked for.
func (b *Builder) fresh(c *dagger.Container) *dagger.Container {
	if !b.NoCache {
		return c
	}
	if b.id == "" {
		b.id = rand.Text()
	}
	return c.WithEnvVariable(freshVariable, b.id)
}

// cached gives what follows a home folder that lasts from build to build and
// is part of no layer: the caches of uv and yarn lie below it. yarn 1 fails
// when two of it fill one folder, so each app has its own.
func (b *Builder) cached(c *dagger.Container, name string) *dagger.Container {
	return c.WithMountedCache(cacheHome, b.Client.CacheVolume("erpnext-pipeline-"+name),
		dagger.ContainerWithMountedCacheOpts{Owner: owner}).
		WithEnvVariable("HOME", cacheHome)
}

const cacheHome = "/var/cache/pipeline"

// install is the script that installs Debian packages and leaves neither
// archives nor package lists behind, nor links to CAs that were there only
// for the time of the exec.
func install(packages []string) string {
	return `
apt-get update
apt-get install --yes --no-install-recommends ` + strings.Join(packages, " ") + `
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log
find /etc/ssl/certs -lname '/usr/local/share/ca-certificates/*' -delete
`
}
