package faults_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
	sandboxhost "github.com/desiredeffect/erpnext-pipeline/internal/sandbox/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine/enginetest"
)

// Hosts of this package's own, and the disk that they all begin with.
const (
	hostName     = "faults"
	preparedDisk = "faults-prepared"
)

// pushed is an image in the registry.
type pushed struct {
	image release.Image
	lock  release.Lock
}

// suite is what all hosts share: a world, two images of which each migrates
// the other's site, and where they go.
type suite struct {
	world  *sandbox.World
	cache  string
	images [2]pushed
	// pulled is the images' name as hosts pull them.
	pulled  string
	target  deploy.Target
	secrets map[string]string
}

// stage prepares the suite: the images are pushed, and a disk is prepared on which
// a site is live that was released twice, so that both images are there. Every
// host begins with it. It logs what a release costs that nothing disturbs.
func stage(t *testing.T) *suite {
	t.Helper()
	cache := enginetest.CacheDir(t)
	world, err := sandbox.Start(t.Context(), sandbox.Options{
		CacheDir: cache, Name: hostName, HTTPPort: 8080,
		Log: enginetest.Log(t).Level(zerolog.InfoLevel),
	})
	debiantest.Require(t, err)
	t.Cleanup(func() {
		err := errors.Join(
			sandboxhost.EmptyDisk(context.Background(), world.Client, preparedDisk),
			world.Close(context.Background()))
		if err != nil {
			t.Error(err)
		}
	})
	su := &suite{world: world, cache: cache}
	su.push(t)
	su.aim(t)

	begun := time.Now()
	first := &testHost{suite: su, name: hostName, host: world.Host, kept: true}
	// quick.yaml has containers write to it, which run as other users.
	if _, err := first.bash(t.Context(), "mkdir -m 777 bytecode"); err != nil {
		t.Fatal(err)
	}
	for range su.images {
		if err := first.try(t, "", fault{name: "prepared"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		world.Host.Stop(t.Context()),
		sandboxhost.CopyDisk(t.Context(), world.Client, hostName, preparedDisk),
		world.Host.Start(t.Context()),
	); err != nil {
		t.Fatal(err)
	}
	t.Logf("a host is prepared in %v", time.Since(begun).Round(time.Second))
	return su
}

// push has the program build and push both images.
func (su *suite) push(t *testing.T) {
	t.Helper()
	begun := time.Now()
	program := filepath.Join(su.world.Dir, "pipeline")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../../cmd/pipeline").CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	environ, err := su.world.Environment()
	if err != nil {
		t.Fatal(err)
	}
	// The mirror keeps what it has, and a version is pushed once for ever.
	version := strings.ToLower(rand.Text()[:8])
	to := registry.Target{Host: su.world.Engine.Mirror(), Name: "desiredeffect/erpnext-custom"}
	for i, selection := range []apps.Selection{apps.Version1(), apps.Version1().With("erpnext", "v15.1.1")} {
		list, err := selection.AppsJSON(su.world.GitHub.URL())
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(su.world.Dir, fmt.Sprintf("apps-%d.json", i))
		if err := os.WriteFile(path, list, 0o600); err != nil {
			t.Fatal(err)
		}
		tag := fmt.Sprintf("%s-%d", version, i)
		push := exec.CommandContext(t.Context(), program, "push", "--skip-smoke-test", "--env-file", "", "--version", tag, "--apps", path)
		push.Env = append(environ, "REGISTRY="+to.Host)
		push.Dir = su.world.Dir
		var said bytes.Buffer
		push.Stderr = &said
		if err := push.Run(); err != nil {
			t.Fatalf("push: %v\n%s", err, said.String())
		}
		if su.images[i].lock, err = registry.LockOf(t.Context(), to, tag); err != nil {
			t.Fatal(err)
		}
		if su.images[i].image, _, err = registry.Find(t.Context(), to, tag); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("two images are pushed in %v", time.Since(begun).Round(time.Second))
}

// aim writes the compose set, and says where releases go.
func (su *suite) aim(t *testing.T) {
	t.Helper()
	main, err := compose.Own.ReadFile("compose-main.yaml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(su.world.Dir, "compose-main.yaml")
	if err := os.WriteFile(path, main, 0o600); err != nil {
		t.Fatal(err)
	}
	quick, err := filepath.Abs("testdata/quick.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(su.world.Engine.Mirror())
	if err != nil {
		t.Fatal(err)
	}
	mirror := net.JoinHostPort("mirror", port)
	_, repository, _ := strings.Cut(su.images[0].image.Repository, "/")
	su.pulled = mirror + "/" + repository
	su.target = deploy.Target{
		Dir: "/home/" + sandboxhost.User + "/" + sandbox.Project, Project: sandbox.Project, Sites: []string{sandbox.Site},
		ComposeFiles: []string{path, quick}, HTTPPort: 8080, PullAddress: mirror, Owner: "the matrix",
	}
	su.secrets = map[string]string{"ADMIN_PASSWORD": rand.Text(), "DB_ROOT_PASSWORD": rand.Text()}
}

// order is a release of an image as a version, to a host of which SSH answers
// at an address.
func (su *suite) order(h *sandboxhost.Host, address string, of pushed, version string) order {
	o := order{
		Address: address, Key: su.world.Key.Reveal(),
		KnownHosts: knownhosts.Line([]string{knownhosts.Normalize(address)}, h.HostKey()),
		Target:     su.target, Secrets: su.secrets, Lock: of.lock, Image: of.image,
	}
	o.Lock.SiteVersion = version
	return o
}
