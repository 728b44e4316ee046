package image

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"dagger.io/dagger"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/desiredeffect/erpnext-pipeline/ci/progress"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// Store keeps stages by their tags: a registry.
type Store interface {
	// Stage returns the stage of a tag, or nil where there is none.
	Stage(ctx context.Context, tag string) (v1.Image, error)
	// Keep stores a stage under its tag. A store that does not let the tag be written has
	// the stage all the same, by its digest, and the error is a *[HeldError].
	Keep(ctx context.Context, tag string, stage v1.Image) error
	// Container returns the engine's own view of an image that the store has.
	Container(ctx context.Context, client *dagger.Client, stage v1.Image) (*dagger.Container, error)
}

// HeldError is what a store says of a stage that it has by its digest alone.
type HeldError struct {
	// Tag is the tag that can't be written. Other says that it names another stage.
	Tag   string
	Other bool
	// Err is the store's answer.
	Err error
}

func (e *HeldError) Error() string { return fmt.Sprintf("write %s: %v", e.Tag, e.Err) }

// Unwrap returns the store's answer.
func (e *HeldError) Unwrap() error { return e.Err }

// inputs are the containers of the stages that a stage needs.
type inputs map[*stage]*dagger.Container

// stage is a node of the graph. Its key names everything that it reads, so a
// stage that some store has under that key is never built again.
type stage struct {
	// name says what it is, and of the app that it belongs to, if to one.
	name, of string
	// platform is what the stage is built for; empty for all.
	platform dagger.Platform
	key      string
	needs    []*stage
	// build makes the stage's files. Nil where there is nothing to run.
	build func(*stage, inputs) *dagger.Container
	// pack says which of the files are the stage's, given what build made.
	pack func(context.Context, *dagger.Container) packing
	// asks are the registries that it may ask with a login; nil for none but the mirror.
	asks *ownRegistries
	// unstored says that no store has it: it is made as quickly as it is fetched.
	unstored bool
	// inImage says that the stage's layer is one of the image's, and history
	// what the image's history says of it.
	inImage bool
	history string

	run run
}

// String returns the stage's name for messages and logs.
func (s *stage) String() string {
	text := strings.TrimSpace(s.name + " " + s.of)
	if s.platform != "" {
		text += " " + string(s.platform)
	}
	return text
}

// tag is the name of the stage in a store.
func (s *stage) tag() string {
	parts := []string{"stage", s.name}
	if s.of != "" {
		parts = append(parts, s.of)
	}
	return strings.Join(append(parts, s.key), ".")
}

// run is what becomes of a stage in one build.
type run struct {
	once, keepOnce sync.Once
	// found is the stage as a store has it, and by which.
	found v1.Image
	store Store
	// made is what build made; nil where the stage was found.
	made *dagger.Container
	err  error
	// kept is the stage as it is stored.
	kept    v1.Image
	keepErr error
	// again is what build made because a stage that was found was gone when it was
	// fetched.
	againOnce sync.Once
	again     *dagger.Container
	againErr  error

	began  time.Time
	cached bool
}

// has makes sure that a stage is there: found in a store, or built here.
func (b *Builder) has(ctx context.Context, s *stage) error {
	s.run.once.Do(func() { s.run.err = b.findOrBuild(ctx, s) })
	return s.run.err
}

func (b *Builder) findOrBuild(ctx context.Context, s *stage) error {
	s.run.began = time.Now()
	if !s.unstored && !b.anew(s) {
		for _, store := range b.Stores {
			found, err := store.Stage(b.lasting, s.tag())
			if err != nil {
				return fmt.Errorf("look for stage %s: %w", s, err)
			}
			if found != nil {
				s.run.found, s.run.store, s.run.kept, s.run.cached = found, store, found, true
				b.began(s)
				b.ended(s, nil)
				return nil
			}
		}
	}
	if s.build == nil {
		b.began(s)
		return nil
	}
	in, err := b.inputs(ctx, s)
	if err != nil {
		return err
	}
	s.run.began = time.Now()
	b.began(s)
	s.run.made = s.build(s, in)
	if len(s.needs) == 1 && s.run.made == in[s.needs[0]] {
		return nil // part of what another stage made
	}
	printed, err := slotted(b, func() (string, error) { return s.run.made.Stdout(ctx) })
	if err != nil {
		err = b.uninstalled(s, b.withoutPackages(b.lock, b.unemulated(s, fmt.Errorf("build %s: %w", s, withOutput(err)))))
		b.ended(s, err)
		return err
	}
	s.run.cached = printedBefore(printed, s.run.began)
	if !s.inImage {
		b.ended(s, nil)
	}
	return nil
}

// mostAtOnce is how many commands run on the engine at the same time. A release
// of fifty apps has some two hundred, which only get in each other's way.
const mostAtOnce = 12

// slotted waits for a place among the commands that run.
func slotted[T any](b *Builder, run func() (T, error)) (T, error) {
	b.slots <- struct{}{}
	defer func() { <-b.slots }()
	return run()
}

// anew reports whether a stage is to be built although a store may have it.
func (b *Builder) anew(s *stage) bool {
	return b.NoCache == NoCacheAll || b.NoCache != "" && b.NoCache == s.of
}

// inputs waits for the stages that a stage needs.
func (b *Builder) inputs(ctx context.Context, s *stage) (inputs, error) {
	var writing sync.Mutex
	in := inputs{}
	// Each may be waited for by others too: the failure of one must not end
	// another in their place.
	var side errgroup.Group
	for _, need := range s.needs {
		side.Go(func() error {
			c, err := b.container(ctx, need)
			writing.Lock()
			defer writing.Unlock()
			in[need] = c
			return err
		})
	}
	err := side.Wait()
	return in, err
}

// container returns a stage's files for another stage to use.
func (b *Builder) container(ctx context.Context, s *stage) (*dagger.Container, error) {
	if err := b.has(ctx, s); err != nil {
		return nil, err
	}
	if s.run.made != nil {
		return s.run.made, nil
	}
	c, err := s.run.store.Container(ctx, b.Client, s.run.found)
	if err != nil && b.gone(s) {
		return b.again(ctx, s)
	}
	if err != nil {
		return nil, fmt.Errorf("fetch stage %s: %w", s, err)
	}
	return c, nil
}

// gone reports whether a stage was removed from its store since it was found.
func (b *Builder) gone(s *stage) bool {
	found, err := s.run.store.Stage(b.lasting, s.tag())
	return err == nil && found == nil && s.build != nil
}

// again builds a stage that is gone, for the stages that need its files. Its layer
// and its texts stay those that were found: they are what the key stands for.
func (b *Builder) again(ctx context.Context, s *stage) (*dagger.Container, error) {
	s.run.againOnce.Do(func() {
		var in inputs
		if in, s.run.againErr = b.inputs(ctx, s); s.run.againErr == nil {
			s.run.again = s.build(s, in)
		}
	})
	return s.run.again, s.run.againErr
}

// keep returns a stage as it is stored. One that was built here is packed and
// stored first, in the store that is written to.
func (b *Builder) keep(ctx context.Context, s *stage) (v1.Image, error) {
	s.run.keepOnce.Do(func() {
		if s.run.keepErr = b.has(ctx, s); s.run.keepErr != nil {
			return
		}
		if s.run.found == nil {
			var err error
			s.run.kept, err = b.packAndStore(ctx, s)
			s.run.keepErr = b.passOver(s, err)
			if s.inImage {
				b.ended(s, s.run.keepErr)
			}
			return
		}
		// Found, but not where it is wanted.
		if s.run.store != b.Stores[0] {
			if err := b.Stores[0].Keep(ctx, s.tag(), s.run.found); err != nil {
				s.run.keepErr = b.passOver(s, fmt.Errorf("store stage %s: %w", s, err))
			}
		}
	})
	return s.run.kept, s.run.keepErr
}

// passOver returns what is wrong with a stage that was stored, without a tag that can't
// be written: that is no failure of the build. Where another builder has stored the
// stage of the same key meanwhile, nothing is wrong at all.
func (b *Builder) passOver(s *stage, err error) error {
	var held *HeldError
	if !errors.As(err, &held) {
		return err
	}
	if held.Other && !b.anew(s) {
		return nil
	}
	b.holding.Lock()
	defer b.holding.Unlock()
	b.held = append(b.held, held)
	return nil
}

// heldTags returns the problem of the tags that could not be written since it was asked
// for the last time; nil without one.
func (b *Builder) heldTags() error {
	b.holding.Lock()
	defer b.holding.Unlock()
	if len(b.held) == 0 {
		return nil
	}
	first := b.held[0]
	text := first.Tag
	if more := len(b.held) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	b.held = nil
	return problem.Problem{
		Code: "registry.stage-tags", Subject: "stages", Detail: fmt.Sprintf("the registry does not let %s be written: %v", text, first.Err), Err: first,
		Remedy: "exempt tags that begin with stage. from the registry's rule, such as one that tags are immutable; until then later builds take what these tags name already, and build what they don't",
	}
}

func (b *Builder) packAndStore(ctx context.Context, s *stage) (v1.Image, error) {
	packed, err := b.packed(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", s, withOutput(err))
	}
	if err := b.Stores[0].Keep(ctx, s.tag(), packed); err != nil {
		return packed, fmt.Errorf("store stage %s: %w", s, err)
	}
	return packed, nil
}

func (b *Builder) began(s *stage) {
	needs := make([]string, len(s.needs))
	for i, need := range s.needs {
		needs[i] = need.String()
	}
	b.observe(progress.Event{Stage: s.String(), Kind: progress.Began, At: s.run.began, Needs: needs})
}

func (b *Builder) ended(s *stage, err error) {
	b.observe(progress.Event{Stage: s.String(), Kind: progress.Ended, At: time.Now(), Cached: s.run.cached, Err: err})
}

func (b *Builder) observe(e progress.Event) {
	if b.Observe != nil {
		b.Observe(e)
	}
}
