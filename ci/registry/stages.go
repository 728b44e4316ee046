package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"dagger.io/dagger"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry/answer"
)

// Stages keeps the stages of builds in a registry. It is an image.Store.
type Stages struct {
	Target Target
	// Scratch is a folder for images on their way to the engine.
	Scratch string
	// Borrowed says that they lie beside another image, and are only looked for: what may
	// not be read there is not there.
	Borrowed bool

	// apart says that the engine does not reach the registry, once one of the
	// two was found out.
	mutex sync.Mutex
	apart bool
}

// Stage returns the stage of a tag, or nil where there is none.
func (s *Stages) Stage(ctx context.Context, tag string) (v1.Image, error) {
	reference, err := s.Target.tag(tag)
	if err != nil {
		return nil, err
	}
	found, err := remote.Image(reference, s.Target.Options(ctx)...)
	if answer.Missing(err) || s.Borrowed && denied(err) {
		return nil, nil
	}
	return found, err
}

// Keep stores a stage under its tag. Its layers are not sent where they are in another
// repository of the registry that the account may read. The error is an
// *[image.HeldError] where the registry does not let the tag be written: it names
// another stage, and does not move, or its name is against a rule.
func (s *Stages) Keep(ctx context.Context, tag string, stage v1.Image) error {
	reference, err := s.Target.tag(tag)
	if err != nil {
		return err
	}
	refusal := remote.Write(reference, stage, s.Target.Options(ctx)...)
	if !answer.Refused(refusal) {
		return refusal
	}
	digest, err := stage.Digest()
	if err != nil {
		return err
	}
	if err := remote.Write(reference.Context().Digest(digest.String()), stage, s.Target.Options(ctx)...); err != nil {
		return err
	}
	named, err := Released(ctx, s.Target, tag)
	if err != nil || named == digest.String() {
		return err
	}
	return &image.HeldError{Tag: tag, Other: named != "", Err: refusal}
}

// Container returns the engine's own view of a stage: the engine pulls it. An
// engine in a container or on another machine has a loopback of its own, so
// what lies in a registry on this machine's is handed to it.
func (s *Stages) Container(ctx context.Context, client *dagger.Client, stage v1.Image) (*dagger.Container, error) {
	digest, err := stage.Digest()
	if err != nil {
		return nil, fmt.Errorf("read stage: %w", err)
	}
	config, err := stage.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read stage: %w", err)
	}
	platform := dagger.Platform(config.OS + "/" + config.Architecture)
	s.mutex.Lock()
	apart := s.apart
	s.mutex.Unlock()
	if !apart {
		c, err := s.Target.Container(client, digest.String(), platform).Sync(ctx)
		if err == nil || !apps.IsLoopback(s.Target.Host) || !refused(err) {
			return c, err
		}
		s.mutex.Lock()
		s.apart = true
		s.mutex.Unlock()
	}
	return s.handOver(ctx, client, stage, digest, platform)
}

// Container is a container of a pushed image, as the engine pulls it.
func (t Target) Container(client *dagger.Client, digest string, platform dagger.Platform) *dagger.Container {
	c := client.Container(dagger.ContainerOpts{Platform: platform})
	if t.Password.IsSet() {
		c = c.WithRegistryAuth(t.Repository(), t.Username, client.SetSecret("password of "+t.Host, t.Password.Reveal()))
	}
	return c.From(t.Repository() + "@" + digest)
}

// handOver sends an image to the engine through the session with it.
func (s *Stages) handOver(ctx context.Context, client *dagger.Client, stage v1.Image, digest v1.Hash, platform dagger.Platform) (*dagger.Container, error) {
	path, err := s.archived(stage, digest)
	if err != nil {
		return nil, fmt.Errorf("write stage: %w", err)
	}
	return client.Container(dagger.ContainerOpts{Platform: platform}).Import(client.Host().File(path)).Sync(ctx)
}

// archived writes an image to a file, unless it is there. Several stages may
// ask for one that all of them need at the same time.
func (s *Stages) archived(stage v1.Image, digest v1.Hash) (string, error) {
	path := filepath.Join(s.Scratch, digest.Hex+".tar")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	tag, err := name.NewTag("stage:latest")
	if err != nil {
		return "", err
	}
	part, err := os.CreateTemp(s.Scratch, digest.Hex+".")
	if err != nil {
		return "", err
	}
	err = errors.Join(tarball.Write(tag, stage, part), part.Close())
	if err == nil {
		err = os.Rename(part.Name(), path)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(part.Name()))
	}
	return path, nil
}

// refused reports whether no server answered the engine at the registry's
// address. The engine's errors arrive as text.
func refused(err error) bool { return strings.Contains(err.Error(), "connection refused") }
