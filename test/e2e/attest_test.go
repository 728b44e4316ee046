package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
	"github.com/desiredeffect/erpnext-pipeline/ci/smoketest"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

func (u *user) attested(t *testing.T) {
	const password = "open-sesame-2026"
	address, key := u.guardedRegistry("robot", password), signingKey(t)
	u = u.withRegistry(address, "robot", password).with("SIGNING_KEY=" + key)
	page := filepath.Join(u.world.Dir, "timeline.html")
	out := u.must(u.command("push", "1.0.3", apps.Version1(), "--timeline", page, "--new-site")...)
	_, digest, _ := strings.Cut(strings.TrimSpace(out), "@")
	image, err := name.NewDigest(address + "/desiredeffect/erpnext-custom@" + digest)
	if err != nil {
		t.Fatal(err)
	}
	login := remote.WithAuth(&authn.Basic{Username: "robot", Password: password})
	for kind, want := range map[string][]string{
		smoketest.ArtifactType: {"a site is made, with every app installed", "a job goes through the worker", "the site migrates", digest},
		attest.SBOMType:        {"CycloneDX", "pkg:pypi/redis@", "pkg:pypi/frappe-bench@", "pkg:npm/rtlcss@", "pkg:deb/debian/nginx@", "pkg:generic/erpnext@"},
	} {
		text, err := attest.Attached(t.Context(), image, kind, login)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range want {
			if !bytes.Contains(text, []byte(part)) {
				t.Errorf("%s: %q is not in\n%.2000s", kind, part, text)
			}
		}
		// Its lock has the compiler, and no image does.
		if bytes.Contains(text, []byte("pkg:npm/esbuild")) {
			t.Errorf("%s: a module that is pruned is listed", kind)
		}
	}
	signer, err := attest.NewSigner(attest.Key{PEM: secret.New(key)})
	if err != nil {
		t.Fatal(err)
	}
	public, err := signer.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := attest.Verify(t.Context(), image, public, login); err != nil {
		t.Error(err)
	}
	if signed, err := attest.Stated(t.Context(), image, attest.ProvenancePredicate, signer, login); err != nil || !signed {
		t.Errorf("signed provenance: %t, %v", signed, err)
	}
	timeline, err := os.ReadFile(page)
	if err != nil || !bytes.Contains(timeline, []byte("smoke test")) || !bytes.Contains(timeline, []byte("critical path")) {
		t.Errorf("timeline: %v\n%.500s", err, timeline)
	}
	// That it was not tested is written down as well.
	untested := u.command("push", "1.0.4", apps.Version1().With("erpnext", "v15.1.1"), "--skip-smoke-test")
	u.must(untested...)
	if _, _, errs := u.run(untested...); !strings.Contains(errs, "not smoke-tested") {
		t.Errorf("pushed again:\n%s", errs)
	}
}

// contentsOf returns what the bill of materials beside a pushed image lists: by package
// URL where it was found, in the bench.
func contentsOf(t *testing.T, pushed string) map[string][]string {
	t.Helper()
	tag, digest, _ := strings.Cut(strings.TrimSpace(pushed), "@")
	reference, err := name.NewTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	text, err := attest.Attached(t.Context(), reference.Context().Digest(digest), attest.SBOMType)
	if err != nil {
		t.Fatal(err)
	}
	var bom cdx.BOM
	if err := json.Unmarshal(text, &bom); err != nil {
		t.Fatalf("beside %s is %q: %v", pushed, text, err)
	}
	found := map[string][]string{}
	for _, component := range *bom.Components {
		found[component.PackageURL] = []string{}
		if component.Evidence == nil {
			continue
		}
		for _, at := range *component.Evidence.Occurrences {
			found[component.PackageURL] = append(found[component.PackageURL], strings.TrimPrefix(at.Location, "/home/frappe/frappe-bench/"))
		}
	}
	return found
}

// listsShapes holds that the bill of materials of the shapes' image has what is in it,
// whichever manager put it there, and nothing else.
func listsShapes(t *testing.T, pushed string) {
	t.Helper()
	found := contentsOf(t, pushed)
	served := map[string][]string{
		"ms@2.1.3": {"by_berry/node_modules/ms", "by_npm/node_modules/ms", "by_pnpm/node_modules/.pnpm/ms@2.1.3/node_modules/ms", "by_yarns/node_modules/ms"},
		"ms@2.1.2": {"by_yarn2/node_modules/ms", "by_yarn3/node_modules/ms"}, "resolve@1.10.0": {"by_yarn2/node_modules/resolve"}, "path-parse@1.0.7": {"by_yarn2/node_modules/path-parse"},
		"vendored@1.0.0": {"by_override/node_modules/.pnpm/vendored@file+vendor+said/node_modules/vendored"},
	}
	for name, want := range served {
		var got []string
		for _, at := range found["pkg:npm/"+name] {
			got = append(got, strings.TrimSuffix(strings.TrimPrefix(at, "apps/"), "/package.json"))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s is listed at %q, want %q", name, got, want)
		}
	}
	var others []string
	for address, at := range found {
		kind, _, _ := strings.Cut(strings.TrimPrefix(address, "pkg:"), "/")
		switch {
		case kind == "npm" && len(at) == 0, kind == "pypi" && len(at) == 0:
			t.Errorf("%s is listed, and not where it is", address)
		case kind == "npm" && served[strings.TrimPrefix(address, "pkg:npm/")] == nil:
			for _, at := range at {
				if !strings.HasPrefix(at, "apps/frappe/node_modules/") {
					others = append(others, address+" at "+at)
				}
			}
		}
		if strings.HasPrefix(address, "pkg:npm/esbuild") || strings.HasPrefix(address, "pkg:pypi/frappe@") || strings.HasPrefix(address, "pkg:pypi/by-") {
			others = append(others, address)
		}
	}
	if len(others) > 0 {
		t.Errorf("these are listed, and no packages of the image: %q", others)
	}
	for _, part := range []string{"pkg:deb/debian/tree@", "pkg:pypi/iniconfig@2", "pkg:pypi/frappe-bench@", "pkg:pypi/six@1.16.0?download_url=https:%2F%2Ffiles.pythonhosted.org", "pkg:pypi/de-macrs@0.0.4?vcs_url=git%2B"} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(found)), func(address string) bool { return strings.HasPrefix(address, part) }) {
			t.Errorf("%s… is not among %q", part, slices.Sorted(maps.Keys(found)))
		}
	}
	t.Logf("lists %d components", len(found))
}

// signingKey is a new key, in PEM.
func signingKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
