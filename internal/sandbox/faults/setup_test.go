package faults_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
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
	// preparedReleases is how many releases that disk has seen.
	preparedReleases = 2
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
	hooks   []deploy.Hook
	// seed decides on the sample, and which generation of hosts it is tried on.
	seed  uint64
	newer bool
}

// newSuite starts a world, pushes the images, and prepares a disk on which a site
// is live that was released twice, so that both images are there. Every host
// begins with it. It logs what a release costs that nothing disturbs.
func newSuite(t *testing.T) *suite {
	t.Helper()
	cache := enginetest.CacheDir(t)
	seed, err := seed()
	if err != nil {
		t.Fatal(err)
	}
	newer := seed%2 == 1
	world, err := sandbox.Start(t.Context(), sandbox.Options{
		CacheDir: cache, Name: hostName, HTTPPort: 8080, Newer: newer,
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
	s := &suite{world: world, cache: cache, seed: seed, newer: newer}
	s.push(t)
	files := []string{"quick.yaml"}
	if newer {
		files = append(files, "newer.yaml")
	}
	s.setTarget(t, files)

	begun := time.Now()
	first := &testHost{suite: s, name: hostName, host: world.Host, kept: true}
	// quick.yaml has containers write to it, which run as other users.
	if _, err := first.bash(t.Context(), "mkdir -m 777 bytecode"); err != nil {
		t.Fatal(err)
	}
	for _, strategy := range []strategy{strategies[0], undisturbed} {
		if err := first.run(t.Context(), &attempt{strategy: strategy, log: t.Logf}); err != nil {
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
	t.Logf("a host with Docker %s is prepared in %v", first.state.Docker, time.Since(begun).Round(time.Second))
	return s
}

// push has the program build and push both images.
func (s *suite) push(t *testing.T) {
	t.Helper()
	begun := time.Now()
	program := filepath.Join(s.world.Dir, "pipeline")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../../cmd/pipeline").CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	environ, err := s.world.Environment()
	if err != nil {
		t.Fatal(err)
	}
	// The mirror keeps what it has, and a version is pushed once for ever.
	version := strings.ToLower(rand.Text()[:8])
	to := registry.Target{Host: s.world.Engine.Mirror(), Name: "desiredeffect/erpnext-custom"}
	for i, selection := range []apps.Selection{apps.Version1(), apps.Version1().With("erpnext", "v15.1.1")} {
		tag := fmt.Sprintf("%s-%d", version, i)
		path, err := s.world.WriteApps(tag, selection)
		if err != nil {
			t.Fatal(err)
		}
		push := exec.CommandContext(t.Context(), program, "push", "--skip-smoke-test", "--env-file", "", "--version", tag, "--apps", path)
		push.Env = append(environ, "REGISTRY="+to.Host)
		push.Dir = s.world.Dir
		var said bytes.Buffer
		push.Stderr = &said
		if err := push.Run(); err != nil {
			t.Fatalf("push: %v\n%s", err, said.String())
		}
		if s.images[i].lock, err = registry.LockOf(t.Context(), to, tag); err != nil {
			t.Fatal(err)
		}
		if s.images[i].image, _, err = registry.Find(t.Context(), to, tag); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("two images are pushed in %v", time.Since(begun).Round(time.Second))
}

// setTarget says where releases go, with files on top of the compose set.
func (s *suite) setTarget(t *testing.T, more []string) {
	t.Helper()
	set := []string{s.world.ComposeFile}
	for _, name := range more {
		file, err := filepath.Abs(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		set = append(set, file)
	}
	_, port, err := net.SplitHostPort(s.world.Engine.Mirror())
	if err != nil {
		t.Fatal(err)
	}
	mirror := net.JoinHostPort("mirror", port)
	_, repository, _ := strings.Cut(s.images[0].image.Repository, "/")
	s.pulled = mirror + "/" + repository
	s.target = deploy.Target{
		Dir: "/home/" + sandboxhost.User + "/" + sandbox.Project, Project: sandbox.Project, Sites: []string{sandbox.Site},
		ComposeFiles: set, HTTPPort: 8080, PullAddress: mirror, Owner: "the matrix",
		// So that every release has something to prune.
		KeepReleases: 1,
	}
	for _, name := range []string{"before-deploy", "before-migrate", "after-migrate", "after-deploy", "before-rollback", "after-rollback"} {
		s.hooks = append(s.hooks, deploy.Hook{Name: name, Data: []byte("#!/bin/sh\nsleep 0.2\n")})
	}
	s.secrets = map[string]string{"ADMIN_PASSWORD": rand.Text(), "DB_ROOT_PASSWORD": rand.Text()}
}

// order is a release of an image as a version, to a host of which SSH answers
// at an address.
func (s *suite) order(h *sandboxhost.Host, address string, of pushed, version string) order {
	o := order{
		Address: address, Key: s.world.Key.Reveal(),
		KnownHosts: knownhosts.Line([]string{knownhosts.Normalize(address)}, h.HostKey()),
		Target:     s.target, Secrets: s.secrets, Hooks: s.hooks, Lock: of.lock, Image: of.image,
	}
	o.Lock.SiteVersion = version
	return o
}
