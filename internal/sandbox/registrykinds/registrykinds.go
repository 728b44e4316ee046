// Package registrykinds makes one kind of registry of another, for tests: handlers in front of
// one that refuse to move tags, or have no referrers API.
package registrykinds

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
)

// Refusal is what a registry answers to one who moves a tag.
type Refusal struct {
	Status int
	// Code is that of the distribution API's errors.
	Code string
}

// Refusals are those of registries that can be told not to move tags, by their names.
var Refusals = map[string]Refusal{
	"ECR":    {http.StatusBadRequest, "TAG_INVALID"},
	"Harbor": {http.StatusPreconditionFailed, "PRECONDITION"},
	"Quay":   {http.StatusConflict, "TAG_ALREADY_EXISTS"},
	"others": {http.StatusForbidden, "DENIED"},
}

var manifestPath = regexp.MustCompile(`^/v2/.+/manifests/([^/]+)$`)

// Immutable is a registry that sets a tag once: whoever writes it again, be it with what
// it names already, is refused.
func Immutable(behind http.Handler, refusal Refusal) http.Handler {
	var tags sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		named := manifestPath.FindStringSubmatch(r.URL.Path)
		if named == nil || r.Method != http.MethodPut || strings.Contains(named[1], ":") {
			behind.ServeHTTP(w, r)
			return
		}
		tags.Lock()
		defer tags.Unlock()
		asked := r.Clone(r.Context())
		asked.Method, asked.Body, asked.ContentLength = http.MethodHead, http.NoBody, 0
		asked.Header.Set("Accept", "*/*")
		for _, kind := range []string{"application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.v2+json"} {
			asked.Header.Add("Accept", kind)
		}
		found := httptest.NewRecorder()
		if behind.ServeHTTP(found, asked); found.Code != http.StatusOK {
			behind.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(refusal.Status)
		fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"tag %s is there already, and tags are immutable"}]}`, refusal.Code, named[1])
	})
}

// Referrers is a registry that answers by itself whoever asks its referrers API. It gets
// the path of no such question.
func Referrers(behind http.Handler, answer http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/referrers/") {
			answer(w, r)
			return
		}
		behind.ServeHTTP(w, r)
	})
}
