package attest_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// cosign is the real one, which TEST_COSIGN names; it takes minutes to compile.
type cosign struct {
	t            *testing.T
	program, dir string
}

func newCosign(t *testing.T) cosign {
	t.Helper()
	program := os.Getenv("TEST_COSIGN")
	if program == "" {
		t.Skip("TEST_COSIGN names no cosign; go install github.com/sigstore/cosign/v3/cmd/cosign@latest makes one")
	}
	return cosign{t, program, t.TempDir()}
}

func (c cosign) run(args ...string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), c.program, args...)
	cmd.Env = append(os.Environ(), "COSIGN_PASSWORD="+password, "HOME="+c.dir)
	cmd.Dir = c.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	return out.String() + errs.String(), err
}

// verifies has cosign verify with the public key of a signer, offline.
func (c cosign) verifies(signer *attest.Signer, command string, args ...string) (string, error) {
	c.t.Helper()
	key := filepath.Join(c.dir, "verify.pub")
	if err := os.WriteFile(key, publicKey(c.t, signer), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return c.run(append([]string{command, "--key", key, "--insecure-ignore-tlog=true", "--allow-http-registry"}, args...)...)
}

// keys are of every kind that can be had.
func keys(t *testing.T) map[string]*attest.Signer {
	t.Helper()
	signers := map[string]*attest.Signer{}
	for label, generate := range map[string]func() (crypto.PrivateKey, error){
		"P-256":   func() (crypto.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
		"P-384":   func() (crypto.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) },
		"RSA":     func() (crypto.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 3072) },
		"Ed25519": func() (crypto.PrivateKey, error) { _, key, err := ed25519.GenerateKey(rand.Reader); return key, err },
	} {
		private, err := generate()
		if err != nil {
			t.Fatal(err)
		}
		text, err := cryptoutils.MarshalPrivateKeyToPEM(private)
		if err != nil {
			t.Fatal(err)
		}
		if signers[label], err = attest.NewSigner(attest.Key{PEM: secret.New(string(text))}); err != nil {
			t.Fatal(err)
		}
	}
	return signers
}

func TestCosignVerifies(t *testing.T) {
	c := newCosign(t)
	for label, signer := range keys(t) {
		t.Run(label, func(t *testing.T) {
			everywhere(t, func(t *testing.T, image name.Digest) {
				c := cosign{t, c.program, t.TempDir()}
				formats := [][]string{nil, {"--new-bundle-format=true"}, {"--new-bundle-format=false"}}
				for _, format := range formats {
					if out, err := c.verifies(signer, "verify", append(format, image.String())...); err == nil {
						t.Errorf("%s: verified before it was signed: %s", format, out)
					}
				}
				attached(t, image, signer)
				if err := signer.Sign(t.Context(), image, ""); err != nil {
					t.Fatal(err)
				}
				for _, format := range formats {
					if out, err := c.verifies(signer, "verify", append(format, image.String())...); err != nil || !strings.Contains(out, image.DigestStr()) {
						t.Errorf("%s: %v\n%s", format, err, out)
					}
				}
				out, err := c.verifies(signer, "verify-attestation", "--type=slsaprovenance1", image.String())
				if err != nil {
					t.Errorf("provenance: %v\n%s", err, out)
				}
				if out, err := c.verifies(signer, "verify-attestation", "--type=cyclonedx", image.String()); err == nil {
					t.Errorf("a type that is not there: %s", out)
				}
			})
		})
	}
}

// attached attaches a signature and signed provenance.
func attached(t *testing.T, image name.Digest, signer *attest.Signer) {
	t.Helper()
	signature, err := signer.Signature(image, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	provenance, err := attest.Provenance(image, run, signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := attest.Attach(t.Context(), image, []attest.Artifact{signature, provenance}); err != nil {
		t.Fatal(err)
	}
}

// What cosign signs is verified here, in both formats.
func TestCosignSigns(t *testing.T) {
	c := newCosign(t)
	if out, err := c.run("generate-key-pair"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(c.dir, "cosign.key"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := attest.NewSigner(attest.Key{PEM: secret.New(string(text)), Password: secret.New(password)})
	if err != nil {
		t.Fatal(err)
	}
	stranger, _ := newKey(t)
	config := filepath.Join(c.dir, "signing.json") // no service of Sigstore's
	if err := os.WriteFile(config, []byte(`{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for label, args := range map[string][]string{
		"bundle": {"--signing-config", config},
		"older":  {"--new-bundle-format=false", "--use-signing-config=false", "--tlog-upload=false"},
	} {
		t.Run(label, func(t *testing.T) {
			c := cosign{t, c.program, c.dir}
			image := pushImage(t, inMemory(t, registry.WithReferrersSupport(true))+"/acme/site")
			if out, err := c.run(append(append([]string{"sign", "--yes", "--key", "cosign.key", "--allow-http-registry"}, args...), image.String())...); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if err := attest.Verify(t.Context(), image, publicKey(t, signer)); err != nil {
				t.Error(err)
			}
			if err := attest.Verify(t.Context(), image, publicKey(t, stranger)); err == nil {
				t.Error("verified with another key")
			}
		})
	}
}
