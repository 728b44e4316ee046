package cli

import (
	"bytes"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"io"
	stdlog "log"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	memory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/rs/zerolog"
	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/ci/smoketest"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/registrykinds"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

func signingKey(t *testing.T) attest.Key {
	t.Helper()
	private, _, err := cryptoutils.GeneratePEMEncodedECDSAKeyPair(elliptic.P256(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return attest.Key{PEM: secret.New(string(private))}
}

// attesting returns what pushes to a registry that moves no tags, has the referrers API
// or not, and the log of it.
func attesting(t *testing.T, referrers bool) (pusher, built, name.Digest, *bytes.Buffer) {
	t.Helper()
	server := httptest.NewServer(registrykinds.Immutable(memory.New(memory.WithReferrersSupport(referrers), memory.Logger(stdlog.New(io.Discard, "", 0))), registrykinds.Refusals["ECR"]))
	t.Cleanup(server.Close)
	pushed := withModule(t, "amd64", "of-one")
	b := built{lock: sampleLock(), image: &image.Image{Single: pushed, Digest: digestOf(t, pushed), Platforms: []v1.Image{pushed}}, ended: time.Now()}
	for i, app := range b.lock.Apps {
		b.lock.Apps[i].URL = "https://github.com/acme/" + app.Name
	}
	target := registry.Target{Host: strings.TrimPrefix(server.URL, "http://"), Name: "acme/site"}
	reference, err := registry.Push(t.Context(), b.image, target)
	if err != nil {
		t.Fatal(err)
	}
	var lines bytes.Buffer
	p := pusher{target: target, session: &session{began: time.Now(), watcher: newCLI(nil, strings.NewReader(""), io.Discard, io.Discard).watch("Build"), builder: &image.Builder{Stores: []image.Store{&registry.Stages{Target: target}}}}, skipSmokeTest: true, log: zerolog.New(&lines).Level(zerolog.WarnLevel)}
	return p, b, reference, &lines
}

// signed reports whether an image has a signature of a key.
func signed(t *testing.T, p pusher, reference name.Digest, key attest.Key) bool {
	t.Helper()
	signer, err := attest.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := signer.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	err = attest.Verify(t.Context(), reference, public, p.target.Options(t.Context())...)
	if err != nil && !errors.Is(err, attest.ErrUnsigned) {
		t.Fatal(err)
	}
	return err == nil
}

// Where tags don't move the first release has everything, again as well. Another key
// signs where the registry lists artifacts, and is refused where it can't be kept.
func TestAttestWhereTagsDoNotMove(t *testing.T) {
	for label, referrers := range map[string]bool{"with the referrers API": true, "without": false} {
		t.Run(label, func(t *testing.T) {
			p, b, reference, lines := attesting(t, referrers)
			first, second := signingKey(t), signingKey(t)
			p.config = config.Config{SigningKey: first}
			for range 2 {
				if word, err := p.attest(t.Context(), b, reference); err != nil || word != "not smoke-tested" {
					t.Fatalf("%q, %v", word, err)
				}
			}
			for _, kind := range []string{smoketest.ArtifactType, attest.SBOMType, attest.BundleType} {
				if content, err := attest.Attached(t.Context(), reference, kind); err != nil || content == nil {
					t.Errorf("%s: %q, %v", kind, content, err)
				}
			}
			signer, err := attest.NewSigner(first)
			if err != nil {
				t.Fatal(err)
			}
			if found, err := attest.Stated(t.Context(), reference, attest.ProvenancePredicate, signer); err != nil || !found {
				t.Errorf("provenance: %t, %v", found, err)
			}
			if !signed(t, p, reference, first) || signed(t, p, reference, second) {
				t.Error("it is to be signed with the first key, and that alone")
			}
			if lines.Len() > 0 {
				t.Errorf("warned of\n%s", lines)
			}

			p.config.SigningKey = second
			_, err = p.attest(t.Context(), b, reference)
			var report *problem.Error
			if referrers != (err == nil) || !referrers && (!errors.As(err, &report) || report.Report[0].Code != "registry.signature-tag" || report.Report[0].Remedy == "") {
				t.Errorf("another key: %v", err)
			}
			if signed(t, p, reference, second) != referrers {
				t.Error("the second signature is not what the error says")
			}
			var line struct{ Level, Message, Fix string }
			if err := json.NewDecoder(lines).Decode(&line); err != nil {
				t.Fatal(err)
			}
			want := "TAG_INVALID"
			if line.Level != "warn" || !strings.Contains(line.Message, want) || !strings.HasPrefix(line.Fix, "exempt tags that begin with sha256- ") {
				t.Errorf("warned of %+v", line)
			}
		})
	}
}

// Without a key there are statements that are not signed.
func TestAttestWithoutAKey(t *testing.T) {
	p, b, reference, _ := attesting(t, true)
	for range 2 {
		if _, err := p.attest(t.Context(), b, reference); err != nil {
			t.Fatal(err)
		}
	}
	content, err := attest.Attached(t.Context(), reference, attest.StatementType)
	if err != nil || !bytes.Contains(content, []byte(`"uri":"git+https://github.com/acme/hrms`)) {
		t.Errorf("%s, %v", content, err)
	}
	if content, err := attest.Attached(t.Context(), reference, attest.BundleType); content != nil || err != nil {
		t.Errorf("a bundle %s, %v", content, err)
	}
}

func TestRunOfProvenance(t *testing.T) {
	workflow := []string{
		"GITHUB_ACTIONS=true", "GITHUB_SERVER_URL=https://github.example.com", "GITHUB_WORKFLOW_REF=acme/site/.github/workflows/deploy.yml@refs/tags/site-v1",
		"GITHUB_REPOSITORY=acme/site", "GITHUB_RUN_ID=7", "GITHUB_RUN_ATTEMPT=2",
	}
	for label, test := range map[string]struct {
		environ             []string
		builder, invocation string
	}{
		"here":                 {nil, "", ""},
		"not in a workflow":    {workflow[1:], "", ""},
		"in a workflow":        {workflow, "https://github.example.com/acme/site/.github/workflows/deploy.yml@refs/tags/site-v1", "https://github.example.com/acme/site/actions/runs/7/attempts/2"},
		"the first attempt":    {workflow[:5], "https://github.example.com/acme/site/.github/workflows/deploy.yml@refs/tags/site-v1", "https://github.example.com/acme/site/actions/runs/7/attempts/1"},
		"of an unknown number": {workflow[:4], "https://github.example.com/acme/site/.github/workflows/deploy.yml@refs/tags/site-v1", ""},
	} {
		t.Run(label, func(t *testing.T) {
			got := newCLI(test.environ, strings.NewReader(""), io.Discard, io.Discard).run()
			if got.Builder != test.builder || got.Invocation != test.invocation || got.Version == "" {
				t.Errorf("got %+v", got)
			}
		})
	}
}
