package registry

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// embedded starts a registry with one image, and returns the image's digest.
func embedded(t *testing.T, dir, repository, tag string) (*Embedded, string) {
	t.Helper()
	e, err := Serve(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	reference, err := name.NewTag(e.Address() + "/" + repository + ":" + tag)
	if err != nil {
		t.Fatal(err)
	}
	image, err := random.Image(1<<10, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return e, digest.String()
}

func TestCheck(t *testing.T) {
	e, digest := embedded(t, t.TempDir(), "acme/site", "1.0.0")
	guarded := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "robot" || password != "open-sesame" {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		e.server.Handler.ServeHTTP(w, r)
	}))
	defer guarded.Close()
	guardedHost := strings.TrimPrefix(guarded.URL, "http://")
	closed := httptest.NewServer(nil)
	closed.Close()

	for label, test := range map[string]struct {
		target  Target
		version string
		want    string
		remedy  string
	}{
		"free version": {
			target: Target{Host: e.Address(), Name: "acme/site"}, version: "1.0.1",
		},
		"taken version": {
			target: Target{Host: e.Address(), Name: "acme/site"}, version: "1.0.0",
			want:   "DE_SITE_VERSION 1.0.0: is released already: " + e.Address() + "/acme/site:1.0.0 is " + digest,
			remedy: "increment DE_SITE_VERSION: a version names one image forever; to put that image live, run: pipeline deploy 1.0.0",
		},
		"good credentials": {
			target: Target{Host: guardedHost, Name: "acme/site", Username: "robot", Password: secret.New("open-sesame")}, version: "1.0.1",
		},
		"wrong credentials": {
			target: Target{Host: guardedHost, Name: "acme/site", Username: "robot", Password: secret.New("wrong-password")}, version: "1.0.1",
			want:   "REGISTRY " + guardedHost + ": refuses the credentials",
			remedy: "set REGISTRY_USERNAME and REGISTRY_PASSWORD to an account that may push acme/site",
		},
		"no credentials": {
			target: Target{Host: guardedHost, Name: "acme/site"}, version: "1.0.1",
			want:   "REGISTRY " + guardedHost + ": refuses the credentials",
			remedy: "set REGISTRY_USERNAME and REGISTRY_PASSWORD to an account that may push acme/site",
		},
		"nobody there": {
			target: Target{Host: strings.TrimPrefix(closed.URL, "http://"), Name: "acme/site"}, version: "1.0.1",
			want:   "connection refused",
			remedy: "check REGISTRY and that this machine reaches it",
		},
		"a name that no registry takes": {
			target: Target{Host: e.Address(), Name: "Acme/Site"}, version: "1.0.1",
			want:   "IMAGE_NAME: name image",
			remedy: "give a name of lower-case letters, digits, dots, dashes and slashes",
		},
	} {
		t.Run(label, func(t *testing.T) {
			report := Check(t.Context(), test.target, test.version)
			if test.want == "" {
				if len(report) != 0 {
					t.Fatalf("problems: %v", report.Err())
				}
				return
			}
			if len(report) != 1 {
				t.Fatalf("%d problems: %v", len(report), report.Err())
			}
			if got := report[0].Error(); !strings.Contains(got, test.want) {
				t.Errorf("problem %q, want %q in it", got, test.want)
			}
			if report[0].Remedy != test.remedy {
				t.Errorf("remedy %q, want %q", report[0].Remedy, test.remedy)
			}
			if strings.Contains(report.Err().Error(), "wrong-password") {
				t.Errorf("the password is in %q", report.Err())
			}
		})
	}
}

func TestEmbeddedKeepsImages(t *testing.T) {
	dir := t.TempDir()
	first, digest := embedded(t, dir, "acme/site", "1.0.0")
	if err := first.server.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := Serve(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	got, err := Released(t.Context(), Target{Host: second.Address(), Name: "acme/site"}, "1.0.0")
	if err != nil || got != digest {
		t.Errorf("after a restart 1.0.0 is %q, %v; want %q", got, err, digest)
	}
}
