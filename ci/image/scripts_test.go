package image

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// runIn runs a script in a folder, as a stage does, with its /tmp below it.
func runIn(t *testing.T, dir, script string, environ ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-euc", strings.ReplaceAll(script, "/tmp/", dir+"/tmp/"))
	cmd.Dir, cmd.Env = dir, append([]string{"PATH=" + searchPath}, environ...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// sow makes files by path: links with "-> " in front of their target.
func sow(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for p, text := range files {
		at := filepath.Join(dir, p)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(text, "-> "); link {
			err = os.Symlink(target, at)
		} else {
			err = os.WriteFile(at, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// found lists what is in a folder but for folders: links with their targets.
func found(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(at string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		p, err := filepath.Rel(dir, at)
		if entry.Type() == fs.ModeSymlink {
			target, _ := os.Readlink(at)
			p += " -> " + strings.TrimPrefix(target, dir+"/")
		}
		list = append(list, p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// A tree is not where its links think: whether one leads nowhere is for the
// tree to say.
func TestForgetsForeignCertificates(t *testing.T) {
	for name, script := range map[string]string{"forget": forget, "forgetBase": forgetBase} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			files := map[string]string{
				"usr/share/ca-certificates/test/Public.crt": "a public authority", "var/log/nginx/access.log": "",
				"etc/ssl/certs/ca-certificates.crt": "all of them",
				"etc/ssl/certs/Public.pem":          "-> /usr/share/ca-certificates/test/Public.crt",
				"etc/ssl/certs/0123abcd.0":          "-> Public.pem",
				"etc/ssl/certs/Own.pem":             "-> /usr/local/share/ca-certificates/Own.crt",
			}
			// In whichever order they are found.
			for i := range 20 {
				files[fmt.Sprintf("etc/ssl/certs/%08x.0", i)] = "-> Own.pem"
			}
			sow(t, dir, files)
			runIn(t, dir, script)
			got := found(t, filepath.Join(dir, "etc/ssl/certs"))
			want := []string{"0123abcd.0 -> Public.pem", "Public.pem -> /usr/share/ca-certificates/test/Public.crt", "ca-certificates.crt"}
			if !slices.Equal(got, want) {
				t.Errorf("left are %q, want %q", got, want)
			}
		})
	}
}

func TestForgetBase(t *testing.T) {
	dir := t.TempDir()
	sow(t, dir, map[string]string{
		"etc/ssl/certs/ca-certificates.crt": "", "etc/hosts": "127.0.0.1 builder", "etc/resolv.conf": "nameserver 10.0.0.1", "etc/hostname": "builder",
		"etc/passwd": "", "etc/passwd-": "", "etc/machine-id": "0", "usr/lib/python3/a.py": "", "usr/lib/python3/__pycache__/a.pyc": "",
		"var/log/apt/history.log": "", "var/log/nginx/error.log": "-> /dev/stderr", "var/lib/dpkg/status": "", "var/lib/dpkg/status-old": "", "var/cache/apt/pkgcache.bin": "",
		"usr/bin/su": "", "usr/bin/wall": "", "usr/bin/ls": "",
	})
	for name, mode := range map[string]os.FileMode{"su": 0o755 | fs.ModeSetuid, "wall": 0o755 | fs.ModeSetgid, "ls": 0o755} {
		if err := os.Chmod(filepath.Join(dir, "usr/bin", name), mode); err != nil {
			t.Fatal(err)
		}
	}
	runIn(t, dir, forgetBase)
	want := []string{
		"etc/hostname", "etc/hosts", "etc/passwd", "etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt",
		"usr/bin/ls", "usr/bin/su", "usr/bin/wall", "usr/lib/python3/a.py", "var/lib/dpkg/status", "var/log/nginx/error.log -> /dev/stderr",
	}
	if got := found(t, dir); !slices.Equal(got, want) {
		t.Errorf("left are %q\nwant %q", got, want)
	}
	for _, name := range []string{"hosts", "resolv.conf", "hostname"} {
		if text, err := os.ReadFile(filepath.Join(dir, "etc", name)); err != nil || len(text) > 0 {
			t.Errorf("%s of where it was built: %q, %v", name, text, err)
		}
	}
	for _, name := range []string{"su", "wall", "ls"} {
		if info, err := os.Stat(filepath.Join(dir, "usr/bin", name)); err != nil || info.Mode() != 0o755 {
			t.Errorf("%s has mode %v, %v", name, info.Mode(), err)
		}
	}
	// Programs write there, and apt wants its own.
	for _, folder := range []string{"var/log/apt", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial"} {
		if info, err := os.Stat(filepath.Join(dir, folder)); err != nil || !info.IsDir() {
			t.Errorf("%s is no folder: %v", folder, err)
		}
	}
}

// What neither a server nor a browser loads goes; what looks like it stays.
func TestPruneModules(t *testing.T) {
	dir := t.TempDir()
	kept := []string{"ace/ace.js", "esbuilder/a.js", "redis/index.js", "redis/lib/typescript/a.js", "redis/package.json", "socket.io/client-dist/socket.io.min.js"}
	files := map[string]string{
		".bin/yarn": "-> ../yarn", ".yarn-integrity": "", "typescript/lib/tsc.js": "", "esbuild/bin/esbuild": "", "esbuild-linux-64/a": "", "@esbuild/linux-x64/a": "",
		"redis/index.d.ts": "", "redis/index.js.map": "", "redis/README.md": "", "redis/.github/a.yml": "", "redis/lib/__tests__/a.js": "", "redis/a.tsbuildinfo": "",
	}
	for _, p := range kept {
		files[p] = ""
	}
	sow(t, dir, files)
	runIn(t, dir, pruneModules)
	if got := found(t, dir); !slices.Equal(got, kept) {
		t.Errorf("left are %q\nwant %q", got, kept)
	}
}

// Nothing that is in no key is there while assets are built.
func TestBenchScript(t *testing.T) {
	dir := t.TempDir()
	paths := []string{
		"requirements.txt", "pyproject.toml", "setup.cfg", "MANIFEST.in", ".github/workflows/ci.yml", ".gitignore", ".git-blame-ignore-revs", ".gitattributes", ".env",
		"README.md", "hrms/types.pyi", "hrms/hooks.py", "hrms/patches.txt", "hrms/modules.txt", "hrms/locale/de.po", "hrms/locale/main.pot", "hrms/a.csv",
		"hrms/hr/leave.json", "hrms/public/js/hrms.bundle.js", "hrms/public/robots.txt", "frontend/.gitignore", "frontend/src/a b.vue", "frontend/requirements.txt", "package.json",
	}
	files, want := map[string]string{"tmp/x": "", "apps/frappe/frappe/hooks.py": "", "apps/frappe/package.json": "", "apps/frappe/node_modules/a/README.md": ""}, []string(nil)
	for _, p := range paths {
		files["apps/hrms/"+p] = "text"
		if readsAssets(p) {
			want = append(want, p)
		}
	}
	sow(t, dir, files)
	runIn(t, dir, benchScript, "NAMES=frappe hrms")
	// What makes it an app is there, and empty.
	marks := []string{"hrms/hooks.py", "hrms/modules.txt", "hrms/patches.txt"}
	for _, mark := range marks {
		if text, err := os.ReadFile(filepath.Join(dir, "apps/hrms", mark)); err != nil || len(text) > 0 {
			t.Errorf("%s has %q, %v", mark, text, err)
		}
	}
	want = append(want, marks...)
	slices.Sort(want)
	if got := found(t, filepath.Join(dir, "apps/hrms")); !slices.Equal(got, want) {
		t.Errorf("left are %q\nwant %q", got, want)
	}
	// Modules stay whole, under their public path too.
	frappe := []string{"frappe/hooks.py", "frappe/modules.txt", "frappe/patches.txt", "frappe/public/node_modules -> node_modules", "node_modules/a/README.md", "package.json"}
	if got := found(t, filepath.Join(dir, "apps/frappe")); !slices.Equal(got, frappe) {
		t.Errorf("frappe has %q\nwant %q", got, frappe)
	}
	for name, want := range map[string]string{"apps.txt": "frappe\nhrms\n", "common_site_config.json": `{"socketio_port": 9000, "webserver_port": 8000}`} {
		if text, err := os.ReadFile(filepath.Join(dir, "sites", name)); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	for _, name := range []string{"frappe", "hrms"} {
		if target, err := os.Readlink(filepath.Join(dir, "sites/assets", name)); err != nil || target != filepath.Join(dir, "apps", name, name, "public") {
			t.Errorf("assets of %s link to %s, %v", name, target, err)
		}
	}
}

// Of a build is collected what it made, wherever in the app.
func TestCollectScript(t *testing.T) {
	dir := t.TempDir()
	sow(t, dir, map[string]string{
		"tmp/x": "", "apps/hrms/hrms/public/js/old.js": "", "apps/hrms/package.json": "", "sites/assets/assets.json": "{}", "sites/assets/other": "",
		"apps/frappe/frappe/public/js/old.js": "",
	})
	time.Sleep(20 * time.Millisecond) // file systems count in ticks
	runIn(t, dir, "touch /tmp/before")
	time.Sleep(20 * time.Millisecond)
	sow(t, dir, map[string]string{
		"apps/hrms/hrms/public/dist/js/hrms.bundle.A.js": "new", "apps/hrms/hrms/www/hr ms.html": "new", "apps/hrms/node_modules/.vite/cache": "",
		"apps/frappe/frappe/public/dist/x.js": "",
	})
	runIn(t, dir, collectScript, "APP=hrms")
	if got, want := found(t, filepath.Join(dir, "tmp/out")), []string{"hrms/public/dist/js/hrms.bundle.A.js", "hrms/www/hr ms.html"}; !slices.Equal(got, want) {
		t.Errorf("collected %q, want %q", got, want)
	}
	if got, want := found(t, filepath.Join(dir, "tmp/info")), []string{"assets.json"}; !slices.Equal(got, want) {
		t.Errorf("beside them %q, want %q", got, want)
	}
}

// A base is packed as it is, with what is beyond a plain file: folders that
// hand their group on, files of two names, and names that look like options.
func TestPackScriptKeepsABase(t *testing.T) {
	needsPacker(t)
	dir := t.TempDir()
	sow(t, dir, map[string]string{"local/a": "one", "-rf": "dash", "with space": "space", "broken": "-> /nowhere"})
	for name, mode := range map[string]os.FileMode{".": 0o755, "local": 0o775 | fs.ModeSetgid, "-rf": 0o711 | fs.ModeSetuid, "with space": 0o600} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(dir, "local/a"), filepath.Join(dir, "local/b")); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		environ, want []string
	}{
		"a base": {
			[]string{"AT=."},
			[]string{"755 0:0 ./", "4711 0:0 ./-rf dash", "777 0:0 ./broken /nowhere", "2775 0:0 ./local/", "644 0:0 ./local/a one", "644 0:0 ./local/b ./local/a", "600 0:0 ./with space space"},
		},
		"an app": {
			[]string{"AT=opt/x", "OWNER=1000:1000"},
			[]string{"755 0:0 opt/", "755 1000:1000 opt/x/", "4755 1000:1000 opt/x/-rf dash", "755 1000:1000 opt/x/broken /nowhere", "2755 1000:1000 opt/x/local/", "644 1000:1000 opt/x/local/a one", "644 1000:1000 opt/x/local/b opt/x/local/a", "644 1000:1000 opt/x/with space space"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := entriesOf(t, pack(t.Context(), t, dir, test.environ...)); !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}
