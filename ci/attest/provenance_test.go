package attest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// run is a build.
var run = attest.Run{
	Lock: release.Lock{
		SiteVersion: "1.0.0", Python: "3.11.6", Node: "18.18.2", AptPackages: []string{"jq"}, Requirements: "click==8.1.7\n",
		Apps: []release.App{
			{Name: "frappe", URL: "https://github.com/frappe/frappe", Ref: "v15.1.0", Kind: release.Tag, Commit: strings.Repeat("a", 40)},
			{Name: "erpnext", URL: "https://robot:open-sesame@github.com/frappe/erpnext?token=open-sesame", Ref: "version-15", Kind: release.Branch, Commit: strings.Repeat("b", 40)},
			{Name: "site", URL: "https://github.com/acme/site", Ref: strings.Repeat("c", 40), Kind: release.Commit, Commit: strings.Repeat("c", 40)},
		},
		Bases:       map[string]string{"python:3.11.6-slim-bookworm": "sha256:" + strings.Repeat("1", 64)},
		Wkhtmltopdf: &release.Download{URL: "https://robot:open-sesame@example.com/{arch}.deb", SHA256: map[string]string{"amd64": strings.Repeat("2", 64)}},
	},
	Platforms: []string{"linux/amd64"}, Version: "v1.2.3", Builder: "https://example.com/acme/site/.github/workflows/release.yml@refs/tags/site-v1",
	Invocation: "https://example.com/acme/site/actions/runs/7/attempts/2",
	Began:      time.Date(2026, 3, 20, 12, 0, 0, 0, time.UTC), Ended: time.Date(2026, 3, 20, 12, 5, 0, 0, time.UTC),
}

const provenanceText = `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"HEX"}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{
"buildDefinition":{"buildType":"https://github.com/desiredeffect/erpnext-pipeline/blob/main/docs/image.md#provenance",
"externalParameters":{"siteVersion":"1.0.0","apps":[{"url":"https://github.com/frappe/frappe","ref":"v15.1.0"},{"url":"https://github.com/frappe/erpnext","ref":"version-15"},{"url":"https://github.com/acme/site","ref":"cccccccccccccccccccccccccccccccccccccccc"}],
"platforms":["linux/amd64"],"python":"3.11.6","node":"18.18.2","aptPackages":["jq"]},
"resolvedDependencies":[
{"uri":"git+https://github.com/frappe/frappe@refs/tags/v15.1.0","digest":{"gitCommit":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},"name":"frappe"},
{"uri":"git+https://github.com/frappe/erpnext@refs/heads/version-15","digest":{"gitCommit":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"},"name":"erpnext"},
{"uri":"git+https://github.com/acme/site@cccccccccccccccccccccccccccccccccccccccc","digest":{"gitCommit":"cccccccccccccccccccccccccccccccccccccccc"},"name":"site"},
{"uri":"pkg:docker/python@3.11.6-slim-bookworm","digest":{"sha256":"1111111111111111111111111111111111111111111111111111111111111111"},"name":"python:3.11.6-slim-bookworm"},
{"uri":"https://example.com/amd64.deb","digest":{"sha256":"2222222222222222222222222222222222222222222222222222222222222222"}},
{"digest":{"sha256":"1d8786c8aeca6c9d67ed775b50687179049d72a3f6b826c6c4df1b696172afba"},"name":"requirements.lock"}]},
"runDetails":{"builder":{"id":"https://example.com/acme/site/.github/workflows/release.yml@refs/tags/site-v1","version":{"erpnext-pipeline":"v1.2.3"}},
"metadata":{"invocationId":"https://example.com/acme/site/actions/runs/7/attempts/2","startedOn":"2026-03-20T12:00:00Z","finishedOn":"2026-03-20T12:05:00Z"}}}}`

func decoded(t *testing.T, text []byte) (value any) {
	t.Helper()
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// statementOf takes the statement out of a bundle, if it is in one.
func statementOf(t *testing.T, content []byte) []byte {
	t.Helper()
	envelope, sealed := decoded(t, content).(map[string]any)["dsseEnvelope"].(map[string]any)
	if !sealed {
		return content
	}
	opened, err := base64.StdEncoding.DecodeString(envelope["payload"].(string))
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func TestProvenance(t *testing.T) {
	image, err := name.NewDigest("127.0.0.1:1/acme/site@" + imageDigest)
	if err != nil {
		t.Fatal(err)
	}
	_, hex, _ := strings.Cut(imageDigest, ":")
	want := decoded(t, []byte(strings.Replace(provenanceText, "HEX", hex, 1)))
	signer, _ := newKey(t)
	for label, test := range map[string]struct {
		signer    *attest.Signer
		kind, key string
	}{
		"unsigned": {nil, attest.StatementType, attest.StatementPredicate},
		"signed":   {signer, attest.BundleType, "dev.sigstore.bundle.predicateType"},
	} {
		t.Run(label, func(t *testing.T) {
			made, err := attest.Provenance(image, run, test.signer)
			if err != nil {
				t.Fatal(err)
			}
			if made.Type != test.kind || made.Annotations[test.key] != attest.ProvenancePredicate || made.Annotations[attest.CreatedAnnotation] != "2026-03-20T12:05:00Z" {
				t.Errorf("it is %s with %q", made.Type, made.Annotations)
			}
			if got := decoded(t, statementOf(t, made.Content)); !reflect.DeepEqual(got, want) {
				t.Errorf("got\n%v\nwant\n%v", got, want)
			}
			if bytes.Contains(made.Content, []byte("open-sesame")) {
				t.Error("a credential is in it")
			}
		})
	}
}

// A build without a workflow has no run, and this program as its builder.
func TestProvenanceOfALocalBuild(t *testing.T) {
	image := pushImage(t, inMemory(t)+"/acme/site")
	local := run
	local.Builder, local.Invocation = "", ""
	made, err := attest.Provenance(image, local, nil)
	if err != nil {
		t.Fatal(err)
	}
	details := decoded(t, made.Content).(map[string]any)["predicate"].(map[string]any)["runDetails"].(map[string]any)
	if id := details["builder"].(map[string]any)["id"]; id != attest.LocalBuilder || bytes.Contains(made.Content, []byte("invocationId")) {
		t.Errorf("got %v", details)
	}
}

func TestStated(t *testing.T) {
	signer, _ := newKey(t)
	stranger, _ := newKey(t)
	everywhere(t, func(t *testing.T, image name.Digest) {
		stated := func(predicate string, signer *attest.Signer) bool {
			t.Helper()
			found, err := attest.Stated(t.Context(), image, predicate, signer)
			if err != nil {
				t.Fatal(err)
			}
			return found
		}
		attachProvenance := func(of name.Digest, signer *attest.Signer) {
			t.Helper()
			made, err := attest.Provenance(of, run, signer)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := attest.Attach(t.Context(), image, []attest.Artifact{made}); err != nil {
				t.Fatal(err)
			}
		}
		other := pushImage(t, image.Context().Name())
		attachProvenance(other, nil)
		attachProvenance(other, signer)
		attachProvenance(image, stranger)
		if stated(attest.ProvenancePredicate, nil) || stated(attest.ProvenancePredicate, signer) {
			t.Error("there is provenance of another image, or of another key")
		}
		attachProvenance(image, nil)
		if !stated(attest.ProvenancePredicate, nil) || stated(attest.ProvenancePredicate, signer) {
			t.Error("there is a statement, and it is unsigned")
		}
		attachProvenance(image, signer)
		if !stated(attest.ProvenancePredicate, signer) || stated(attest.SignaturePredicate, signer) {
			t.Error("there is signed provenance, which is no signature")
		}
		if err := attest.Verify(t.Context(), image, publicKey(t, signer)); err == nil {
			t.Error("signed provenance is taken for a signature")
		}
	})
}
