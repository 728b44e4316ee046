package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
		attest.SBOMType:        {"CycloneDX", "pkg:pypi/redis@", "pkg:npm/esbuild@", "pkg:deb/debian/nginx@", "pkg:github/frappe/erpnext@"},
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
