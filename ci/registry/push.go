// Package registry brings an image to where the host can pull it: into any
// registry of the distribution API, or into one of its own ([Embedded]).
//
// A version names one digest forever. An image is therefore pushed under its
// digest, and the version's tag is set when the image is smoke-tested, if it is free
// or names that very digest already.
//
// The stages of builds lie beside the images, under tags that begin with
// "stage.": see [Stages].
package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

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

// Repository is the full name that is pushed to.
func (t Target) Repository() string {
	if t.Host == "" {
		return t.Name
	}
	return t.Host + "/" + t.Name
}

func (t Target) image(tag, digest string) release.Image {
	image := release.Image{Repository: t.Repository(), Tag: tag, Digest: digest}
	if t.PulledAs != "" {
		image.Repository = t.PulledAs
	}
	return image
}

// Options are the credentials and the patience for requests to the registry.
func (t Target) Options(ctx context.Context) []remote.Option {
	options := []remote.Option{remote.WithContext(ctx), remote.WithRetryStatusCodes(passing...), remote.WithRetryBackoff(backoff), remote.WithJobs(4)}
	if t.Password.IsSet() {
		options = append(options, remote.WithAuth(&authn.Basic{Username: t.Username, Password: t.Password.Reveal()}))
	}
	return options
}

func (t Target) tag(version string) (name.Tag, error) {
	tag, err := name.NewTag(t.Repository() + ":" + version)
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
		Detail: fmt.Sprintf("is released already: %s:%s is %s", t.Repository(), version, digest),
		Remedy: "increment DE_SITE_VERSION: a version names one image forever; to put that image live, run: pipeline deploy " + version,
	}
}

// Released returns the digest that a version names in the registry, or nothing
// if the version is free.
func Released(ctx context.Context, t Target, version string) (string, error) {
	tag, err := t.tag(version)
	if err != nil {
		return "", err
	}
	descriptor, err := remote.Head(tag, t.Options(ctx)...)
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

// passing are the answers of a registry that may be another one the next
// time, and backoff bounds how long it is waited for: 2, 4 and 8 seconds
// between four attempts.
var (
	passing = []int{http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}
	backoff = remote.Backoff{Duration: 2 * time.Second, Factor: 2, Jitter: 0.1, Steps: 4}
)

// Push pushes an image under its digest alone: it has no tag yet. Of its
// layers only those are sent that the registry does not have.
func Push(ctx context.Context, built *image.Image, t Target) (name.Digest, error) {
	repository, err := name.NewRepository(t.Repository())
	if err != nil {
		return name.Digest{}, fmt.Errorf("name image: %w", err)
	}
	reference := repository.Digest(built.Digest.String())
	if built.Index != nil {
		err = remote.WriteIndex(reference, built.Index, t.Options(ctx)...)
	} else {
		err = remote.Write(reference, built.Single, t.Options(ctx)...)
	}
	if err != nil {
		return name.Digest{}, fmt.Errorf("push %s: %w", reference, err)
	}
	return reference, nil
}

// Tag sets the version's tag on a pushed image. Where the version names another
// digest already nothing changes, and the error is a *problem.Error.
func Tag(ctx context.Context, t Target, version, digest string) (release.Image, error) {
	tag, err := t.tag(version)
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
	descriptor, err := remote.Get(reference, t.Options(ctx)...)
	if err != nil {
		return release.Image{}, fmt.Errorf("read back %s: %w", reference, err)
	}
	if err := remote.Tag(tag, descriptor, t.Options(ctx)...); err != nil {
		return release.Image{}, fmt.Errorf("tag %s: %w", tag, err)
	}
	return t.image(version, digest), nil
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

// contextTransport puts the caller's context into every request:
// remote.CheckPushPermission takes none.
type contextTransport struct {
	ctx  context.Context
	next http.RoundTripper
}

func (c contextTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return c.next.RoundTrip(r.WithContext(c.ctx))
}
