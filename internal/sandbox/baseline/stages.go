package baseline

import (
	"errors"
	"strings"

	"dagger.io/dagger"
)

const (
	user  = "frappe"
	owner = "1000:1000"
	home  = "/home/frappe"

	benchVersion = "5.31.1"
	// yarnVersion is of yarn 1: bench knows no other, and what a registry calls
	// the latest is not always that.
	yarnVersion  = "1.22.22"
	appsFile     = "/opt/frappe/apps.json"
	certificates = "/etc/ssl/certs/ca-certificates.crt"
)

// basePackages are in the image.
var basePackages = []string{
	"ca-certificates", "curl", "file", "gettext-base", "git", "gpg", "jq", "less",
	"libharfbuzz0b", "libpango-1.0-0", "libpangocairo-1.0-0", "libpangoft2-1.0-0", "libpq-dev",
	"mariadb-client", "media-types", "nginx", "postgresql-client", "restic", "vim", "wait-for-it", "wkhtmltopdf",
}

// buildPackages are where bench init runs.
var buildPackages = []string{
	"build-essential", "cron", "gcc", "libbz2-dev", "libcairo2-dev", "libffi-dev", "libgif-dev", "libjpeg-dev",
	"liblcms2-dev", "libldap2-dev", "libmariadb-dev", "libpango1.0-dev", "libpq-dev", "librsvg2-dev", "libsasl2-dev",
	"libtiff5-dev", "libwebp-dev", "pkg-config", "redis-tools", "rlwrap", "tk8.6-dev", "wget",
}

// trust points tools with certificates of their own at the system's, to which
// the engine adds the machine's for the time of an exec.
const trust = `
for name in SSL_CERT_FILE PIP_CERT REQUESTS_CA_BUNDLE NODE_EXTRA_CA_CERTS; do
	export "$name=` + certificates + `"
done
`

// packages installs Debian packages. Links to certificates that were there
// only for the time of the exec go with the archives.
func packages(names []string) string {
	return `
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends ` + strings.Join(names, " ") + `
apt-get clean
rm -rf /var/lib/apt/lists/*
find /etc/ssl/certs -lname '/usr/local/share/ca-certificates/*' -delete
`
}

func script(c *dagger.Container, text string) *dagger.Container {
	return c.WithExec([]string{"sh", "-euc", text})
}

// base has what the image runs with, but for the bench.
func (o Options) base() *dagger.Container {
	// Dagger has no way to declare volumes, but keeps those of a Dockerfile.
	dockerfile := "FROM python:" + o.Python + "-slim-bookworm\n" +
		"VOLUME [\"" + BenchDir + "/sites\", \"" + BenchDir + "/sites/assets\", \"" + BenchDir + "/logs\"]\n"
	node := o.Client.Container().From("node:" + o.Node + "-bookworm-slim")
	c := o.Client.Directory().WithNewFile("Dockerfile", dockerfile).DockerBuild().
		// yarn is installed below; in some versions of Node's image it is a
		// link out of this folder.
		WithDirectory("/usr/local", node.Directory("/usr/local"), dagger.ContainerWithDirectoryOpts{
			Exclude: []string{"bin/docker-entrypoint.sh", "bin/yarn*", "lib/node_modules/yarn"},
		})
	return script(c, "useradd --create-home --uid 1000 --shell /bin/bash "+user+packages(basePackages)+trust+`
npm install --global --no-audit --no-fund --no-update-notifier yarn@`+yarnVersion+`
pip3 install --no-cache-dir --root-user-action=ignore frappe-bench==`+benchVersion+`
rm -rf /root/.npm /etc/nginx/sites-enabled/default
sed -i '/^user /d' /etc/nginx/nginx.conf
ln -sf /dev/stdout /var/log/nginx/access.log
ln -sf /dev/stderr /var/log/nginx/error.log
touch /run/nginx.pid
chown -R `+user+`: /etc/nginx/conf.d /etc/nginx/nginx.conf /var/log/nginx /var/lib/nginx /run/nginx.pid
`)
}

func withBuildPackages(base *dagger.Container) *dagger.Container {
	return script(base, packages(buildPackages))
}

// builder has the bench, made in one step.
func (o Options) builder(build *dagger.Container) (*dagger.Container, error) {
	if len(o.Apps) == 0 {
		return nil, errors.New("make bench: no apps")
	}
	all, servers, err := repositories(o.Apps)
	if err != nil {
		return nil, err
	}
	list, err := appsJSON(all[1:])
	if err != nil {
		return nil, err
	}
	c := build.WithUser(user).WithWorkdir(home).WithEnvVariable("HOME", home)
	for _, s := range servers {
		c = c.WithServiceBinding(s.name, o.Client.Host().Service(
			[]dagger.PortForward{{Backend: s.port, Frontend: s.port}}, dagger.HostServiceOpts{Host: s.host}))
	}
	// The salt names the secrets as well: one session may make several
	// images, each with its own.
	if o.Apps[0].Token.IsSet() {
		c = c.WithSecretVariable("FRAPPE_PATH", o.Client.SetSecret("frappe's address "+o.Salt, all[0].URL))
	} else {
		c = c.WithEnvVariable("FRAPPE_PATH", all[0].URL)
	}
	c = c.WithEnvVariable("FRAPPE_BRANCH", all[0].Branch).
		WithEnvVariable("CACHEBUST", o.Salt).
		WithMountedSecret(appsFile, o.Client.SetSecret("apps.json "+o.Salt, list),
			dagger.ContainerWithMountedSecretOpts{Owner: owner, Mode: 0o400})
	return script(c, trust+`
bench init --apps_path=`+appsFile+` --frappe-branch="$FRAPPE_BRANCH" --frappe-path="$FRAPPE_PATH" \
	--no-procfile --no-backups --skip-redis-config-generation --verbose `+BenchDir+`
cd `+BenchDir+`
echo '{}' >sites/common_site_config.json
find apps -name .git -prune -exec rm -rf {} +
`), nil
}

// backend is the image: the base with the finished bench as one layer.
func (o Options) backend(base, builder *dagger.Container) *dagger.Container {
	return base.
		WithDirectory(BenchDir, builder.Directory(BenchDir), dagger.ContainerWithDirectoryOpts{Owner: owner}).
		WithUser(user).
		WithWorkdir(BenchDir).
		WithDefaultArgs([]string{
			BenchDir + "/env/bin/gunicorn", "--chdir=" + BenchDir + "/sites", "--bind=0.0.0.0:8000",
			"--threads=4", "--workers=2", "--worker-class=gthread", "--worker-tmp-dir=/dev/shm",
			"--timeout=120", "--preload", "frappe.app:application",
		})
}
