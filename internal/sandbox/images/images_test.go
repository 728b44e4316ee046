package images

import (
	"fmt"
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func TestRecipeFor(t *testing.T) {
	for _, test := range []struct {
		image, program, problem string
	}{
		{image: "python:3.11.6-slim-bookworm", program: "Python"},
		{image: "docker.io/library/python:3.11", program: "Python"},
		{image: "python:3.14.2-slim-bookworm", program: "Python"},
		{image: "node:20.9.0-bookworm-slim", program: "Node"},
		{image: "mariadb:10.11", program: "MariaDB"},
		{image: "redis:7.2-alpine", program: "Redis"},
		{image: "traefik:v3.7", program: "Traefik"},
		{image: "nginx:1.28-alpine", program: "nginx"},
		{image: "restic/restic:0.18.0", program: "restic"},
		{image: "python:3.12-slim", problem: "make python:3.12-slim: there is a stand-in for Python 3.11 and 3.14 only"},
		{image: "mariadb:11.8", program: "MariaDB"},
		{image: "mariadb:11.4", problem: "make mariadb:11.4: there is a stand-in for MariaDB 10.11 and 11.8 only"},
		{image: "redis", problem: "make redis: there is a stand-in for Redis 7 only"},
		{image: "node:18-slim", problem: "make node:18-slim: there is a stand-in for a full version such as 18.18.2 only"},
		{image: "caddy:2", problem: "make caddy:2: there is no stand-in for it"},
		{image: "Redis:7", problem: "read image name Redis:7"},
	} {
		t.Run(test.image, func(t *testing.T) {
			r, err := recipeFor(test.image, "amd64")
			if got := fmt.Sprint(err); test.problem != "" && !strings.HasPrefix(got, test.problem) {
				t.Fatalf("error is %q, want %q", got, test.problem)
			} else if test.problem == "" && err != nil {
				t.Fatal(err)
			}
			if r.Program != test.program {
				t.Errorf("it holds %q, want %q", r.Program, test.program)
			}
		})
	}
	for _, image := range All() {
		if _, err := recipeFor(image, "amd64"); err != nil {
			t.Error(err)
		}
	}
}

// TestKey holds that an image is made anew when anything in its recipe
// changes, and only then.
func TestKey(t *testing.T) {
	recipeOf := func(image string) recipe {
		r, err := recipeFor(image, "amd64")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	changedFile := redis
	changedFile.Files = map[string]string{"/usr/local/bin/docker-entrypoint.sh": "#!/bin/sh\n"}
	changedConfig := redis
	changedConfig.Config.Cmd = []string{"redis-server", "--save", ""}
	keys := map[string]string{
		"redis":                 recipeOf("redis:7.2").key("base"),
		"redis on another base": redis.key("newer base"),
		"another entrypoint":    changedFile.key("base"),
		"another command":       changedConfig.key("base"),
		"another Node":          recipeOf("node:18.18.1").key("base"),
		"Node":                  recipeOf("node:18.18.2").key("base"),
	}
	if same := recipeOf("redis:7.2").key("base"); same != keys["redis"] {
		t.Errorf("the same recipe gave two keys: %s and %s", same, keys["redis"])
	}
	byKey := map[string]string{}
	for _, what := range slices.Sorted(maps.Keys(keys)) {
		if other, ok := byKey[keys[what]]; ok {
			t.Errorf("%s has the key of %s", what, other)
		}
		byKey[keys[what]] = what
	}
}

func TestSourcesFrom(t *testing.T) {
	const archive, security = "http://archive.example/debian", "http://archive.example/debian-security"
	want := "deb " + archive + " bookworm main\n" +
		"deb " + archive + " bookworm-updates main\n" +
		"deb " + security + " bookworm-security main\n"
	for _, test := range []struct{ name, targets, want string }{
		{
			"bookworm, beside others' archives",
			"Debian|Debian|" + archive + "|bookworm|main\n" +
				"Debian|Debian|" + archive + "|bookworm|contrib\n" +
				"Debian|Debian|" + archive + "|bookworm-updates|main\n" +
				"Debian Backports|Debian Backports|" + archive + "|bookworm-backports|main\n" +
				"Somebody|Somebody|http://other.example|nodistro|main\n" +
				"Debian|Debian-Security|" + security + "|bookworm-security|main\n",
			want,
		},
		{
			"a newer release, named by its role",
			"Debian|Debian|" + archive + "|stable|main\n" +
				"Debian|Debian|" + archive + "|stable-updates|main\n" +
				"Debian|Debian-Security|" + security + "|stable-security|main\n",
			want,
		},
		{"package lists not there yet", "||" + archive + "|bookworm|main\n", ""},
		{"nothing", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := sourcesFrom(test.targets, "bookworm"); got != test.want {
				t.Errorf("got\n%swant\n%s", got, test.want)
			}
		})
	}
}

// TestFinish goes through a registry: an image is taken for a stand-in only
// when it carries the recipe's key, and carries the recipe's configuration.
func TestFinish(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	ref, err := mirrored(strings.TrimPrefix(server.URL, "http://"), "redis:7.2")
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimPrefix(server.URL, "http://") + "/library/redis:7.2"; ref.Name() != want {
		t.Fatalf("the mirror's name is %s, want %s", ref.Name(), want)
	}
	if holds, ok := published(t.Context(), ref, "amd64", "key"); ok {
		t.Fatalf("an empty mirror has %s", holds)
	}
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	if _, ok := published(t.Context(), ref, "amd64", "key"); ok {
		t.Fatal("an image of another origin was taken for a stand-in")
	}
	unfinished := ref.Context().Tag("unfinished")
	if err := remote.Write(unfinished, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := finish(t.Context(), unfinished, ref, "amd64", redis, "key", "Redis 7.0.15"); err != nil {
		t.Fatal(err)
	}
	if holds, ok := published(t.Context(), ref, "amd64", "key"); !ok || holds != "Redis 7.0.15" {
		t.Fatalf("the stand-in holds %q (%v), want Redis 7.0.15", holds, ok)
	}
	if _, ok := published(t.Context(), ref, "amd64", "changed key"); ok {
		t.Fatal("an image of an earlier recipe was taken for today's")
	}
	finished, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	file, err := finished.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := file.Config.Volumes["/data"]; !ok || file.Config.WorkingDir != "/data" {
		t.Errorf("configuration is %+v, want a volume and working folder /data", file.Config)
	}
	if !slices.Contains(file.Config.Env, searchPath) {
		t.Errorf("environment is %v, want it to contain %s", file.Config.Env, searchPath)
	}
}

// TestPut holds that images for several architectures live under one name, and
// that each is found by its architecture.
func TestPut(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	ref, err := mirrored(strings.TrimPrefix(server.URL, "http://"), "redis:7.2")
	if err != nil {
		t.Fatal(err)
	}
	put := func(architecture, key string) string {
		t.Helper()
		image, err := random.Image(64, 1)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		config.OS, config.Architecture = "linux", architecture
		config.Config.Labels = map[string]string{labelRecipe: key, labelHolds: key}
		if image, err = mutate.ConfigFile(image, config); err != nil {
			t.Fatal(err)
		}
		if err := put(t.Context(), ref, architecture, image); err != nil {
			t.Fatal(err)
		}
		found, err := remote.Get(ref)
		if err != nil {
			t.Fatal(err)
		}
		return string(found.MediaType)
	}
	for _, test := range []struct{ architecture, key, kind, amd64, arm64 string }{
		{"amd64", "one", "application/vnd.docker.distribution.manifest.v2+json", "one", ""},
		{"amd64", "two", "application/vnd.docker.distribution.manifest.v2+json", "two", ""},
		{"arm64", "three", "application/vnd.oci.image.index.v1+json", "two", "three"},
		{"amd64", "four", "application/vnd.oci.image.index.v1+json", "four", "three"},
		{"arm64", "five", "application/vnd.oci.image.index.v1+json", "four", "five"},
	} {
		if kind := put(test.architecture, test.key); kind != test.kind {
			t.Errorf("after %s the name stands for %s, want %s", test.key, kind, test.kind)
		}
		for architecture, key := range map[string]string{"amd64": test.amd64, "arm64": test.arm64} {
			if holds, ok := published(t.Context(), ref, architecture, key); ok != (key != "") || holds != key {
				t.Errorf("after %s for %s the mirror has %q for %s, want %q", test.key, test.architecture, holds, architecture, key)
			}
		}
	}
}

func TestMirrored(t *testing.T) {
	for image, want := range map[string]string{
		"redis:7.2":                    "localhost:5000/library/redis:7.2",
		"restic/restic:0.18.0":         "localhost:5000/restic/restic:0.18.0",
		"docker.io/library/redis:7.2":  "localhost:5000/library/redis:7.2",
		"registry.example/a/b:1":       "",
		"python:3.11@sha256:abc":       "",
		"debian:bookworm-slim":         "localhost:5000/library/debian:bookworm-slim",
		"localhost:5000/library/redis": "",
	} {
		ref, err := mirrored("localhost:5000", image)
		if want == "" {
			if err == nil {
				t.Errorf("%s got the name %s, want an error", image, ref)
			}
		} else if err != nil || ref.Name() != want {
			t.Errorf("%s got the name %s (%v), want %s", image, ref, err, want)
		}
	}
}

// TestScripts lets a shell read every script.
func TestScripts(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell here")
	}
	check := func(name, script string) {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), sh, "-n")
			cmd.Stdin = strings.NewReader(script)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	for _, image := range All() {
		r, err := recipeFor(image, "amd64")
		if err != nil {
			t.Fatal(err)
		}
		check(image+" toolbox", prelude+r.Toolbox)
		check(image+" installation", prelude+r.install())
		for path, content := range r.Files {
			check(image+" "+path, content)
		}
	}
}
