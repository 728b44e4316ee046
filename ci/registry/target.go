package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

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

// Image returns how an image of this registry is named where it is pulled.
func (t Target) Image(tag, digest string) release.Image {
	image := release.Image{Repository: t.Repository(), Tag: tag, Digest: digest}
	if t.PulledAs != "" {
		image.Repository = t.PulledAs
	}
	return image
}

// Sibling returns the target of another image in the same registry, given the name by
// which that is pulled. It reports false where it is in another registry, or this one.
func (t Target) Sibling(repository string) (Target, bool) {
	own, err := name.NewRepository(t.Repository())
	if err != nil {
		return t, false
	}
	other, err := name.NewRepository(repository)
	if err != nil {
		return t, false
	}
	first, _, _ := strings.Cut(repository, "/")
	there := other.RepositoryStr()
	if t.PulledAs != "" { // The name has no registry in it.
		if other.RegistryStr() != name.DefaultRegistry {
			return t, false
		}
		there = repository
	} else if other.RegistryStr() != own.RegistryStr() || !strings.ContainsAny(first, ".:") && first != "localhost" {
		// A name without a registry is one of the embedded registry's. What Docker Hub
		// has under it may be a stranger's.
		return t, false
	}
	if there == t.Name || there == own.RepositoryStr() {
		return t, false
	}
	t.Name = there
	if t.PulledAs != "" {
		t.PulledAs = there
	}
	return t, true
}

// Options returns the credentials and the retries for requests to the registry.
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

// passing are the answers of a registry that may be another one the next
// time, and backoff bounds how long it is waited for: 2, 4 and 8 seconds
// between four attempts.
var (
	passing = []int{http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}
	backoff = remote.Backoff{Duration: 2 * time.Second, Factor: 2, Jitter: 0.1, Steps: 4}
)

// denied reports whether a registry answered that the account may not read something.
func denied(err error) bool {
	var status *transport.Error
	return errors.As(err, &status) && (status.StatusCode == http.StatusUnauthorized || status.StatusCode == http.StatusForbidden)
}
