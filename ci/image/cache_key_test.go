package image

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

func TestKeyOf(t *testing.T) {
	file := func(path, mode, blob string) []entry {
		return entries([]apps.File{{Path: path, Mode: mode, Blob: blob}}, func(string) bool { return true })
	}
	parts := []any{"app", "hrms", int64(7), file("hrms/hooks.py", "100644", "aa"), map[string]string{"a": "1", "b": "2"}}
	key := keyOf(parts...)
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(key) {
		t.Errorf("key %q, want 32 hexadecimal digits", key)
	}
	again := []any{"app", "hrms", int64(7), file("hrms/hooks.py", "100644", "aa"), map[string]string{"b": "2", "a": "1"}}
	if other := keyOf(again...); other != key {
		t.Errorf("the same parts have the keys %s and %s", key, other)
	}
	with := func(at int, part any) []any {
		changed := slices.Clone(parts)
		changed[at] = part
		return changed
	}
	for name, other := range map[string][]any{
		"another order":           {parts[1], parts[0], parts[2], parts[3], parts[4]},
		"a part less":             parts[:4],
		"a part more":             append(slices.Clone(parts), ""),
		"parts that run together": with(0, "apph")[1:],
		"another number":          with(2, int64(8)),
		"a number as text":        with(2, "7"),
		"another content":         with(3, file("hrms/hooks.py", "100644", "ab")),
		"another mode":            with(3, file("hrms/hooks.py", "100755", "aa")),
		"another path":            with(3, file("hrms/hook.py", "100644", "aa")),
		"no file":                 with(3, []entry(nil)),
		"another value by name":   with(4, map[string]string{"a": "2", "b": "1"}),
	} {
		if keyOf(other...) == key {
			t.Errorf("%s: the key stays the same", name)
		}
	}
	if keyOf("ab", "c") == keyOf("a", "bc") {
		t.Error("where one part ends and the next begins does not matter")
	}
}

// What reads what, by the files of real apps.
func TestReads(t *testing.T) {
	hrms := example(t, "hrms")
	for name, test := range map[string]struct {
		reads     func(string) bool
		yes, noes []string
	}{
		"installation of modules": {
			hrms.readsInstall,
			[]string{"package.json", "yarn.lock", ".npmrc", ".yarnrc", "frontend/package.json", "roster/yarn.lock", "package-lock.json", "frontend/apps/web/package.json", "frontend/patches/vue.patch", ".yarn/releases/yarn-4.cjs"},
			[]string{"hrms/public/js/package.json", "frontend/vite.config.js", "frontend/src/package.js", "setup.py", ".yarn/unplugged/x"},
		},
		"assets": {
			readsAssets,
			[]string{"package.json", "frontend/src/main.js", "hrms/public/scss/hrms.bundle.scss", "hrms/hr/doctype/leave/leave.json", "hrms/www/hrms.html", "hrms/requirements.json", ".gitattributes", "hrms/public/images/a.svg"},
			[]string{"hrms/hooks.py", "hrms/py.pyi", "hrms/locale/de.po", "hrms/locale/main.pot", "hrms/translations/de.csv", "README.md", "hrms/patches.txt", "hrms/modules.txt", "requirements.txt", "pyproject.toml", "setup.cfg", "MANIFEST.in", ".github/workflows/ci.yml", ".gitignore", ".git-blame-ignore-revs"},
		},
		"bundles": {
			hrms.readsBundles(),
			[]string{"package.json", "hrms/public/js/hrms.bundle.js", "frontend.js", "hrms/frontend/a.js"},
			[]string{"frontend/src/main.js", "roster/package.json", "hrms/hooks.py"},
		},
		"link": {
			readsLink("wiki"),
			[]string{"setup.py", "pyproject.toml", "requirements.txt", "MANIFEST.in", "README.md", "wiki/__init__.py"},
			[]string{"wiki/hooks.py", ".gitignore", ".github/workflows/ci.yml", "wiki/wiki/__init__.py", "other/__init__.py"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, p := range test.yes {
				if !test.reads(p) {
					t.Errorf("does not read %s", p)
				}
			}
			for _, p := range test.noes {
				if test.reads(p) {
					t.Errorf("reads %s", p)
				}
			}
		})
	}
}

func TestPartsOfApps(t *testing.T) {
	for name, want := range map[string]struct {
		folders, fronts, packages []string
		bundles, serves, builds   bool
		requires                  []string
	}{
		"frappe": {
			folders: []string{"node_modules"}, packages: []string{"frappe"}, bundles: true, serves: true,
		},
		"erpnext": {
			folders: []string{"node_modules"}, packages: []string{"erpnext"}, bundles: true,
		},
		"hrms": {
			folders: []string{"frontend/node_modules", "node_modules", "roster/node_modules"},
			fronts:  []string{"frontend", "roster"}, packages: []string{"hrms"}, bundles: true, builds: true, requires: []string{"erpnext"},
		},
		// Its package.json lies in the package, whose source stays; its only
		// script is no bundle.
		"wiki": {
			folders: []string{"node_modules", "wiki/node_modules"}, packages: []string{"wiki", "wiki_search"}, serves: true,
		},
		"payments": {packages: []string{"payments"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := example(t, name)
			for _, list := range []struct {
				of        string
				got, want []string
			}{
				{"folders with node modules", a.nodeFolders(), want.folders},
				{"front ends", a.fronts(), want.fronts},
				{"top-level packages", topPackages(a.files), want.packages},
				{"required apps", a.requires, want.requires},
			} {
				if !slices.Equal(list.got, list.want) {
					t.Errorf("%s: %q, want %q", list.of, list.got, list.want)
				}
			}
			if a.bundles() != want.bundles {
				t.Errorf("has bundles: %v", a.bundles())
			}
			if a.servesModules() != want.serves {
				t.Errorf("serves its node modules: %v", a.servesModules())
			}
			if a.node.builds != want.builds {
				t.Errorf("builds a front end: %v", a.node.builds)
			}
		})
	}
}

// frappe's esbuild looks in an app's own public folder.
func TestBundles(t *testing.T) {
	for p, want := range map[string]bool{
		"hrms/public/js/hrms.bundle.js":           true,
		"hrms/public/js/a/b.bundle.ts":            true,
		"hrms/public/scss/hrms.bundle.scss":       true,
		"hrms/public/js/hrms.js":                  false,
		"hrms/public/js/hrms.bundle.js.map":       false,
		"hrms/public/js/hrmsxbundle.js":           false,
		"hrms/hr/page/x/x.bundle.js":              false,
		"frontend/public/js/frontend.bundle.js":   false,
		"erpnext/hrms/public/js/hrms.bundle.js":   false,
		"hrms/public/js/frontend.bundle.vue":      false,
		"hrms/public/node_modules/a/a.bundle.css": true,
	} {
		a := app{App: release.App{Name: "hrms"}, files: []apps.File{{Path: p}}}
		if a.bundles() != want {
			t.Errorf("%s makes it an app with bundles: %v", p, a.bundles())
		}
	}
}

func TestVisible(t *testing.T) {
	of := func(name string, requires ...string) app {
		return app{App: release.App{Name: name}, requires: requires}
	}
	// own needs hrms and, through it, erpnext, and names one that is not there;
	// payments and erpnext need each other.
	b := &Builder{apps: []app{of("frappe"), of("erpnext", "payments"), of("payments", "erpnext"), of("hrms", "erpnext"), of("own", "hrms", "absent"), of("wiki", "frappe")}}
	for name, want := range map[string]string{
		"frappe":   "frappe",
		"wiki":     "frappe wiki",
		"erpnext":  "frappe erpnext payments",
		"payments": "frappe erpnext payments",
		"hrms":     "frappe erpnext payments hrms",
		"own":      "frappe erpnext payments hrms own",
	} {
		at := slices.IndexFunc(b.apps, func(a app) bool { return a.Name == name })
		var got []string
		for _, v := range b.visible(&b.apps[at]) {
			got = append(got, v.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("to %s are visible %s, want %s", name, strings.Join(got, " "), want)
		}
	}
}

func TestTimeOf(t *testing.T) {
	// A file that is built anew has a time of its own, and none lies in the
	// future of the machine that reads it.
	const most = epoch + 1<<24 - 1
	for key, want := range map[string]int64{
		"000000ffff": epoch,
		"000001ffff": epoch + 1,
		"0000a00000": epoch + 10*16,
		"ffffff0000": most,
	} {
		if got := timeOf(key); got != want {
			t.Errorf("time of %s: %d, want %d", key, got, want)
		}
	}
}

// keys are the keys of all stages of a graph, by the stages' names.
func (g *graph) keys() map[string]string {
	found := map[string]string{}
	add := func(stages ...*stage) {
		for _, s := range stages {
			found[s.String()] = s.key
		}
	}
	add(g.bases...)
	add(g.commands...)
	add(g.environments...)
	add(g.sources...)
	add(g.links...)
	add(g.rest...)
	for _, byName := range append(append(g.modules, g.served...), g.assets, g.fronts, g.locales) {
		for _, s := range byName {
			add(s)
		}
	}
	return found
}

// A change builds anew what reads it, and nothing else.
func TestKeysOfAGraph(t *testing.T) {
	var links, all []string
	for _, name := range exampleApps {
		links = append(links, "link "+name)
	}
	for name := range exampleBuilder(t).newGraph(exampleLock()).keys() {
		all = append(all, name)
	}
	file := func(name, path string) func(*testing.T, *Builder, *release.Lock) {
		return func(_ *testing.T, b *Builder, _ *release.Lock) {
			a := &b.apps[slices.Index(exampleApps, name)]
			at := slices.IndexFunc(a.files, func(f apps.File) bool { return f.Path == path })
			if at < 0 {
				a.files = append(a.files, apps.File{Path: path, Mode: "100644", Blob: "new"})
				return
			}
			a.files = slices.Clone(a.files)
			a.files[at].Blob = "changed"
		}
	}
	for name, test := range map[string]struct {
		change func(*testing.T, *Builder, *release.Lock)
		want   []string
	}{
		"nothing": {func(*testing.T, *Builder, *release.Lock) {}, nil},
		"who releases, where from and how often": {
			func(_ *testing.T, b *Builder, lock *release.Lock) {
				b.Mirrors = Mirrors{Apt: secret.New("http://apt.example.com"), Images: "mirror.example.com", CAs: "PEM"}
				b.Sources = map[string]apps.Source{lock.Apps[0].URL: {Token: secret.New("token"), User: "who"}}
				b.NoCache, b.Name, lock.SiteVersion = NoCacheAll, "another", "2.0.0"
			}, nil,
		},
		"a Python file of erpnext":                   {file("erpnext", "erpnext/hooks.py"), []string{"app erpnext"}},
		"a new Python file":                          {file("erpnext", "erpnext/utils/new.py"), []string{"app erpnext"}},
		"the version of erpnext":                     {file("erpnext", "erpnext/__init__.py"), []string{"app erpnext", "link erpnext"}},
		"a second package of wiki":                   {file("wiki", "wiki_tools/__init__.py"), []string{"app wiki", "link wiki"}},
		"a translation that frappe does not compile": {file("erpnext", "erpnext/locale/de.po"), []string{"app erpnext"}},
		"what describes wiki":                        {file("wiki", "setup.py"), []string{"app wiki", "link wiki"}},
		"a bundle of hrms":                           {file("hrms", "hrms/public/js/hrms.bundle.js"), []string{"app hrms", "assets hrms", "front hrms"}},
		"the front end of hrms":                      {file("hrms", "frontend/src/main.js"), []string{"app hrms", "front hrms"}},
		"a new style of erpnext":                     {file("erpnext", "erpnext/public/scss/new.scss"), []string{"app erpnext", "assets erpnext", "assets hrms", "front hrms"}},
		"node modules of hrms":                       {file("hrms", "frontend/yarn.lock"), []string{"app hrms", "assets hrms", "front hrms", "modules hrms linux/amd64"}},
		"a patch for a module of hrms":               {file("hrms", "frontend/patches/vue+3.4.patch"), []string{"app hrms", "assets hrms", "front hrms", "modules hrms linux/amd64"}},
		"a script of frappe's server":                {file("frappe", "socketio.js"), []string{"app frappe", "assets erpnext", "assets frappe", "assets hrms", "front hrms", "link frappe"}},
		"the date of a commit": {
			func(_ *testing.T, b *Builder, _ *release.Lock) {
				b.apps[4].CommittedAt = b.apps[4].CommittedAt.AddDate(0, 0, 1)
			}, []string{"app payments"},
		},
		"the Python packages": {
			func(_ *testing.T, _ *Builder, lock *release.Lock) { lock.Requirements += "six==1.16.0\n" },
			append([]string{"environment linux/amd64"}, links...),
		},
		"a package of the base": {
			func(_ *testing.T, _ *Builder, lock *release.Lock) { lock.DebianChromium = true },
			[]string{"base linux/amd64"},
		},
		"a Debian package that an app asks for": {
			func(_ *testing.T, b *Builder, _ *release.Lock) {
				b.apps[4].project.apt = []any{"libxml2-dev libxslt1-dev", "ffmpeg"}
			},
			slices.Concat([]string{"base linux/amd64", "compilers linux/amd64", "environment linux/amd64"}, links),
		},
		"one that is left out again": {
			func(_ *testing.T, b *Builder, lock *release.Lock) {
				b.apps[4].project.apt = []any{"ffmpeg"}
				lock.AptPackages = []string{"-ffmpeg"}
			}, nil,
		},
		"what layers are packed with": {
			func(_ *testing.T, _ *Builder, lock *release.Lock) { lock.Bases[packerBase] = "sha256:new" },
			[]string{"packer"},
		},
		"Node": {
			func(_ *testing.T, _ *Builder, lock *release.Lock) {
				_, node := bases(*lock)
				lock.Bases[node] = "sha256:new"
			},
			slices.DeleteFunc(slices.Clone(all), func(s string) bool { return strings.HasPrefix(s, "app ") || s == "packer" }),
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := exampleBuilder(t).newGraph(exampleLock()).keys()
			b, lock := exampleBuilder(t), exampleLock()
			test.change(t, b, &lock)
			after := b.newGraph(lock).keys()
			if got, want := slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before)); !slices.Equal(got, want) {
				t.Fatalf("stages %q, want %q", got, want)
			}
			var changed []string
			for name, key := range after {
				if before[name] != key {
					changed = append(changed, name)
				}
			}
			slices.Sort(changed)
			slices.Sort(test.want)
			if !slices.Equal(changed, test.want) {
				t.Errorf("is built anew: %q\nwant %q", changed, test.want)
			}
		})
	}
}

// Every stage has a key of its own, under a tag that registries take.
func TestTagsOfAGraph(t *testing.T) {
	b := exampleBuilder(t)
	b.Platforms = append(b.Platforms, "linux/arm64")
	of := map[string]string{}
	for stage, key := range b.newGraph(exampleLock()).keys() {
		if other := of[key]; other != "" {
			t.Errorf("%s and %s have one key", stage, other)
		}
		of[key] = stage
	}
	s := stage{name: "assets", of: "hrms", platform: "linux/arm64", key: keyOf("x")}
	if got, want := s.tag(), "stage.assets.hrms."+keyOf("x"); got != want {
		t.Errorf("tag %q, want %q", got, want)
	}
	if _, err := name.NewTag("registry.example.com/acme/site:" + s.tag()); err != nil {
		t.Error(err)
	}
	whole := stage{name: "tools", key: keyOf("x")}
	if got, want := whole.tag(), "stage.tools."+keyOf("x"); got != want {
		t.Errorf("tag %q, want %q", got, want)
	}
	if got, want := s.String(), "assets hrms linux/arm64"; got != want {
		t.Errorf("name %q, want %q", got, want)
	}
}

// A folder of another app that a front end links to decides that front end, wherever
// the folder lies, and nothing else of the app.
func TestKeysOfLinks(t *testing.T) {
	keys := func(links, file string) map[string]string {
		r := exampleReader()
		lock := exampleLock()
		for i := range lock.Apps {
			r[lock.Apps[i].URL] = maps.Clone(r[lock.Apps[i].URL])
		}
		r[lock.Apps[4].URL]["ui/package.json"], r[lock.Apps[4].URL]["ui/src/index.js"] = "{}", ""
		r[lock.Apps[4].URL]["package.json"] = "{}"
		r[lock.Apps[4].URL][file] = "changed"
		r[lock.Apps[2].URL]["frontend/package.json"] = links
		b := exampleBuilder(t)
		var err error
		if b.apps, err = survey(t.Context(), r, lock.Apps); err != nil {
			t.Fatal(err)
		}
		return b.newGraph(lock).keys()
	}
	for links, want := range map[string][]string{
		`{"dependencies": {"ui": "link:../../payments/ui"}}`: {"app payments", "assets hrms", "front hrms", "modules hrms linux/amd64"},
		`{"dependencies": {"ui": "../../payments/ui/src"}}`:  {"app payments", "assets hrms", "front hrms", "modules hrms linux/amd64"},
		`{}`: {"app payments"},
	} {
		before, after := keys(links, "README"), keys(links, "ui/src/index.js")
		var changed []string
		for name, key := range after {
			if before[name] != key && name != "link payments" {
				changed = append(changed, name)
			}
		}
		if slices.Sort(changed); !slices.Equal(changed, want) {
			t.Errorf("%s: is built anew: %q\nwant %q", links, changed, want)
		}
	}
}

// A translation decides its own stage, once frappe compiles them.
func TestKeysOfTranslations(t *testing.T) {
	keys := func(add ...string) map[string]string {
		b := exampleBuilder(t)
		b.apps[0].files = append(b.apps[0].files, apps.File{Path: compiler})
		for _, p := range append(add, "erpnext/locale/main.pot") {
			b.apps[1].files = append(b.apps[1].files, apps.File{Path: p, Blob: p})
		}
		return b.newGraph(exampleLock()).keys()
	}
	none, one, two := keys("erpnext/docs/locale/de.po"), keys("erpnext/locale/de.po"), keys("erpnext/locale/de.po", "erpnext/locale/pt_BR.po")
	if none["locale erpnext"] != "" || one["locale erpnext"] == "" || one["locale erpnext"] == two["locale erpnext"] {
		t.Errorf("without %q, with one %q, with two %q", none["locale erpnext"], one["locale erpnext"], two["locale erpnext"])
	}
	if one["assets erpnext"] != two["assets erpnext"] {
		t.Error("a translation builds bundles anew")
	}
}
