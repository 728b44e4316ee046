package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// listing is what is in a layer, a line for each entry in its order: mode,
// owner, time and name, with what a link points to. Texts are by name.
func listing(t *testing.T, layer v1.Layer) (lines []string, texts map[string]string) {
	t.Helper()
	content, err := layer.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	texts = map[string]string{}
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return lines, texts
		}
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%04o %d:%d %d %s", header.Mode, header.Uid, header.Gid, header.ModTime.Unix(), header.Name)
		switch header.Typeflag {
		case tar.TypeSymlink:
			line += " -> " + header.Linkname
		case tar.TypeLink:
			line += " = " + header.Linkname
		}
		lines = append(lines, line)
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		texts[header.Name] = string(text)
	}
}

// exampleGraph is a graph of the example apps with stages as a store has them.
func exampleGraph(t *testing.T) (*Builder, *graph) {
	t.Helper()
	b := exampleBuilder(t)
	g := &graph{assets: map[string]*stage{}}
	for _, name := range exampleApps {
		s := &stage{}
		s.run.kept = stored(t, map[string]string{
			"home/frappe/frappe-bench/env/lib/site-packages/":                         "",
			"home/frappe/frappe-bench/env/lib/site-packages/" + name + ".pth":         benchDir + "/apps/" + name,
			"home/frappe/frappe-bench/env/lib/site-packages/" + name + "-1.dist-info": "",
		}, nil)
		g.links = append(g.links, s)
	}
	for name, texts := range map[string]map[string]string{
		"frappe":  {"assets.json": `{"desk.bundle.js": "/assets/frappe/dist/js/desk.bundle.A.js"}`, "assets-rtl.json": `{"desk.bundle.css": "/assets/frappe/dist/css-rtl/desk.bundle.B.css"}`},
		"erpnext": {"assets.json": `{"erpnext.bundle.js": "/assets/erpnext/dist/js/erpnext.bundle.C.js"}`},
		"hrms":    {"assets.json": `{"hrms.bundle.js": "/assets/hrms/dist/js/hrms.bundle.D.js", "desk.bundle.js": "/assets/hrms/dist/js/desk.bundle.E.js"}`, "assets-rtl.json": ""},
	} {
		s := &stage{}
		s.run.kept = stored(t, map[string]string{"home/frappe/frappe-bench/apps/" + name + "/" + name + "/public/dist/x.js": "built"}, texts)
		g.assets[name] = s
	}
	return b, g
}

func TestBenchLayer(t *testing.T) {
	b, g := exampleGraph(t)
	lock := exampleLock()
	m, err := newManifest(lock, "erpnext-pipeline v1")
	if err != nil {
		t.Fatal(err)
	}
	layer, err := benchLayer(b.apps, g, m, lock.Requirements)
	if err != nil {
		t.Fatal(err)
	}
	lines, texts := listing(t, layer)
	const file, folder, link = "0644 1000:1000 1577836800 home/frappe/frappe-bench/", "0755 1000:1000 1577836800 home/frappe/frappe-bench/", "0777 1000:1000 1577836800 home/frappe/frappe-bench/"
	const kept = "0640 1000:1000 1577836800 home/frappe/frappe-bench/env/lib/site-packages/"
	want := []string{
		// Docker unpacks each layer by itself: see parentsScript.
		"0755 0:0 1577836800 home/", "0755 1000:1000 1577836800 home/frappe/", folder,
		folder + "apps/", folder + "apps/frappe/", folder + "apps/frappe/frappe/", folder + "apps/frappe/frappe/public/",
		// The websocket server's and what a page loads; erpnext's are in no image.
		link + "apps/frappe/frappe/public/node_modules -> /home/frappe/frappe-bench/apps/frappe/node_modules",
		folder + "apps/wiki/", folder + "apps/wiki/wiki/", folder + "apps/wiki/wiki/public/",
		link + "apps/wiki/wiki/public/node_modules -> /home/frappe/frappe-bench/apps/wiki/node_modules",
		folder + "assets/",
		file + "assets/assets-rtl.json",
		file + "assets/assets.json",
		link + "assets/erpnext -> /home/frappe/frappe-bench/apps/erpnext/erpnext/public",
		link + "assets/frappe -> /home/frappe/frappe-bench/apps/frappe/frappe/public",
		link + "assets/hrms -> /home/frappe/frappe-bench/apps/hrms/hrms/public",
		link + "assets/hrms_docs -> /home/frappe/frappe-bench/apps/hrms/hrms/www/docs",
		link + "assets/payments -> /home/frappe/frappe-bench/apps/payments/payments/public",
		link + "assets/wiki -> /home/frappe/frappe-bench/apps/wiki/wiki/public",
		link + "assets/wiki_docs -> /home/frappe/frappe-bench/apps/wiki/wiki/docs",
		folder + "env/", folder + "env/lib/", folder + "env/lib/site-packages/",
		kept + "erpnext-1.dist-info", kept + "erpnext.pth", kept + "frappe-1.dist-info", kept + "frappe.pth", kept + "hrms-1.dist-info",
		kept + "hrms.pth", kept + "payments-1.dist-info", kept + "payments.pth", kept + "wiki-1.dist-info", kept + "wiki.pth",
		file + "manifest.json",
		file + "requirements.lock",
		folder + "sites/",
		file + "sites/apps.txt",
		file + "sites/common_site_config.json",
	}
	if got, want := strings.Join(lines, "\n"), strings.Join(want, "\n"); got != want {
		t.Errorf("the layer has\n%s\nwant\n%s", got, want)
	}
	for name, want := range map[string]string{
		// In install order: what an app overrides stays overridden.
		"assets/assets.json":             "{\n    \"desk.bundle.js\": \"/assets/hrms/dist/js/desk.bundle.E.js\",\n    \"erpnext.bundle.js\": \"/assets/erpnext/dist/js/erpnext.bundle.C.js\",\n    \"hrms.bundle.js\": \"/assets/hrms/dist/js/hrms.bundle.D.js\"\n}",
		"assets/assets-rtl.json":         "{\n    \"desk.bundle.css\": \"/assets/frappe/dist/css-rtl/desk.bundle.B.css\"\n}",
		"requirements.lock":              lock.Requirements,
		"sites/apps.txt":                 "frappe\nerpnext\nhrms\nwiki\npayments\n",
		"sites/common_site_config.json":  "{}",
		"env/lib/site-packages/wiki.pth": benchDir + "/apps/wiki",
	} {
		if got := texts["home/frappe/frappe-bench/"+name]; got != want {
			t.Errorf("%s: %q\nwant %q", name, got, want)
		}
	}
	for _, want := range []string{"\"site_version\": \"1.1.5\"", "\"commit\": \"" + lock.Apps[2].Commit + "\"", "\"sha256:aa01\"", "\"builder\": \"erpnext-pipeline v1\""} {
		if text := texts[strings.TrimPrefix(ManifestPath, "/")]; !strings.Contains(text, want) {
			t.Errorf("%s is not in the manifest\n%s", want, text)
		}
	}
	if kind, err := layer.MediaType(); err != nil || kind != types.OCILayer {
		t.Errorf("media type %s, %v", kind, err)
	}

	b, g = exampleGraph(t)
	again, err := benchLayer(b.apps, g, m, lock.Requirements)
	if err != nil {
		t.Fatal(err)
	}
	if one, other := digestOf(t, layer), digestOf(t, again); one != other {
		t.Errorf("the same graph gives %s and %s", one, other)
	}
}

func TestBenchLayerErrors(t *testing.T) {
	b, g := exampleGraph(t)
	g.assets["hrms"].run.kept = stored(t, nil, map[string]string{"assets.json": "<html>"})
	if _, err := benchLayer(b.apps, g, manifest{}, ""); message(err) != "read assets.json of hrms: invalid character '<' looking for beginning of value" {
		t.Errorf("error %q", message(err))
	}
}
