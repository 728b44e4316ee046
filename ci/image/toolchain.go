package image

import (
	"context"
	"crypto/rand"
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// Where everything lies: the layout of the public custom image, which compose
// files written for it expect.
const (
	user = "frappe"
	// owner is user and group of user by their numbers.
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

// searchPath is where commands are looked for, in the image and in all stages:
// a stage that comes from a store has its files and no configuration.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// runtimePackages are the system packages of the image: what frappe, nginx,
// the backups and a person in a shell need.
var runtimePackages = []string{
	"ca-certificates", "curl", "file", "gettext-base", "git", "gpg", "jq", "less",
	"libharfbuzz0b", "libpango-1.0-0", "libpangocairo-1.0-0", "libpangoft2-1.0-0",
	"mariadb-client", "media-types", "nginx", "restic", "wait-for-it",
}

// buildPackages are needed where a Python or Node package has to be compiled.
// They are not in the image.
var buildPackages = []string{
	"build-essential", "git", "libffi-dev", "libjpeg-dev", "libldap2-dev", "libmariadb-dev",
	"libpq-dev", "libsasl2-dev", "pkg-config", "python3-dev",
}

//go:embed rootfs
var rootfs embed.FS

// rootfsFiles are the image's own files, by their path in it.
func rootfsFiles() map[string]string {
	files := map[string]string{}
	for _, name := range []string{
		"usr/local/bin/entrypoint.sh", "usr/local/bin/nginx-entrypoint.sh", "usr/local/bin/start.sh",
		"templates/nginx/frappe.conf.template", "etc/nginx/snippets/security_headers.conf",
	} {
		text, err := rootfs.ReadFile("rootfs/" + name)
		if err != nil {
			panic(err) // The file is embedded under this very name.
		}
		files[name] = string(text)
	}
	return files
}

// bases are the public images that everything stands on.
func bases(lock release.Lock) (python, node string) {
	return "python:" + lock.Python + "-slim-bookworm", "node:" + lock.Node + "-bookworm-slim"
}

// packerBase is what the packer stands on. It decides nothing about an image.
const packerBase = "debian:bookworm-slim"

// from gives a public image, by the lock's digest where it has one.
func (b *Builder) from(lock release.Lock, name string, platform dagger.Platform) *dagger.Container {
	address := b.address(name)
	if digest := lock.Bases[name]; digest != "" {
		address += "@" + digest
	}
	return b.Client.Container(dagger.ContainerOpts{Platform: platform}).From(address).
		WithEnvVariable("PATH", searchPath).WithEnvVariable("LANG", "C.UTF-8").
		WithUser("root").WithWorkdir("/")
}

// address is where a public image comes from: from a mirror if there is one.
func (b *Builder) address(name string) string {
	if b.Mirrors.Images == "" {
		return name
	}
	if !strings.Contains(name, "/") {
		name = "library/" + name
	}
	return b.Mirrors.Images + "/" + name
}

// pinBases completes the lock with the digests of the public images. Those
// that the lock has stay: an image is rebuilt on what it stood on.
func (b *Builder) pinBases(ctx context.Context, lock *release.Lock) error {
	python, node := bases(*lock)
	pinned := map[string]string{}
	for _, name := range []string{python, node, packerBase} {
		if digest := lock.Bases[name]; digest != "" && b.NoCache != NoCacheAll {
			pinned[name] = digest
			continue
		}
		reference, err := b.Client.Container().From(b.address(name)).ImageRef(ctx)
		if err != nil {
			return fmt.Errorf("look up base image %s: %w", name, err)
		}
		_, digest, found := strings.Cut(reference, "@")
		if !found {
			return fmt.Errorf("look up base image %s: the engine gave no digest but %q", name, reference)
		}
		pinned[name] = digest
	}
	lock.Bases = pinned
	return b.checkBases(ctx, *lock)
}

// checkBases holds that the public images are there for every platform besides
// the engine's own. The engine does not: of an image for one platform it gives
// that one, whichever is asked for.
func (b *Builder) checkBases(ctx context.Context, lock release.Lock) error {
	var report problem.Report
	python, node := bases(lock)
	for _, platform := range b.Platforms {
		if platform == b.native {
			continue
		}
		for _, name := range []string{python, node} {
			got, err := b.from(lock, name, platform).Platform(ctx)
			if err != nil {
				return fmt.Errorf("look up base image %s for %s: %w", name, platform, err)
			}
			if got != platform {
				report.Addf("image.base-platform", "base image "+name, "choose that platform alone with --platform, have the mirror carry all, or look up the base images anew with --no-cache",
					"is there for %s and not for %s: %s", got, platform, b.address(name)+"@"+lock.Bases[name])
			}
		}
	}
	return report.Err()
}

// newPacker is the stage with what makes layers.
func (b *Builder) newPacker(lock release.Lock) *stage {
	text := install("isal", "libdeflate-tools", "openssl")
	return &stage{
		name: "packer", key: keyOf("packer", lock.Bases[packerBase], text),
		build: func(s *stage, _ inputs) *dagger.Container {
			c := b.from(lock, packerBase, b.native)
			if b.Mirrors.Apt.IsSet() {
				python, _ := bases(lock)
				c = c.WithMountedFile(publicTrust, b.from(lock, python, b.native).File("/etc/ssl/certs/ca-certificates.crt"))
			}
			return b.script(c, s, text)
		},
		pack: wholePassing,
	}
}

// wholePassing packs the whole file system of a container in which something
// is built.
func wholePassing(_ context.Context, c *dagger.Container) packing {
	return packing{from: c.Rootfs(), at: ".", seconds: epoch, exclude: notFiles, before: forget, passing: true}
}

// notFiles are what is there only while a command runs.
var notFiles = []string{"./proc/*", "./sys/*", "./dev/*", "./run/*", "./tmp/*"}

// forgetCAs removes the links to CAs that are not in the tree: what a link means
// is decided by the tree, which is not the root here. Some links lead to links.
const forgetCAs = `
for _ in 1 2; do
	find ./etc/ssl/certs -type l 2>/dev/null | while read -r link; do
		to=$(readlink "$link")
		case $to in /*) to=.$to ;; *) to=./etc/ssl/certs/$to ;; esac
		[ -e "$to" ] || [ -L "$to" ] || rm "$link"
	done
done
`

// ownCAs writes the list of CAs anew, of those that the tree has. An engine adds
// a machine's extra CAs to it and, without the command that noTrustUpdates takes
// away, leaves them there: whoever uses the stage elsewhere would trust them.
const ownCAs = `
if [ -e ./etc/ca-certificates.conf ]; then
	{
		grep -v '^[#!]' ./etc/ca-certificates.conf | sed 's,^,./usr/share/ca-certificates/,'
		find ./usr/local/share/ca-certificates -name '*.crt' 2>/dev/null | sort
	} | while read -r ca; do
		[ ! -f "$ca" ] || sed '$a\' "$ca"
	done >./etc/ssl/certs/ca-certificates.crt
fi
`

// forget removes what differs from one installation to the next, and what is
// left of a machine's extra CAs.
const forget = forgetCAs + ownCAs + `
rm -rf ./var/lib/apt/lists ./var/cache/apt ./var/cache/ldconfig ./var/cache/debconf ./var/log ./var/backups
rm -f ./etc/machine-id ./etc/passwd- ./etc/group- ./etc/shadow- ./etc/gshadow- ./etc/.pwd.lock ./etc/mtab ./var/lib/dpkg/*-old ./var/lib/dbus/machine-id
find . -xdev -name __pycache__ -prune -exec rm -rf {} +
mkdir -p ./var/lib/apt/lists/partial ./var/cache/apt/archives/partial ./var/log
`

// newTools is the stage in which most others are built: Python at the place
// that it has in the image, because the virtualenv points at it, with Node,
// uv and yarn, and nothing that takes long to install.
func (b *Builder) newTools(lock release.Lock, platform dagger.Platform) *stage {
	python, node := bases(lock)
	text := `
python3 -m pip install --quiet --no-cache-dir --root-user-action=ignore uv==` + uvVersion + ` || unreached PYPI_INDEX_URL "${PIP_INDEX_URL:-not set}"
node /usr/local/lib/node_modules/npm/bin/npm-cli.js install --loglevel error --global yarn@` + yarnVersion + ` >/dev/null || unreached NPM_REGISTRY_URL "${NPM_MIRROR:-not set}"
rm -rf /root/.npm
` + noTrustUpdates + benchFolders
	return &stage{
		name: "tools", platform: platform,
		key: keyOf("tools", lock.Bases[python], lock.Bases[node], platform, text),
		build: func(s *stage, _ inputs) *dagger.Container {
			from := b.from(lock, node, platform)
			c := b.from(lock, python, platform).
				WithFile("/usr/local/bin/node", from.File("/usr/local/bin/node")).
				WithDirectory("/usr/local/lib/node_modules", from.Directory("/usr/local/lib/node_modules")).
				WithWorkdir(benchDir)
			return b.script(c, s, text)
		},
		pack: wholePassing,
	}
}

// newCompilers is the stage for what has to be compiled: tools, and the
// compilers and libraries on top of it.
func (b *Builder) newCompilers(tools *stage) *stage {
	text := install(buildPackages...) + noTrustUpdates
	return &stage{
		name: "compilers", platform: tools.platform, needs: []*stage{tools},
		key: keyOf("compilers", tools.key, text),
		build: func(s *stage, in inputs) *dagger.Container {
			return b.script(toolbox(in[tools]), s, text)
		},
		pack: wholePassing,
	}
}

// noTrustUpdates takes the command away with which an engine would put a
// machine's extra CAs into the container, and take them out again, at every
// step: that takes longer than many steps do. The stages get those CAs from
// here.
const noTrustUpdates = `
rm -f /usr/sbin/update-ca-certificates
`

// toolbox gives a container of a stage's files what it needs to run commands.
func toolbox(c *dagger.Container) *dagger.Container {
	return c.WithEnvVariable("PATH", searchPath).WithEnvVariable("LANG", "C.UTF-8").
		WithUser("root").WithWorkdir(benchDir).
		WithEnvVariable("UV_NO_CONFIG", "1").WithEnvVariable("UV_LINK_MODE", "copy")
}

// benchFolders makes the folders of an empty bench.
const benchFolders = `
for folder in "" apps sites logs config config/pids; do
	install -d -o 1000 -g 1000 "` + benchDir + `/$folder"
done
`

// base is the stage that the image starts from: Python's image with Node,
// nginx and the entrypoints, in one layer: what the public image has
// and nothing here needs is not in it.
func (b *Builder) base(lock release.Lock, platform dagger.Platform) *stage {
	python, node := bases(lock)
	packages, downloads := b.extras(lock)
	text := downloads + install(packages...) + `
useradd --create-home --uid 1000 --shell /bin/bash ` + user + `
chmod 755 ` + home + `
rm -f /etc/nginx/sites-enabled/default
sed -i '/^user /d; s|^pid .*|pid /tmp/nginx.pid;|' /etc/nginx/nginx.conf
ln -sf /dev/stdout /var/log/nginx/access.log
ln -sf /dev/stderr /var/log/nginx/error.log
chown -R ` + user + `: /etc/nginx/conf.d /var/log/nginx /var/lib/nginx
ln -s /opt/bench/bin/bench /usr/local/bin/bench
` + benchFolders + slim
	return &stage{
		name: "base", platform: platform, inImage: true, history: "system packages, Python " + lock.Python + ", Node " + lock.Node,
		key: keyOf("base", lock.Bases[python], lock.Bases[node], platform, text, rootfsFiles(), forgetBase, packScript),
		build: func(s *stage, _ inputs) *dagger.Container {
			from := b.from(lock, node, platform)
			own := b.Client.Directory()
			files := rootfsFiles()
			for _, name := range slices.Sorted(maps.Keys(files)) {
				mode := 0o644
				if strings.HasSuffix(name, ".sh") {
					mode = 0o755
				}
				own = own.WithNewFile(name, files[name], dagger.DirectoryWithNewFileOpts{Permissions: mode})
			}
			c := b.from(lock, python, platform).WithFile("/usr/local/bin/node", from.File("/usr/local/bin/node"))
			return b.script(c, s, text).WithDirectory("/", own)
		},
		pack: func(_ context.Context, c *dagger.Container) packing {
			return packing{
				from: c.Rootfs(), at: ".", seconds: epoch, exclude: notFiles, before: forgetBase,
				info: b.Client.Directory().
					WithFile("dpkg", c.File("/var/lib/dpkg/status")).
					WithFile("os-release", c.File("/etc/os-release")),
			}
		},
	}
}

// command is the stage with the bench command in a virtualenv of its own, so
// that its packages and frappe's never meet. uv, which bench installs apps with,
// is left out: nothing is installed in a running image.
func (b *Builder) command(tools *stage) *stage {
	const text = `
uv venv --quiet --python /usr/local/bin/python3 /opt/bench
uv pip install --quiet --python /opt/bench/bin/python --exclude-newer ` + benchAsOf + ` frappe-bench==` + benchVersion + `
rm -rf /opt/bench/bin/uv* /opt/bench/lib/python3.*/site-packages/uv /opt/bench/lib/python3.*/site-packages/uv-*
find /opt/bench -name __pycache__ -prune -exec rm -rf {} +
find /opt/bench -name uv_cache.json -delete
rm -f /opt/bench/.lock
`
	return &stage{
		name: "command", platform: tools.platform, needs: []*stage{tools}, inImage: true, history: "bench " + benchVersion,
		key: keyOf("command", tools.key, text, packScript),
		build: func(s *stage, in inputs) *dagger.Container {
			return b.script(b.cached(toolbox(in[tools]), "uv"), s, text)
		},
		pack: func(_ context.Context, c *dagger.Container) packing {
			return packing{from: c.Directory("/opt/bench"), at: "/opt/bench", owner: "0:0", seconds: epoch}
		},
	}
}

// slim removes what a server has no use for: build tools that came with the
// base, and what only a screen needs. wkhtmltopdf draws by itself; the drivers
// for graphics cards, which Debian has its libraries depend on, are a fifth of
// the image. Of those only the files go: apt would refuse to install anything
// on top of an image in which a dependency is missing.
const slim = `
rm -rf /usr/local/bin/pip* /usr/local/lib/python3.*/site-packages/pip /usr/local/lib/python3.*/site-packages/pip-* /usr/share/python-wheels
dpkg-query -W -f '${Package}\n' | grep -E -e '-dev(-bin)?$|^python3-pip(-whl)?$' | xargs -r dpkg --purge --force-depends >/dev/null
dpkg-query -W -f '${Package}\n' | grep -E '^(libgl1-mesa-dri|libllvm[0-9]+|libz3-4|iso-codes)$' | while read -r package; do
	dpkg -L "$package" | while read -r file; do
		[ -d "$file" ] && [ ! -L "$file" ] || rm -f "$file"
	done
done
`

// forgetBase leaves in the base what the image needs: of logs the folders that
// programs write to, and no file that runs with another user's rights.
const forgetBase = forgetCAs + `
rm -rf ./var/lib/apt/lists ./var/cache/apt ./var/cache/ldconfig ./var/cache/debconf ./var/cache/fontconfig ./var/backups ./root/.cache ./root/.npm
find ./var/log -type f -delete
rm -f ./etc/machine-id ./etc/passwd- ./etc/group- ./etc/shadow- ./etc/gshadow- ./etc/.pwd.lock ./var/lib/dpkg/*-old ./var/lib/dbus/machine-id
find . -xdev -name __pycache__ -prune -exec rm -rf {} +
find . -xdev -type f -perm /6000 -exec chmod a-s {} +
mkdir -p ./var/lib/apt/lists/partial ./var/cache/apt/archives/partial
: >./etc/resolv.conf
: >./etc/hosts
: >./etc/hostname
`

// extras are the packages of the base, and the script for what is downloaded
// from elsewhere. It comes first: a wrong checksum is not to be found out
// after everything was installed.
func (b *Builder) extras(lock release.Lock) (packages []string, downloads string) {
	packages = slices.Clone(runtimePackages)
	if lock.Wkhtmltopdf == nil {
		packages = append(packages, "wkhtmltopdf")
	} else {
		const file = "/tmp/wkhtmltopdf.deb"
		downloads += fetch(*lock.Wkhtmltopdf, file)
		packages = append(packages, file)
	}
	switch {
	case lock.DebianChromium:
		packages = append(packages, "chromium-headless-shell")
	case lock.Chromium != nil:
		// Its libraries are Debian's, as the package that Debian makes of it
		// names them.
		const file = "/tmp/chromium.zip"
		packages = append(packages, "fonts-liberation", "libasound2", "libatk-bridge2.0-0", "libgbm1", "libnss3", "libxkbcommon0", "libxcomposite1", "libxdamage1", "libxrandr2")
		downloads += fetch(*lock.Chromium, file) + `
python3 -m zipfile -e ` + file + ` /opt/chromium
rm ` + file + `
shell=$(find /opt/chromium -type f -name chrome-headless-shell)
chmod 755 "$shell"
ln -s "$shell" /usr/local/bin/chromium-headless-shell
`
	}
	return packages, downloads
}

// fetch is the script that downloads a file and holds it against its checksum,
// in Python because the base has no other client yet.
func fetch(d release.Download, file string) string {
	var sums strings.Builder
	for _, architecture := range slices.Sorted(maps.Keys(d.SHA256)) {
		pattern := architecture
		if pattern == "" {
			pattern = "*"
		}
		fmt.Fprintf(&sums, "%s) sum=%s ;;\n", pattern, d.SHA256[architecture])
	}
	return `
arch=$(dpkg --print-architecture)
case $arch in
` + sums.String() + `esac
python3 - '` + strings.NewReplacer("'", "%27", "{arch}", `'"$arch"'`).Replace(d.URL) + `' ` + file + ` "$sum" <<'END'
import hashlib, http.client, sys, time, urllib.request
url, file, wanted = sys.argv[1:]
for wait in (1, 3, None):
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            content = answer.read()
        break
    except (OSError, http.client.HTTPException) as error:
        if wait is None:
            sys.exit(f"download {url}: {error}")
        time.sleep(wait)
found = hashlib.sha256(content).hexdigest()
if found != wanted:
    sys.exit(f"download {url}: its SHA-256 checksum is {found}, not {wanted}")
with open(file, "wb") as to:
    to.write(content)
END
`
}

// freshVariable is what a stage reads beside its inputs when the cache is not
// to be used.
const freshVariable = "PIPELINE_BUILD"

// What NoCache may hold besides an app's name.
const NoCacheAll = "all"

// fresh makes what follows run anew where that was asked for.
func (b *Builder) fresh(c *dagger.Container, of string) *dagger.Container {
	if b.NoCache == "" || b.NoCache != NoCacheAll && b.NoCache != of {
		return c
	}
	b.idOnce.Do(func() { b.id = rand.Text() })
	return c.WithEnvVariable(freshVariable, b.id)
}

// cached gives what follows a home folder that lasts from build to build and
// is part of no layer: the caches of uv and yarn lie below it. yarn 1 fails
// when two of it fill one folder, so each app has its own.
func (b *Builder) cached(c *dagger.Container, name string) *dagger.Container {
	return c.WithMountedCache(cacheHome, b.Client.CacheVolume("erpnext-pipeline-"+name)).
		WithEnvVariable("HOME", cacheHome)
}

const cacheHome = "/var/cache/pipeline"

const (
	aptInstall = `
apt-get $APT_OPTIONS update -q
apt-get $APT_OPTIONS install -q --yes --no-install-recommends -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Use-Pty=0 `
	aptClean = `
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log
find /etc/ssl/certs -lname '/usr/local/share/ca-certificates/*' -delete 2>/dev/null || true
`
)

// install is the script that installs Debian packages and leaves neither
// archives nor package lists behind, nor links to CAs that were there only
// for the time of the exec.
func install(packages ...string) string {
	return "export DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH=1577836800" + aptInstall + strings.Join(packages, " ") + aptClean
}
