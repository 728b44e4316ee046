package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github/githubtest"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine/enginetest"
)

// shape is an app that is described in another way than most.
type shape struct {
	repository, name string
	files            map[string]string
	// submodule is the folder of one that can't be fetched.
	submodule string
	// packages are those that it brings.
	packages []string
}

var longName = strings.Repeat("StandardBusinessDocument", 5) + ".xsd"

var shapes = []shape{
	{"acme/2-way.match", "two_way_match", map[string]string{
		"setup.py": `from setuptools import find_packages, setup

with open("requirements.txt") as f:
    install_requires = f.read().strip().split("\n")

from two_way_match import __version__ as version

setup(name="two_way_match", version=version, packages=find_packages(), include_package_data=True, install_requires=install_requires)
`,
		// It is imported where no other app is, for the version alone.
		"two_way_match/__init__.py": "import frappe\nimport frappe.modules.utils\nfrom frappe.utils import scheduler\n\n__version__ = \"0.0.1\"\n",
		"requirements.txt":          "frappe\n# of ours\niniconfig>=2,<3\n",
		".gitmodules":               "[submodule \"ui\"]\n\tpath = ui\n\turl = http://127.0.0.1:1/acme/ui\n",
	}, "ui", []string{"iniconfig"}},
	{"acme/by_poetry", "by_poetry", map[string]string{
		"pyproject.toml": `[tool.poetry]
name = "by_poetry"
version = "0.1.0"
description = "An app of poetry's"
authors = ["A. Author <author@example.com>"]

[tool.poetry.dependencies]
python = "^3.10"
pathspec = "^0.12.1"

[build-system]
requires = ["poetry-core>=1.9,<3"]
build-backend = "poetry.core.masonry.api"
`,
		// As Frappe's logger does, which an app may call while it is imported.
		"by_poetry/hooks.py": `app_name = app_title = app_description = "by_poetry"
open("../logs/by_poetry.log", "a").close()
`,
	}, "", []string{"pathspec"}},
	{"acme/by_setuptools", "by_setuptools", map[string]string{
		"pyproject.toml": `[project]
name = "by-setuptools"
version = "0.0.1"
dynamic = ["dependencies"]

[tool.setuptools]
packages = ["by_setuptools"]

[tool.setuptools.dynamic]
dependencies = { file = ["requirements/run.txt"] }

[build-system]
requires = ["setuptools[core]>=61,<80", "wheel"]
build-backend = "setuptools.build_meta"
`,
		"requirements/run.txt": "pluggy<2\n",
		// One of ours, without its owner.
		"by_setuptools/hooks.py": "import frappe\n\nhome_page = frappe.conf.home_page or \"login\"\napp_name = app_title = app_description = \"by_setuptools\"\nrequired_apps = [\"by_poetry\"]\n",
	}, "", []string{"pluggy"}},
	{"acme/by_cfg", "by_cfg", map[string]string{
		"setup.cfg": "[metadata]\nname = by_cfg\nversion = 0.0.1\n\n[options]\npackages = find:\ninstall_requires =\n    by-setuptools\n    toolz\n",
		"setup.py":  "from setuptools import setup\n\nsetup()\n",
		// A name that tar needs a header of its own for.
		"by_cfg/" + longName: "long\n",
		"by_cfg/hooks.py":    "from pathlib import Path\n\napp_name = app_title = app_description = \"by_cfg\"\nassert (Path(__file__).parent / \"" + longName + "\").read_text() == \"long\\n\"\n",
	}, "", []string{"toolz"}},
	{"acme/by_address", "by_address", map[string]string{
		"pyproject.toml": `[project] # as flit has it
name = "by_address"
version = "0.0.1"
description = "An app that needs a file at an address"
dependencies = [
    "frappe>=15",
    "six @ https://files.pythonhosted.org/packages/d9/5a/e7c31adbe875f2abbb91bd84cf2dc52d792b5a01506781dbcf25c91daf11/six-1.16.0-py2.py3-none-any.whl",
]

[build-system]
requires = ["flit_core >=3.4,<4"]
build-backend = "flit_core.buildapi"
`,
		// It is imported in the image alone. frappe asks for that Debian package.
		"by_address/hooks.py": `import shutil

from frappe.gettext.translate import get_translations_from_mo

app_name = app_title = app_description = "by_address"
assert shutil.which("tree"), "Debian's package tree is missing"
assert get_translations_from_mo("de", "by_address") == {"Invoice": "Rechnung"}, "its translations are missing"
`,
		"by_address/locale/de.po": "msgid \"\"\nmsgstr \"Content-Type: text/plain; charset=utf-8\\n\"\n\nmsgid \"Invoice\"\nmsgstr \"Rechnung\"\n\n#, fuzzy\nmsgid \"Order\"\nmsgstr \"Orden\"\n",
	}, "", []string{"six"}},
}

const (
	byFlit = `[project]
name = %q
version = "0.0.1"
description = "An app with a front end"

[build-system]
requires = ["flit_core >=3.4,<4"]
build-backend = "flit_core.buildapi"
`
	// builds writes what the front end of an app in $NAME says into its public folder;
	// $SAYS are the modules, and by is the program that runs it.
	builds = `const fs = require("fs"), by = process.env.npm_config_user_agent.split(" ")[0];
fs.mkdirSync("$UP/$NAME/public", { recursive: true });
fs.writeFileSync("$UP/$NAME/public/said.js", [$SAYS].join(" "));
`
	// built is the part of hooks.py that holds what it wrote, in the image alone, where its
	// node modules are too.
	built = `from pathlib import Path

# Pages load /assets/%[1]s/node_modules.

app_name = app_title = app_description = %[1]q
said = Path("/home/frappe/frappe-bench/apps/%[1]s/%[1]s/public/said.js").read_text()
assert said == %[2]q, said
`
	ms = "6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA=="
)

// front makes a shape with a front end of its own, which a manager other than yarn 1
// installs, or which reads another app.
func front(name, said, up, says string, files map[string]string) shape {
	files["pyproject.toml"] = fmt.Sprintf(byFlit, name)
	files[name+"/hooks.py"] = fmt.Sprintf(built, name, said)
	for at, text := range files {
		if strings.HasPrefix(text, builds) {
			files[at] = strings.NewReplacer("$NAME", name, "$UP", up, "$SAYS", says).Replace(text)
		}
	}
	return shape{repository: "acme/" + name, name: name, files: files}
}

// fronts have workspaces in workspaces, patches, and links to each other.
var fronts = []shape{
	front("by_pnpm", "1m of the library", "../..", `require("ms")(60000), require("lib")`, map[string]string{
		"package.json":           `{"name": "by_pnpm", "private": true, "scripts": {"build": "pnpm --filter web build"}}`,
		"pnpm-workspace.yaml":    "packages:\n  - apps/*\n  - libs/*\n",
		"apps/web/package.json":  `{"name": "web", "private": true, "scripts": {"build": "node build.js"}, "dependencies": {"lib": "workspace:*", "ms": "2.1.3"}}`,
		"apps/web/build.js":      builds,
		"libs/lib/package.json":  `{"name": "lib", "version": "1.0.0", "main": "src/index.js"}`,
		"libs/lib/src/index.js":  "module.exports = \"of the library\";\n",
		"libs/lib/src/shared.js": "module.exports = \"of the other app\";\n",
		"pnpm-lock.yaml": `lockfileVersion: '9.0'

settings:
  autoInstallPeers: true
  excludeLinksFromLockfile: false

importers:

  .: {}

  apps/web:
    dependencies:
      lib:
        specifier: workspace:*
        version: link:../../libs/lib
      ms:
        specifier: 2.1.3
        version: 2.1.3

  libs/lib: {}

packages:

  ms@2.1.3:
    resolution: {integrity: sha512-` + ms + `}

snapshots:

  ms@2.1.3: {}
`,
	}),
	front("by_npm", "true 1m", "../../..", `require("isarray")([]), require("ms")(60000)`, map[string]string{
		"package.json": `{"name": "by_npm", "private": true, "scripts": {"build": "cd frontend && npm install && npm run build"}, "dependencies": {"ms": "2.1.3"}}`,
		"package-lock.json": `{"name": "by_npm", "lockfileVersion": 3, "requires": true, "packages": {
"": {"name": "by_npm", "dependencies": {"ms": "2.1.3"}},
"node_modules/ms": {"version": "2.1.3", "integrity": "sha512-` + ms + `"}}}`,
		"frontend/package.json":              `{"name": "frontend", "private": true, "workspaces": ["packages/*"], "scripts": {"build": "npm run build --workspace=@by/lib"}}`,
		"frontend/packages/lib/package.json": `{"name": "@by/lib", "version": "1.0.0", "scripts": {"build": "node build.js"}, "dependencies": {"isarray": "2.0.5"}}`,
		"frontend/packages/lib/build.js":     builds,
		"frontend/package-lock.json": `{"name": "frontend", "lockfileVersion": 3, "requires": true, "packages": {
"": {"name": "frontend", "workspaces": ["packages/*"]},
"node_modules/@by/lib": {"resolved": "packages/lib", "link": true},
"node_modules/isarray": {"version": "2.0.5", "integrity": "sha512-xHjhDr3cNBK0BzdUJSPXZntQUx/mwMS5Rw4A7lPJ90XGAO6ISP/ePDNuo0vhqOZU+UD5JoodwCAAoZQd3FeAKw=="},
"packages/lib": {"name": "@by/lib", "version": "1.0.0", "dependencies": {"isarray": "2.0.5"}}}}`,
	}),
	front("by_berry", "1m", ".", `require("ms")(60000)`, map[string]string{
		"package.json": `{"name": "by_berry", "private": true, "packageManager": "yarn@4.18.1", "scripts": {"build": "node build.js"}, "dependencies": {"ms": "2.1.3"}}`,
		"build.js":     builds,
		"yarn.lock": berryHead + `  version: 10
  cacheKey: 10c0

"by_berry@workspace:.":
  version: 0.0.0-use.local
  resolution: "by_berry@workspace:."
  dependencies:
    ms: "npm:2.1.3"
  languageName: unknown
  linkType: soft

"ms@npm:2.1.3":
  version: 2.1.3
  resolution: "ms@npm:2.1.3"
  checksum: 10c0/d924b57e7312b3b63ad21fc5b3dc0af5e78d61a1fc7cfb5457edaf26326bf62be5307cc87ffb6862ef1c2b33b0233cdb5d4f01c4c958cc0d660948b65a287a48
  languageName: node
  linkType: hard
`,
	}),
	front("by_link", "of the other app of the library", "..", `require("@other/lib/src/shared"), require("../../by_pnpm/libs/lib")`, map[string]string{
		"package.json":          `{"name": "by_link", "private": true, "scripts": {"postinstall": "yarn web", "web": "cd frontend && yarn install --check-files", "build": "cd frontend && yarn build"}}`,
		"yarn.lock":             "# yarn lockfile v1\n",
		"frontend/package.json": `{"name": "frontend", "private": true, "scripts": {"build": "node build.js"}, "dependencies": {"@other/lib": "link:../../by_pnpm/libs/lib"}}`,
		"frontend/yarn.lock":    "# yarn lockfile v1\n\n\n\"@other/lib@link:../../by_pnpm/libs/lib\":\n  version \"0.0.0\"\n  uid \"\"\n",
		"frontend/build.js":     builds,
	}),
	// A front end with a lock that the root's yarn does not read.
	front("by_two", "1m", "..", `require("ms")(60000)`, map[string]string{
		"package.json":          `{"name": "by_two", "private": true, "scripts": {"postinstall": "cd frontend && yarn install", "build": "cd frontend && yarn run build"}}`,
		"frontend/package.json": `{"name": "frontend", "private": true, "scripts": {"build": "node build.js"}, "dependencies": {"ms": "^2.1.0"}}`,
		"frontend/build.js":     builds + "if (require('ms/package.json').version !== '2.1.2') throw new Error('not as locked');\n",
		"frontend/yarn.lock": berryHead + `  version: 8
  cacheKey: 10c0

"frontend@workspace:.":
  version: 0.0.0-use.local
  resolution: "frontend@workspace:."
  dependencies:
    ms: "npm:^2.1.0"
  languageName: unknown
  linkType: soft

"ms@npm:^2.1.0":
  version: 2.1.2
  resolution: "ms@npm:2.1.2"
  checksum: 10c0/a437714e2f90dbf881b5191d35a6db792efbca5badf112f87b9e1c712aace4b4b9b742dd6537f3edf90fd6f684de897cec230abde57e87883766712ddda297cc
  languageName: node
  linkType: hard
`,
	}),
}

// common are the files of an app that all have, and others.
func common(name string, others ...githubtest.Entry) []githubtest.Entry {
	return append([]githubtest.Entry{
		{Path: name + "/__init__.py", Text: "__version__ = \"0.0.1\"\n"},
		{Path: name + "/hooks.py", Text: "app_name = app_title = app_description = \"" + name + "\"\n"},
		{Path: name + "/modules.txt"}, {Path: name + "/patches.txt"},
	}, others...)
}

// TestShapes builds apps in the shapes that the world has: whichever back end
// describes them, all they need is locked, and nothing else; a submodule that
// nobody can fetch is in nobody's way.
func TestShapes(t *testing.T) {
	if testing.Short() {
		t.Skip("builds an image")
	}
	enginetest.Shared(t)
	u := &user{t: t, printed: &syncedBuffer{}, world: newWorld(t, sandbox.Options{Name: "shapes", NoHost: true})}
	root := filepath.Join(u.world.Dir, "repositories")
	selection := apps.Selection{{Owner: "frappe", Name: "frappe", Ref: "v15.1.0"}}
	for _, s := range slices.Concat(shapes, fronts, yarns, pnpms) {
		entries := common(s.name)
		for _, name := range slices.Sorted(maps.Keys(s.files)) {
			text := s.files[name]
			entries = append(entries, githubtest.Entry{Path: name, Text: text})
		}
		if s.submodule != "" {
			entries = append(entries, githubtest.Entry{Path: s.submodule, Mode: "160000", Text: strings.Repeat("ab", 20)})
		}
		githubtest.New(t, root, s.repository).CommitEntries("main", entries...)
		owner, name, _ := strings.Cut(s.repository, "/")
		selection = append(selection, apps.Ref{Owner: owner, Name: name, Ref: "main"})
	}
	// A node module at a commit.
	module := githubtest.New(t, root, "acme/module")
	module.CommitEntries("main", githubtest.Entry{Path: "package.json", Text: `{"name": "module", "version": "1.0.0", "main": "index.js"}`})
	commit := module.CommitEntries("main", githubtest.Entry{Path: "index.js", Text: "export default \"of the module\";\n"})
	address := "git+" + u.world.GitHub.URL() + "/acme/module#" + commit
	githubtest.New(t, root, "acme/by_module").CommitEntries("main", common("by_module",
		githubtest.Entry{Path: "setup.py", Text: "from setuptools import setup\n\nsetup(name=\"by_module\", version=\"0.0.1\", packages=[\"by_module\"])\n"},
		githubtest.Entry{Path: "package.json", Text: fmt.Sprintf(`{"name": "by_module", "scripts": {"postinstall": "node scripts/[mend].js"}, "dependencies": {"module": %q}}`, address)},
		githubtest.Entry{Path: "scripts/[mend].js", Text: "require(\"fs\").writeFileSync(\"node_modules/module/index.js\", 'export default \"as we mended it\";\\n');\n"},
		githubtest.Entry{Path: "yarn.lock", Text: fmt.Sprintf("# yarn lockfile v1\n\n\n\"module@%[1]s\":\n  version \"1.0.0\"\n  resolved \"%[1]s\"\n", address)},
		githubtest.Entry{Path: "by_module/hooks.py", Text: `from pathlib import Path

app_name = app_title = app_description = "by_module"
bundles = Path("/home/frappe/frappe-bench/assets/by_module/dist/js").glob("*.js")
assert any("as we mended it" in bundle.read_text() for bundle in bundles), "its script was not run"
`},
		githubtest.Entry{Path: "by_module/public/js/by_module.bundle.js", Text: "import said from \"module\";\nconsole.log(said);\n"})...)
	selection = append(selection, apps.Ref{Owner: "acme", Name: "by_module", Ref: "main"})
	// What only the token of its app opens.
	githubtest.New(t, root, "desiredeffect/by_git").CommitEntries("main", common("by_git", githubtest.Entry{Path: "pyproject.toml", Text: fmt.Sprintf(`[project]
name = "by_git"
version = "0.0.1"
description = "An app that needs a private package"
dependencies = ["de_macrs @ git+%s/desiredeffect/de_macrs@v0.0.4"]

[build-system]
requires = ["flit_core >=3.4,<4"]
build-backend = "flit_core.buildapi"
`, u.world.GitHub.URL())})...)
	selection = append(selection, apps.Ref{Owner: "desiredeffect", Name: "by_git", Ref: "main", Private: true})
	var err error
	if u.environ, err = u.world.Environment(); err != nil {
		t.Fatal(err)
	}
	embedded, err := registry.Serve(t.Context(), filepath.Join(u.world.Dir, "pushed"))
	if err != nil {
		t.Fatal(err)
	}
	defer embedded.Close()
	u.environ = append(u.environ, "REGISTRY="+embedded.Address())
	lock := filepath.Join(u.world.Dir, "lock.json")
	u.must(u.command("build", "1.0.0", selection, "--lock", lock)...)
	text, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shapes {
		for _, p := range s.packages {
			if !strings.Contains(string(text), `\n`+p+"==") && !strings.Contains(string(text), `\n`+p+" @ https://") {
				t.Errorf("%s of %s is not locked", p, s.name)
			}
		}
		if strings.Contains(string(text), `\n`+strings.ReplaceAll(s.name, "_", "-")+"==") {
			t.Errorf("%s is locked as if it were PyPI's", s.name)
		}
	}
	if !strings.Contains(string(text), "/desiredeffect/de_macrs@") {
		t.Error("the private package is not locked")
	}
	if strings.Contains(string(text), `\nfrappe==`) {
		t.Error("PyPI's frappe is locked")
	}
	// It starts, imports and installs every one of them.
	listsShapes(t, u.must(u.command("push", "1.0.0", selection)...))
	linked := githubtest.New(t, root, "acme/linked")
	linked.CommitEntries("main", common("linked", githubtest.Entry{Path: "pyproject.toml", Text: fmt.Sprintf(byFlit, "linked")},
		githubtest.Entry{Path: "package.json", Text: `{"dependencies": {"@framework/ui": "link:../frappe/ui"}}`},
		githubtest.Entry{Path: "desk/package.json", Text: `{"dependencies": {"ui": "^1.0.0"}, "pnpm": {"overrides": {"ui@1": "file:../../by_pnpm/libs/gone"}}}`},
		githubtest.Entry{Path: "desk/pnpm-lock.yaml", Text: "lockfileVersion: '9.0'\n"})...)
	u.fails(u.command("build", "1.0.1", append(slices.Clone(selection), apps.Ref{Owner: "acme", Name: "linked", Ref: "main"})), cli.ExitUsage,
		"linked main: its package.json asks for link:../frappe/ui, and frappe v15.1.0 has no folder ui",
		"linked main: its desk/package.json asks for file:../../by_pnpm/libs/gone, and by_pnpm main has no folder libs/gone")
	broken := githubtest.New(t, root, "acme/broken")
	broken.CommitEntries("main", githubtest.Entry{Path: "broken/__init__.py", Text: "__version__ = \"1\"\n"}, githubtest.Entry{Path: "broken/hooks.py", Text: "\n"},
		githubtest.Entry{Path: "setup.py", Text: "import frappe\nfrom setuptools import setup\n\nsetup(name=\"broken\", version=\"1\", packages=[\"broken\"], install_requires=frappe.requirements())\n"})
	u.fails(u.command("build", "1.0.1", append(selection, apps.Ref{Owner: "acme", Name: "broken", Ref: "main"})), cli.ExitUsage,
		"broken main: its setup.py does not tell what the app needs to run", "'install_requires' must be a string")
	privateRegistry(u)
	otherHosts(u)
	u.environ = append(u.environ, "APT_PACKAGES=tree-of-nowhere -tree")
	u.fails(u.command("build", "1.0.2", selection), cli.ExitUsage, "APT_PACKAGES: the Debian of the image does not have the package tree-of-nowhere")
}
