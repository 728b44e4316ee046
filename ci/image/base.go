package image

import (
	"context"
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// runtimePackages are the system packages of the image: what frappe, nginx,
// the backups and an operator in a shell need.
var runtimePackages = []string{
	"ca-certificates", "curl", "file", "gettext-base", "git", "gpg", "jq", "less",
	"libharfbuzz0b", "libpango-1.0-0", "libpangocairo-1.0-0", "libpangoft2-1.0-0",
	"mariadb-client", "media-types", "nginx", "restic", "wait-for-it",
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

// base is the stage that the image starts from: Python's image with Node,
// nginx and the entrypoints, in one layer: what the public image has
// and nothing here needs is not in it.
func (b *Builder) base(lock release.Lock, platform dagger.Platform) *stage {
	python, node := bases(lock)
	packages, downloads, links := b.extras(lock)
	text := downloads + install(packages...) + `
useradd --create-home --uid 1000 --shell /bin/bash ` + user + `
chmod 755 ` + home + `
rm -f /etc/nginx/sites-enabled/default
sed -i '/^user /d; s|^pid .*|pid /tmp/nginx.pid;|' /etc/nginx/nginx.conf
ln -sf /dev/stdout /var/log/nginx/access.log
ln -sf /dev/stderr /var/log/nginx/error.log
chown -R ` + user + `: /etc/nginx/conf.d /var/log/nginx /var/lib/nginx
ln -s /opt/bench/bin/bench /usr/local/bin/bench
` + benchFolders + links + slim
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
			return packing{from: c.Rootfs(), at: ".", seconds: epoch, exclude: notFiles, before: forgetBase}
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

// extras are the packages of the base, the script for what is downloaded from
// elsewhere, and the one for links in the bench. Downloads come first: a wrong
// checksum is not to be found out after everything was installed.
func (b *Builder) extras(lock release.Lock) (packages []string, downloads, links string) {
	packages = append(slices.Clone(runtimePackages), aptPackages(b.apps, lock)...)
	switch {
	case lock.HasDebianWkhtmltopdf():
		packages = append(packages, "wkhtmltopdf")
	case lock.Wkhtmltopdf != nil:
		const file = "/tmp/wkhtmltopdf.deb"
		downloads += fetch(*lock.Wkhtmltopdf, file)
		packages = append(packages, file)
	}
	switch {
	case lock.DebianChromium:
		packages = append(packages, "chromium-headless-shell")
		links = chromiumLink("/usr/bin/chromium-headless-shell")
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
		links = chromiumLink("/usr/local/bin/chromium-headless-shell")
	}
	return packages, downloads, links
}

// chromiumLink is the script that puts a Chromium where Frappe 16 and Print Designer
// look for one, and download it otherwise (find_or_download_chromium_executable in
// frappe/utils/print_utils.py).
func chromiumLink(program string) string {
	return `
install -d -o 1000 -g 1000 ` + benchDir + `/chromium ` + benchDir + `/chromium/chrome-linux
ln -s ` + program + ` ` + benchDir + `/chromium/chrome-linux/headless_shell
`
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
