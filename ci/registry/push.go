// Package registry brings an image to where the host can pull it: into any
// registry of the distribution API, or into one of its own ([Embedded]).
//
// A version names one digest forever. A build is therefore pushed under the
// moving tag "candidate", and the version's tag is set last, if it is free or
// names that very digest already.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dagger.io/dagger"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// candidate is the tag of the newest push that is not a version yet.
const candidate = "candidate"

// Target is where images of one name are pushed to.
type Target struct {
	// Host is the registry's host and port; empty for Docker Hub.
	Host string
	// Name is the image's name in the registry, for instance
	// "desiredeffect/erpnext-custom".
	Name string
	// Username and Password are the credentials; both unset for none.
	Username string
	Password secret.Secret
	// PulledAs is the name by which the host knows the image where that is
	// not the name that it is pushed to: the embedded registry's address
	// differs from one process to the next.
	PulledAs string
}

// repository is the full name that is pushed to.
func (t Target) repository() string {
	if t.Host == "" {
		return t.Name
	}
	return t.Host + "/" + t.Name
}

func (t Target) image(tag, digest string) release.Image {
	image := release.Image{Repository: t.repository(), Tag: tag, Digest: digest}
	if t.PulledAs != "" {
		image.Repository = t.PulledAs
	}
	return image
}

func (t Target) options(ctx context.Context) []remote.Option {
	options := []remote.Option{remote.WithContext(ctx)}
	if t.Password.IsSet() {
		options = append(options, remote.WithAuth(&authn.Basic{Username: t.Username, Password: t.Password.Reveal()}))
	}
	return options
}

func (t Target) tag(version string) (name.Tag, error) {
	tag, err := name.NewTag(t.repository() + ":" + version)
	if err != nil {
		return tag, fmt.Errorf("name image: %w", err)
	}
	return tag, nil
}

// Check finds out whether a version can be pushed: the registry answers, the
// credentials may push, and the version is free. It changes nothing.
func Check(ctx context.Context, t Target, version string) problem.Report {
	var report problem.Report
	tag, err := t.tag(version)
	if err != nil {
		report.Addf("registry.name", "IMAGE_NAME", "give a name of lower-case letters, digits, dots, dashes and slashes", "%v", err)
		return report
	}
	var auth authn.Keychain = authn.NewMultiKeychain()
	if t.Password.IsSet() {
		auth = fixed{authn.Basic{Username: t.Username, Password: t.Password.Reveal()}}
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := remote.CheckPushPermission(tag, auth, contextTransport{ctx, remote.DefaultTransport}); err != nil {
		report.Add(describe(t, err))
		return report
	}
	switch digest, err := Released(ctx, t, version); {
	case err != nil:
		report.Add(describe(t, err))
	case digest != "":
		report.Add(Taken(t, version, digest))
	}
	return report
}

// CodeTaken is the code of the problem that [Taken] makes.
const CodeTaken = "registry.version-taken"

// Taken is the problem of a version that names a digest already.
func Taken(t Target, version, digest string) problem.Problem {
	return problem.Problem{
		Code: CodeTaken, Subject: "DE_SITE_VERSION " + version,
		Detail: fmt.Sprintf("is released already: %s:%s is %s", t.repository(), version, digest),
		Remedy: "increment DE_SITE_VERSION: a version names one image forever; to put that image live, run: pipeline deploy " + version,
	}
}

// Released gives the digest that a version names in the registry, or nothing
// if the version is free.
func Released(ctx context.Context, t Target, version string) (string, error) {
	tag, err := t.tag(version)
	if err != nil {
		return "", err
	}
	descriptor, err := remote.Head(tag, t.options(ctx)...)
	var status *transport.Error
	switch {
	case err == nil:
		return descriptor.Digest.String(), nil
	case errors.As(err, &status) && status.StatusCode == http.StatusNotFound:
		return "", nil
	default:
		return "", fmt.Errorf("look up %s: %w", tag, err)
	}
}

// Push pushes an image and gives it the version's tag. Where the version
// names another digest already nothing changes, and the error is a
// *problem.Error.
func Push(ctx context.Context, client *dagger.Client, image *dagger.Container, t Target, version string, log zerolog.Logger) (release.Image, error) {
	tag, err := t.tag(version)
	if err != nil {
		return release.Image{}, err
	}
	digest, err := publish(ctx, client, image, t, log)
	if err != nil {
		return release.Image{}, err
	}
	existing, err := Released(ctx, t, version)
	switch {
	case err != nil:
		return release.Image{}, err
	case existing == digest:
		return t.image(version, digest), nil
	case existing != "":
		return release.Image{}, problem.Report{Taken(t, version, existing)}.Err()
	}
	reference := tag.Context().Digest(digest)
	descriptor, err := remote.Get(reference, t.options(ctx)...)
	if err != nil {
		return release.Image{}, fmt.Errorf("read back %s: %w", reference, err)
	}
	if err := remote.Tag(tag, descriptor, t.options(ctx)...); err != nil {
		return release.Image{}, fmt.Errorf("tag %s: %w", tag, err)
	}
	return t.image(version, digest), nil
}

// attempts and firstWait bound how long a registry that is briefly out of
// order is waited for: 2, 4 and 8 seconds between four attempts.
const (
	attempts  = 4
	firstWait = 2 * time.Second
)

// publish pushes under the candidate tag and gives the digest.
func publish(ctx context.Context, client *dagger.Client, image *dagger.Container, t Target, log zerolog.Logger) (string, error) {
	address := t.repository() + ":" + candidate
	if t.Password.IsSet() {
		image = image.WithRegistryAuth(address, t.Username, client.SetSecret("password of "+t.Host, t.Password.Reveal()))
	}
	wait := firstWait
	for attempt := 1; ; attempt++ {
		published, err := image.Publish(ctx, address)
		if err == nil {
			_, digest, found := strings.Cut(published, "@")
			if !found {
				return "", fmt.Errorf("publish %s: the engine gave no digest but %q", address, published)
			}
			return digest, nil
		}
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case t.onLoopback() && refused(err):
			// The engine is in a container or on another machine and has a
			// loopback of its own.
			log.Debug().Str("registry", t.Host).Msg("engine does not reach this machine's loopback: pushing from here")
			return export(ctx, image, t)
		case attempt == attempts || !passing(err):
			return "", fmt.Errorf("push %s: %w", address, err)
		}
		log.Warn().Err(err).Dur("wait", wait).Str("image", address).Msg("registry is out of order; trying again")
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(wait):
		}
		wait *= 2
	}
}

func (t Target) onLoopback() bool {
	host, _, err := net.SplitHostPort(t.Host)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// refused says whether the engine found nobody at the registry's address. The
// engine's errors arrive as text.
func refused(err error) bool { return strings.Contains(err.Error(), "connection refused") }

// passing says whether an error of the registry may be gone the next time.
func passing(err error) bool {
	text := strings.ToLower(err.Error())
	for _, sign := range []string{"429", "too many requests", "toomanyrequests", "500 ", "502", "503", "504", "connection reset", "unexpected eof"} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

// export brings the image here and pushes it from this process. Only layers
// that the registry does not have are sent.
func export(ctx context.Context, image *dagger.Container, t Target) (_ string, err error) {
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return "", fmt.Errorf("create folder for the image: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	archive := filepath.Join(dir, "image.tar")
	if _, err := image.Export(ctx, archive); err != nil {
		return "", fmt.Errorf("export image: %w", err)
	}
	if err := untar(ctx, archive, filepath.Join(dir, "layout")); err != nil {
		return "", err
	}
	index, err := layout.ImageIndexFromPath(filepath.Join(dir, "layout"))
	if err != nil {
		return "", fmt.Errorf("read exported image: %w", err)
	}
	content, err := index.IndexManifest()
	if err != nil {
		return "", fmt.Errorf("read exported image: %w", err)
	}
	if len(content.Manifests) != 1 {
		return "", fmt.Errorf("read exported image: %d manifests in it", len(content.Manifests))
	}
	tag, err := t.tag(candidate)
	if err != nil {
		return "", err
	}
	digest := content.Manifests[0].Digest
	exported, err := index.Image(digest)
	if err != nil {
		return "", fmt.Errorf("read exported image: %w", err)
	}
	if err := remote.Write(tag, exported, t.options(ctx)...); err != nil {
		return "", fmt.Errorf("push %s: %w", tag, err)
	}
	return digest.String(), nil
}

// describe turns a registry's error into a problem with its remedy.
func describe(t Target, err error) problem.Problem {
	p := problem.Problem{Code: "registry.unreachable", Subject: "REGISTRY", Err: err, Detail: err.Error(),
		Remedy: "check REGISTRY and that this machine reaches it"}
	if t.Host != "" {
		p.Subject += " " + t.Host
	}
	var status *transport.Error
	if errors.As(err, &status) {
		switch status.StatusCode {
		case http.StatusUnauthorized:
			p.Code, p.Detail = "registry.unauthorized", "refuses the credentials"
			p.Remedy = "set REGISTRY_USERNAME and REGISTRY_PASSWORD to an account that may push " + t.Name
		case http.StatusForbidden:
			p.Code, p.Detail = "registry.forbidden", "does not let this account push "+t.Name
			p.Remedy = "give the account push permission, or change IMAGE_NAME"
		case http.StatusTooManyRequests:
			p.Code, p.Detail = "registry.limited", "answers that there were too many requests"
			p.Remedy = "wait for the limit to pass, or use an account with a higher one"
		}
	}
	return p
}

// fixed answers every registry with the same credentials.
type fixed struct{ authn.Basic }

func (f fixed) Resolve(authn.Resource) (authn.Authenticator, error) { return &f.Basic, nil }

// contextTransport gives every request the caller's context:
// remote.CheckPushPermission takes none.
type contextTransport struct {
	ctx  context.Context
	next http.RoundTripper
}

func (c contextTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return c.next.RoundTrip(r.WithContext(c.ctx))
}
