package registry

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// counted is a registry in front of another that counts the bytes of blobs that are sent
// to it, and may refuse mounts or reading of a repository.
type counted struct {
	Target
	sent     atomic.Int64
	mounts   atomic.Int32
	noMounts atomic.Bool
	hides    atomic.Value
}

func count(t *testing.T) *counted {
	t.Helper()
	behind := target(t)
	c := &counted{}
	c.hides.Store("nothing")
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: behind.Host})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("mount") != "" {
			c.mounts.Add(1)
			if c.noMounts.Load() {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
		}
		if strings.HasPrefix(r.URL.Path, "/v2/"+c.hides.Load().(string)+"/") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if strings.Contains(r.URL.Path, "/blobs/uploads/") {
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.TeeReader(r.Body, counting{&c.sent}), r.Body}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	c.Target = Target{Host: strings.TrimPrefix(server.URL, "http://"), Name: "acme/old"}
	return c
}

type counting struct{ to *atomic.Int64 }

func (c counting) Write(text []byte) (int, error) {
	c.to.Add(int64(len(text)))
	return len(text), nil
}

// A stage of an image that has another name now is taken over within the registry.
func TestStagesOfAnotherNameAreMounted(t *testing.T) {
	const tag, size = "stage.base.0123456789abcdef0123456789abcdef", 1 << 20
	for label, test := range map[string]struct {
		prepare func(*counted)
		found   bool
		sends   bool
	}{
		"mounted":                      {func(*counted) {}, true, false},
		"a registry that mounts none":  {func(c *counted) { c.noMounts.Store(true) }, true, true},
		"an account that may not read": {func(c *counted) { c.hides.Store("acme/old") }, false, false},
	} {
		t.Run(label, func(t *testing.T) {
			c := count(t)
			layer, err := random.Layer(size, types.OCILayer)
			if err != nil {
				t.Fatal(err)
			}
			if err := (&Stages{Target: c.Target}).Keep(t.Context(), tag, built(t, "", layer).Single); err != nil {
				t.Fatal(err)
			}
			if c.sent.Load() < size {
				t.Fatalf("%d bytes were sent the first time", c.sent.Load())
			}
			renamed := c.Target
			renamed.Name = "acme/new"
			before, ok := renamed.Sibling(c.Repository())
			if !ok || before.Name != "acme/old" {
				t.Fatalf("the one before is %+v, %t", before, ok)
			}
			c.sent.Store(0)
			test.prepare(c)
			found, err := (&Stages{Target: before, Borrowed: true}).Stage(t.Context(), tag)
			if err != nil || (found != nil) != test.found {
				t.Fatalf("found %v, %v", found, err)
			}
			if found == nil {
				if _, err := (&Stages{Target: before}).Stage(t.Context(), tag); err == nil {
					t.Error("stages of its own that it may not read are not there")
				}
				return
			}
			if err := (&Stages{Target: renamed}).Keep(t.Context(), tag, found); err != nil {
				t.Fatal(err)
			}
			// The image is made of the layers of stages, and one that is new.
			layers, err := found.Layers()
			if err != nil {
				t.Fatal(err)
			}
			last := layerOf(t, "last", "new")
			pushed(t, renamed, "1.0.0", built(t, "", append([]v1.Layer{layers[0]}, last)...))
			if sent := c.sent.Load(); (sent >= size) != test.sends || sent == 0 {
				t.Errorf("%d bytes were sent", sent)
			}
			if c.mounts.Load() == 0 {
				t.Error("no mount was asked for")
			}
		})
	}
}

// An image whose layers lie in another repository alone is pushed without sending them.
func TestImageOfMountedLayers(t *testing.T) {
	c := count(t)
	layer, err := random.Layer(1<<20, types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	old := &Stages{Target: c.Target}
	if err := old.Keep(t.Context(), "stage.x", built(t, "", layer).Single); err != nil {
		t.Fatal(err)
	}
	found, err := old.Stage(t.Context(), "stage.x")
	if err != nil {
		t.Fatal(err)
	}
	layers, err := found.Layers()
	if err != nil {
		t.Fatal(err)
	}
	c.sent.Store(0)
	renamed := c.Target
	renamed.Name = "acme/new"
	pushed(t, renamed, "1.0.0", built(t, "", layers...))
	if sent := c.sent.Load(); sent == 0 || sent > 1<<12 {
		t.Errorf("%d bytes were sent, want those of the configuration", sent)
	}
}

func TestSibling(t *testing.T) {
	remote := Target{Host: "registry.example.com:5000", Name: "acme/new", Username: "robot"}
	embedded := Target{Host: "127.0.0.1:34567", Name: "acme/new", PulledAs: "acme/new"}
	for label, test := range map[string]struct {
		of         Target
		repository string
		want       string
	}{
		"another name":             {remote, "registry.example.com:5000/acme/old", "acme/old"},
		"its own":                  {remote, "registry.example.com:5000/acme/new", ""},
		"another registry":         {remote, "registry.example.com/acme/old", ""},
		"Docker Hub":               {remote, "acme/old", ""},
		"of Docker Hub":            {Target{Host: "docker.io", Name: "acme/new"}, "docker.io/acme/old", "acme/old"},
		"a name of no registry":    {Target{Host: "docker.io", Name: "acmecorp/new"}, "acme/old", ""},
		"embedded":                 {embedded, "acme/old", "acme/old"},
		"embedded, of one word":    {embedded, "old", "old"},
		"embedded, its own":        {embedded, "acme/new", ""},
		"embedded, from elsewhere": {embedded, "registry.example.com:5000/acme/old", ""},
		"no name":                  {remote, "", ""},
		"no good name":             {remote, "Acme Site", ""},
	} {
		t.Run(label, func(t *testing.T) {
			got, ok := test.of.Sibling(test.repository)
			if ok != (test.want != "") || ok && got.Name != test.want {
				t.Errorf("got %+v, %t", got, ok)
			}
			if ok && (got.Host != test.of.Host || got.Username != test.of.Username) {
				t.Errorf("of another registry: %+v", got)
			}
		})
	}
}
