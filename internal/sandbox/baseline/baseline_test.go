package baseline

import (
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"dagger.io/dagger"
	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/images"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine/enginetest"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// TestBuild makes an image of the fixture apps, private ones among them, and
// looks for everything that a bench has in it.
func TestBuild(t *testing.T) {
	if os.Getenv("TEST_BASELINE") == "" {
		t.Skip("builds the way that the benchmark compares with, which is none of the product's: set TEST_BASELINE=1")
	}
	ctx := t.Context()
	client, mirror := enginetest.Session(t)
	test := enginetest.Log(t)
	if _, err := images.Ensure(ctx, client, mirror, images.Set{"python:3.11.6-slim-bookworm", "node:18.18.2-bookworm-slim"}, test); err != nil {
		t.Fatal(err)
	}
	const token = "ghp_0123456789abcdefghijklmnopqrstuvwxyz"
	root := t.TempDir()
	repositories, err := apps.Write(ctx, root)
	if err != nil {
		t.Fatal(err)
	}
	private := map[string][]string{}
	for _, r := range repositories {
		if r.Private {
			private[r.Owner+"/"+r.Name] = []string{token}
		}
	}
	server, err := github.Start(ctx, github.Options{Root: root, Private: private, Log: test})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	store := httptest.NewServer(registry.New(
		registry.Logger(log.New(io.Discard, "", 0)), registry.WithBlobHandler(registry.NewDiskBlobHandler(t.TempDir()))))
	t.Cleanup(store.Close)

	options := Options{
		Client: client, Python: "3.11.6", Node: "18.18.2",
		Address: strings.TrimPrefix(store.URL, "http://") + "/baseline:1",
		Observe: func(s Stage) { t.Logf("%s: %v", s.Name, s.Took) },
	}
	var names []string
	for _, ref := range apps.Version1() {
		app := App{URL: server.URL() + path.Join("/", ref.Owner, ref.Name), Ref: ref.Ref}
		if ref.Private {
			app.Token = secret.New(token)
		}
		options.Apps = append(options.Apps, app)
		names = append(names, ref.Name)
	}
	reference, err := Build(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(reference, options.Address+"@sha256:") {
		t.Errorf("reference is %s, want %s with its digest", reference, options.Address)
	}

	image := client.Container().From(reference)
	read := func(name string) string {
		t.Helper()
		text, err := image.File(BenchDir + "/" + name).Contents(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if got := strings.Fields(read("sites/apps.txt")); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(names))) {
		t.Errorf("sites/apps.txt names %v, want %v", got, names)
	}
	if got := read("sites/common_site_config.json"); got != "{}\n" {
		t.Errorf("sites/common_site_config.json is %s", got)
	}
	var assets map[string]string
	if err := json.Unmarshal([]byte(read("sites/assets/assets.json")), &assets); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(read("logs/bench.log"), token) {
		t.Error("no token in logs/bench.log: say so in the package's documentation")
	}
	for _, want := range []string{"frappe-web.bundle.js", "erpnext-web.bundle.js"} {
		if assets[want] == "" {
			t.Errorf("assets are %v, want %s among them", assets, want)
		}
	}
	out, err := image.WithExec([]string{"sh", "-euc", `
id -un; pwd
env/bin/python -c "import ` + strings.Join(names, ", ") + `; print('imported')"
env/bin/gunicorn --version
bench --version; node --version; yarn --version; nginx -v; restic version; vim --version | head -n 1
find . -name .git; find . ! -user frappe
`}).CombinedOutput(ctx)
	if err != nil {
		t.Fatal(options.readable(err))
	}
	for _, want := range []string{"frappe\n" + BenchDir + "\nimported\n", "gunicorn", "5.31.1\n", "v18.18.2\n", "nginx/", "restic 0.", "VIM"} {
		if !strings.Contains(out, want) {
			t.Errorf("in the image it printed\n%swant it to contain %q", out, want)
		}
	}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "./") {
			t.Errorf("%s is a git folder or another user's", strings.TrimSpace(line))
		}
	}
}

func TestRepositories(t *testing.T) {
	all, servers, err := repositories([]App{
		{URL: "http://127.0.0.1:41234/frappe/frappe", Ref: "v15.1.0"},
		{URL: "http://127.0.0.1:41234/desiredeffect/de_macrs", Ref: "v0.0.4", Token: secret.New("ghp_token")},
		{URL: "https://github.com/frappe/hrms", Ref: "v15.1.0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []repository{
		{"http://git-41234:41234/frappe/frappe", "v15.1.0"},
		{"http://x-access-token:ghp_token@git-41234:41234/desiredeffect/de_macrs", "v0.0.4"},
		{"https://github.com/frappe/hrms", "v15.1.0"},
	}
	if !slices.Equal(all, want) {
		t.Errorf("repositories are %v, want %v", all, want)
	}
	if want := []server{{"git-41234", "127.0.0.1", 41234}}; !slices.Equal(servers, want) {
		t.Errorf("servers are %v, want %v", servers, want)
	}
	if _, _, err := repositories([]App{{URL: "http://localhost/frappe/frappe"}}); err == nil {
		t.Error("a repository on this machine without a port is taken")
	}
}

func TestErrorsNameNoToken(t *testing.T) {
	o := Options{Apps: []App{{Token: secret.New("ghp_token")}}}
	got := o.readable(&dagger.ExecError{ExitCode: 128, Stdout: "Getting app", Stderr: "no access to http://x-access-token:ghp_token@git/app\n"}).Error()
	if want := "exit 128\nGetting app\nno access to http://x-access-token:***@git/app"; got != want {
		t.Errorf("error is %q, want %q", got, want)
	}
}
