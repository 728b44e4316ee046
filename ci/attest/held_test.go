package attest_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
)

// listed returns what a document lists of an image: for each component its
// package URL without "pkg:" and where it was found, except for the system.
func listed(t *testing.T, held ...attest.Held) []string {
	t.Helper()
	var bom cdx.BOM
	if err := json.Unmarshal(document(t, attest.Contents{Name: "acme/site", Digest: imageDigest, Held: held}), &bom); err != nil {
		t.Fatal(err)
	}
	if bom.Components == nil {
		return nil
	}
	var all []string
	for _, component := range *bom.Components {
		line := strings.TrimPrefix(component.PackageURL, "pkg:")
		if component.Evidence != nil {
			for _, at := range *component.Evidence.Occurrences {
				line += " " + at.Location
			}
		}
		if component.Scope != "" {
			line += " " + string(component.Scope)
		}
		if component.Properties != nil {
			for _, property := range *component.Properties {
				line += " " + property.Name + "=" + property.Value
			}
		}
		if component.Type != cdx.ComponentTypeOS {
			all = append(all, line)
		}
	}
	return all
}

// npm returns a package.json.
func npm(name, version string) string {
	return `{"name": "` + name + `", "version": "` + version + `", "main": "index.js"}`
}

// metadata returns a METADATA.
func metadata(name, version string) string {
	return "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n\nVersion: 9\n"
}

const (
	app  = "home/frappe/frappe-bench/apps/shop/node_modules/"
	site = "home/frappe/frappe-bench/env/lib/python3.11/site-packages/"
)

func TestNodePackagesInTheImage(t *testing.T) {
	for name, test := range map[string]struct {
		layer files
		want  []string
	}{
		"as npm and yarn lay them out": {files{
			app + "ms/package.json":                                           npm("ms", "2.1.3"),
			app + "@acme/ui/package.json":                                     npm("@acme/ui", "1.0.0"),
			app + "@acme/ui/node_modules/ms/package.json":                     npm("ms", "2.0.0"),
			app + "debug/node_modules/ms/package.json":                        npm("ms", "2.1.3"),
			app + ".bin/ms":                                                   "-> ../ms/index.js",
			app + "linked":                                                    "-> ../packages/linked",
			app + ".package-lock.json":                                        "{}",
			"home/frappe/frappe-bench/apps/shop/package.json":                 npm("shop", "1.0.0"),
			"usr/local/lib/node_modules/npm/package.json":                     npm("npm", "9.8.1"),
			"usr/local/lib/node_modules/npm/node_modules/abbrev/package.json": npm("abbrev", "2.0.0"),
		}, []string{
			"npm/%40acme/ui@1.0.0 /" + app + "@acme/ui/package.json",
			"npm/abbrev@2.0.0 /usr/local/lib/node_modules/npm/node_modules/abbrev/package.json",
			"npm/ms@2.0.0 /" + app + "@acme/ui/node_modules/ms/package.json",
			"npm/ms@2.1.3 /" + app + "debug/node_modules/ms/package.json /" + app + "ms/package.json",
			"npm/npm@9.8.1 /usr/local/lib/node_modules/npm/package.json",
		}},
		"as pnpm does, a package with other peers a hard link": {files{
			app + ".pnpm/ms@2.1.3/node_modules/ms/package.json":        npm("ms", "2.1.3"),
			app + ".pnpm/ui@1(a@1)/node_modules/@acme/ui/package.json": npm("@acme/ui", "1.0.0"),
			app + ".pnpm/ui@1(a@2)/node_modules/@acme/ui/package.json": "=> " + app + ".pnpm/ui@1(a@1)/node_modules/@acme/ui/package.json",
			app + ".pnpm/ui@1(a@2)/node_modules/ms":                    "-> ../../ms@2.1.3/node_modules/ms",
			app + ".pnpm/node_modules/ms":                              "-> ../ms@2.1.3/node_modules/ms",
			app + "ms":                                                 "-> .pnpm/ms@2.1.3/node_modules/ms",
			app + ".pnpm/lock.yaml":                                    "lockfileVersion: '9.0'\n",
		}, []string{
			"npm/%40acme/ui@1.0.0 /" + app + ".pnpm/ui@1(a@1)/node_modules/@acme/ui/package.json /" + app + ".pnpm/ui@1(a@2)/node_modules/@acme/ui/package.json",
			"npm/ms@2.1.3 /" + app + ".pnpm/ms@2.1.3/node_modules/ms/package.json",
		}},
		"a hard link to a file of another name": {files{
			app + "ms/copy-of-manifest": npm("ms", "2.1.3"), app + "ms/package.json": "=> " + app + "ms/copy-of-manifest",
		}, []string{"npm/ms@2.1.3 /" + app + "ms/package.json"}},
		"an alias": {files{app + "string-width-cjs/package.json": npm("string-width", "4.2.3")}, []string{
			"npm/string-width@4.2.3 /" + app + "string-width-cjs/package.json",
		}},
		"a byte order mark": {files{app + "ms/package.json": "\ufeff" + npm("ms", "2.1.3")}, []string{"npm/ms@2.1.3 /" + app + "ms/package.json"}},
		"what is no package": {files{
			app + "ms/esm/package.json":                         npm("esm-of-ms", "1.0.0"),
			app + "ms/package.json":                             `{"type": "module"}`,
			app + "nameless/package.json":                       `{"version": "1.0.0"}`,
			app + "broken/package.json":                         `{"name": "broken",`,
			app + "resolve/test/node_modules/toy/package.json":  npm("toy", "1.0.0"),
			app + "package.json":                                npm("shop", "1.0.0"),
			app + ".cache/package.json":                         npm("cache", "1.0.0"),
			app + "@acme/package.json":                          npm("@acme/none", "1.0.0"),
			"home/node_modules_of_old/ms/package.json":          npm("ms", "1.0.0"),
			"usr/share/nodejs/npm/node_modules/ms/package.json": npm("ms", "0.0.1"),
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := listed(t, readFiles(t, test.layer)...); !slices.Equal(got, test.want) {
				t.Errorf("lists\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestPythonPackagesInTheImage(t *testing.T) {
	got := listed(t, readFiles(t, files{
		site + "redis-5.0.1.dist-info/METADATA":                                                     metadata("redis", "5.0.1"),
		site + "redis/__init__.py":                                                                  "",
		site + "Zope.Interface_Extra-6.2.dist-info/METADATA":                                        "name: Zope.Interface_Extra\r\nLicense: of\nmany lines\nVERSION: 6.2\r\n\r\nName: other\n",
		site + "frappe-15.1.0.dist-info/METADATA":                                                   metadata("frappe", "15.1.0"),
		site + "frappe-15.1.0.dist-info/direct_url.json":                                            `{"url": "file:///home/frappe/frappe-bench/apps/frappe", "dir_info": {"editable": true}}`,
		site + "macrs-1.dist-info/METADATA":                                                         metadata("macrs", "1"),
		site + "macrs-1.dist-info/direct_url.json":                                                  `{"url": "https://robot:hunter2@github.com/acme/macrs", "vcs_info": {"vcs": "git", "commit_id": "` + commit + `"}}`,
		site + "six-1.16.0.dist-info/METADATA":                                                      metadata("six", "1.16.0"),
		site + "six-1.16.0.dist-info/direct_url.json":                                               `{"url": "https://files.example.com/six-1.16.0-py3-none-any.whl#sha256=ab", "archive_info": {}}`,
		site + "local-1.dist-info/METADATA":                                                         metadata("local", "1"),
		site + "local-1.dist-info/direct_url.json":                                                  `{"url": "file:///tmp/local-1-py3-none-any.whl", "archive_info": {}}`,
		site + "nameless.dist-info/METADATA":                                                        "Metadata-Version: 2.1\nVersion: 1\n",
		"opt/bench/lib/python3.11/site-packages/redis-5.0.1.dist-info/METADATA":                     metadata("redis", "5.0.1"),
		"usr/local/lib/python3.11/site-packages/setuptools-75.1.dist-info/METADATA":                 metadata("setuptools", "75.1"),
		"usr/local/lib/python3.11/site-packages/setuptools/_vendor/wheel-0.43.0.dist-info/METADATA": metadata("wheel", "0.43.0"),
		"usr/local/lib/python3.11/ensurepip/_bundled/pip-24.0-py3-none-any.whl":                     "PK",
		"usr/lib/python3/dist-packages/six-1.16.0.dist-info/METADATA":                               metadata("six", "1.16.0"),
		"home/frappe/frappe-bench/apps/frappe/frappe/tests/some-1.dist-info/METADATA":               metadata("some", "1"),
	})...)
	want := []string{
		"pypi/local@1 /" + site + "local-1.dist-info/METADATA",
		"pypi/macrs@1?vcs_url=git%2Bhttps:%2F%2Fgithub.com%2Facme%2Fmacrs%40" + commit + " /" + site + "macrs-1.dist-info/METADATA",
		"pypi/pip@24.0 /usr/local/lib/python3.11/ensurepip/_bundled/pip-24.0-py3-none-any.whl",
		"pypi/redis@5.0.1 /" + site + "redis-5.0.1.dist-info/METADATA /opt/bench/lib/python3.11/site-packages/redis-5.0.1.dist-info/METADATA",
		"pypi/setuptools@75.1 /usr/local/lib/python3.11/site-packages/setuptools-75.1.dist-info/METADATA",
		"pypi/six@1.16.0?download_url=https:%2F%2Ffiles.example.com%2Fsix-1.16.0-py3-none-any.whl /" + site + "six-1.16.0.dist-info/METADATA",
		"pypi/wheel@0.43.0 /usr/local/lib/python3.11/site-packages/setuptools/_vendor/wheel-0.43.0.dist-info/METADATA",
		"pypi/zope-interface-extra@6.2 /" + site + "Zope.Interface_Extra-6.2.dist-info/METADATA",
	}
	if !slices.Equal(got, want) {
		t.Errorf("lists\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What an upper layer removes or replaces is not in the image.
func TestUpperLayersCoverLowerOnes(t *testing.T) {
	lower := files{
		app + "ms/package.json":                    npm("ms", "2.1.3"),
		app + "ms/node_modules/in/package.json":    npm("in", "1.0.0"),
		site + "six-1.16.0.dist-info/METADATA":     metadata("six", "1.16.0"),
		"./" + site + "toolz-1.dist-info/METADATA": metadata("toolz", "1"),
	}
	const folder, env = "home/frappe/frappe-bench/apps/shop/", "home/frappe/frappe-bench/env"
	ms, in := "npm/ms@2.1.3 /"+app+"ms/package.json", "npm/in@1.0.0 /"+app+"ms/node_modules/in/package.json"
	six, toolz := "pypi/six@1.16.0 /"+site+"six-1.16.0.dist-info/METADATA", "pypi/toolz@1 /"+site+"toolz-1.dist-info/METADATA"
	for name, test := range map[string]struct {
		upper files
		want  []string
	}{
		"folders again":             {files{app: "", app + "ms/": "", site: ""}, []string{in, ms, six, toolz}},
		"a package is whited out":   {files{app + ".wh.ms": ""}, []string{six, toolz}},
		"a file is whited out":      {files{app + "ms/.wh.package.json": ""}, []string{in, six, toolz}},
		"a folder above is":         {files{"home/.wh.frappe": ""}, nil},
		"at the root":               {files{".wh.home": ""}, nil},
		"what only sounds alike is": {files{app + ".wh.m": ""}, []string{in, ms, six, toolz}},
		"a folder begins anew":      {files{app + ".wh..wh..opq": "", app + "ms/package.json": npm("ms", "3.0.0")}, []string{"npm/ms@3.0.0 /" + app + "ms/package.json", six, toolz}},
		"the root does":             {files{".wh..wh..opq": ""}, nil},
		"a newer version":           {files{app + "ms/package.json": npm("ms", "3.0.0")}, []string{in, "npm/ms@3.0.0 /" + app + "ms/package.json", six, toolz}},
		"no package any more":       {files{app + "ms/package.json": `{"private": true}`}, []string{in, six, toolz}},
		"a link in its place":       {files{app + "ms": "-> ../ours"}, []string{six, toolz}},
		"a file in its place":       {files{folder + "node_modules": "none"}, []string{six, toolz}},
		"a hard link in its place":  {files{"some": "", app + "ms": "=> some"}, []string{six, toolz}},
		"another environment":       {files{env: "-> /opt/env"}, []string{in, ms}},
		"an update of Python's": {files{
			site + ".wh.six-1.16.0.dist-info": "", site + "six-1.17.0.dist-info/METADATA": metadata("six", "1.17.0"),
		}, []string{in, ms, "pypi/six@1.17.0 /" + site + "six-1.17.0.dist-info/METADATA", toolz}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := listed(t, readFiles(t, lower, test.upper)...); !slices.Equal(got, test.want) {
				t.Errorf("lists\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestSystemPackagesInTheImage(t *testing.T) {
	stanza := func(name string) string {
		return "Package: " + name + "\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n\n"
	}
	lower := files{
		"usr/lib/os-release": debian12, "etc/os-release": "-> ../usr/lib/os-release",
		"var/lib/dpkg/status":         stanza("tree") + stanza("libllvm15") + stanza("meta") + stanza("old") + stanza("libz3-4"),
		"var/lib/dpkg/info/tree.list": "/.\n/usr\n/usr/bin\n/usr/bin/tree\n/usr/share\n/usr/share/doc\n/usr/share/doc/tree\n/usr/share/doc/tree/a copyright\n", "usr/bin/tree": "",
		"var/lib/dpkg/info/libllvm15:amd64.list": "/.\n/usr\n/usr/lib\n/usr/lib/libLLVM-15.so.1\n/usr/share\n/usr/share/doc\n/usr/share/doc/libllvm15\n/usr/share/doc/libllvm15/copyright\n",
		"usr/lib/":                               "", "usr/share/doc/libllvm15/": "",
		"var/lib/dpkg/info/meta.list": "/.\n",
		"var/lib/dpkg/info/old.list":  "/.\n/lib\n/lib/old.so\n", "lib": "-> usr/lib", "usr/lib/old.so": "",
		"var/lib/dpkg/info/libz3-4:amd64.list": "/.\n/usr\n/usr/lib\n/usr/lib/libz3.so.4\n",
	}
	line := func(name string) string { return "deb/debian/" + name + "@1?arch=amd64&distro=debian-12" }
	got := listed(t, readFiles(t, lower)...)
	if want := []string{line("libllvm15") + " excluded", line("libz3-4") + " excluded", line("meta"), line("old"), line("tree")}; !slices.Equal(got, want) {
		t.Errorf("lists\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// A layer on top removes one and installs another again.
	got = listed(t, readFiles(t, lower, files{
		"var/lib/dpkg/status": stanza("libllvm15") + stanza("jq"), "var/lib/dpkg/info/.wh.tree.list": "",
		"var/lib/dpkg/info/libllvm15:amd64.list": "/.\n/usr/lib/libLLVM-15.so.1\n", "usr/lib/libLLVM-15.so.1": "",
		"etc/.wh.os-release": "", "etc/os-release": "ID=devuan\n",
	})...)
	if want := []string{"deb/devuan/jq@1?arch=amd64&distro=devuan", "deb/devuan/libllvm15@1?arch=amd64&distro=devuan"}; !slices.Equal(got, want) {
		t.Errorf("with another layer lists %q, want %q", got, want)
	}
}

// Of an index each platform has its own document, and all have one together.
func TestTwoPlatforms(t *testing.T) {
	shared := layerOf(t, files{app + "ms/package.json": npm("ms", "2.1.3"), "large": noise(t)})
	cache := kept{}
	held := read(t, cache,
		imageOf(t, "linux/amd64", layerOf(t, files{site + "toolz-0.12.0.dist-info/METADATA": metadata("toolz", "0.12.0")}), shared),
		imageOf(t, "linux/arm64", layerOf(t, files{site + "toolz-1.0.0.dist-info/METADATA": metadata("toolz", "1.0.0")}), shared))
	ms := "npm/ms@2.1.3 /" + app + "ms/package.json"
	old, young := "pypi/toolz@0.12.0 /"+site+"toolz-0.12.0.dist-info/METADATA", "pypi/toolz@1.0.0 /"+site+"toolz-1.0.0.dist-info/METADATA"
	for i, want := range [][]string{{ms, old}, {ms, young}} {
		if got := listed(t, held[i]); !slices.Equal(got, want) {
			t.Errorf("of %s lists %q, want %q", held[i].Platform, got, want)
		}
	}
	want := []string{ms, old + " " + attest.PlatformProperty + "=linux/amd64", young + " " + attest.PlatformProperty + "=linux/arm64"}
	if got := listed(t, held...); !slices.Equal(got, want) {
		t.Errorf("of the index lists %q, want %q", got, want)
	}
	if len(cache) != 1 {
		t.Errorf("%d layers are kept, want the large one that both have", len(cache))
	}
}

// What has files on one platform is not excluded from the index.
func TestGoneOnOnePlatform(t *testing.T) {
	system := files{
		"etc/os-release": debian12, "var/lib/dpkg/info/iso-codes.list": "/usr/share/xml/iso.xml\n",
		"var/lib/dpkg/status": "Package: iso-codes\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n",
	}
	without := layerOf(t, system)
	system["usr/share/xml/iso.xml"] = ""
	with := layerOf(t, system)
	held := read(t, kept{}, imageOf(t, "linux/amd64", without), imageOf(t, "linux/arm64", with))
	const line = "deb/debian/iso-codes@1?arch=all&distro=debian-12"
	for want, of := range map[string][]attest.Held{line + " excluded": held[:1], line: held} {
		if got := listed(t, of...); !slices.Equal(got, []string{want}) {
			t.Errorf("lists %q, want %q", got, want)
		}
	}
}

// noise returns a text that makes a layer worth keeping what was read of it.
func noise(t *testing.T) string {
	t.Helper()
	text := make([]byte, 2<<20)
	if _, err := rand.Read(text); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sealed is a layer that can't be read.
type sealed struct{ v1.Layer }

var errSealed = errors.New("the layer is sealed")

func (sealed) Compressed() (io.ReadCloser, error)   { return nil, errSealed }
func (sealed) Uncompressed() (io.ReadCloser, error) { return nil, errSealed }

// refusing is a cache out of reach.
type refusing struct{ kept }

func (refusing) Find(context.Context, string) ([]byte, error) { return nil, errors.New("no route") }

func TestALayerIsReadOnce(t *testing.T) {
	large := layerOf(t, files{app + "ms/package.json": npm("ms", "2.1.3"), "large": noise(t)})
	top := layerOf(t, files{app + ".wh.ms": "", app + "in/package.json": npm("in", "1.0.0")})
	cache := kept{}
	first := document(t, attest.Contents{Name: "acme/site", Digest: imageDigest, Held: read(t, cache, imageOf(t, "linux/amd64", large, top))})
	if len(cache) != 1 {
		t.Fatalf("%d records are kept, want that of the large layer", len(cache))
	}
	known := imageOf(t, "linux/amd64", sealed{large}, top)
	if again := document(t, attest.Contents{Name: "acme/site", Digest: imageDigest, Held: read(t, cache, known)}); string(again) != string(first) {
		t.Errorf("from the record comes\n%s\nwant\n%s", again, first)
	}
	if _, err := attest.Read(t.Context(), []v1.Image{known}, refusing{}); err == nil || !strings.Contains(err.Error(), "no route") {
		t.Errorf("with a cache out of reach: %v", err)
	}
	for name := range cache {
		cache[name] = []byte("no record")
	}
	if _, err := attest.Read(t.Context(), []v1.Image{known}, cache); !errors.Is(err, errSealed) {
		t.Errorf("with a broken record the layer is not read: %v", err)
	}
	if got := listed(t, read(t, cache, imageOf(t, "linux/amd64", large))...); !slices.Equal(got, []string{"npm/ms@2.1.3 /" + app + "ms/package.json"}) {
		t.Errorf("the record is not replaced: %q", got)
	}
	read(t, cache, known)
}

func TestReadRefuses(t *testing.T) {
	layer := layerOf(t, files{"a": ""})
	if _, err := attest.Read(t.Context(), []v1.Image{imageOf(t, "", layer)}, kept{}); err == nil || err.Error() != "read configuration of image: it is for no platform" {
		t.Errorf("of an image for no platform: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := attest.Read(cancelled, []v1.Image{imageOf(t, "linux/amd64", layer)}, kept{}); !errors.Is(err, context.Canceled) {
		t.Errorf("when nobody waits: %v", err)
	}
}

// A name that no package can have makes none.
func TestNodeNames(t *testing.T) {
	for name, want := range map[string]bool{"a": true, "@acme/real": true, "JSONStream": true, "": false, "@acme/": false, "/": false, "x/": false, "@acme": false, "a/b": false} {
		made := document(t, attest.Contents{Name: "acme/site", Digest: imageDigest, Held: read(t, kept{}, imageOf(t, "linux/amd64", layerOf(t, files{app + "x/package.json": npm(name, "1.0.0")})))})
		if strings.Contains(string(made), "pkg:npm/") != want {
			t.Errorf("%q: %s", name, made)
		}
	}
}
