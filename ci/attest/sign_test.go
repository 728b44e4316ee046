package attest_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

const password = "correct horse battery staple"

// What cosign looks for.
const (
	payloadType         = "application/vnd.dev.cosign.simplesigning.v1+json"
	signatureAnnotation = "dev.cosignproject.cosign/signature"
)

// keyText makes a private key as cosign does, encrypted unless passwords is
// nil.
func keyText(t *testing.T, passwords cryptoutils.PassFunc) []byte {
	t.Helper()
	private, _, err := cryptoutils.GeneratePEMEncodedECDSAKeyPair(elliptic.P256(), passwords)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

// newKey makes a signer, and returns the text of its key.
func newKey(t *testing.T) (*attest.Signer, []byte) {
	t.Helper()
	text := keyText(t, nil)
	signer, err := attest.NewSigner(text, secret.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	return signer, text
}

func publicKey(t *testing.T, signer *attest.Signer) []byte {
	t.Helper()
	public, err := signer.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// signatures reads the list under the tag of cosign's.
func signatures(t *testing.T, image name.Digest) (v1.Image, *v1.Manifest) {
	t.Helper()
	list, err := remote.Image(signatureTag(image))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := list.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	return list, manifest
}

// firstLayer reads what was signed first.
func firstLayer(t *testing.T, list v1.Image) []byte {
	t.Helper()
	layers, err := list.Layers()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	text, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func signatureTag(image name.Digest) name.Tag {
	return image.Context().Tag(strings.Replace(image.DigestStr(), ":", "-", 1) + ".sig")
}

func TestNewSigner(t *testing.T) {
	open := keyText(t, nil)
	locked := keyText(t, cryptoutils.StaticPasswordFunc([]byte(password)))
	block, _ := pem.Decode(locked)
	block.Bytes = bytes.Replace(block.Bytes, []byte("scrypt"), []byte("crypt!"), 1)
	damaged := pem.EncodeToMemory(block)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edwardsText, err := cryptoutils.MarshalPrivateKeyToPEM(edwards)
	if err != nil {
		t.Fatal(err)
	}
	for label, test := range map[string]struct {
		key      []byte
		password string
		want     string
	}{
		"open":                         {key: open},
		"open, and a password":         {key: open, password: password},
		"open, of another kind":        {key: edwardsText},
		"encrypted":                    {key: locked, password: password},
		"encrypted, by an old cosign":  {key: bytes.ReplaceAll(locked, []byte("SIGSTORE"), []byte("COSIGN")), password: password},
		"encrypted, an empty password": {key: keyText(t, cryptoutils.StaticPasswordFunc([]byte{}))},
		"wrong password":               {key: locked, password: "wrong", want: "read signing key: the password is wrong, or the key is damaged: encrypted: decryption failed"},
		"no password":                  {key: locked, want: "read signing key: it is encrypted, and there is no password: encrypted: decryption failed"},
		"damaged":                      {key: damaged, password: password, want: "read signing key: the password is wrong, or the key is damaged: encrypted: unknown kdf name"},
		"cut short":                    {key: open[:len(open)/2], want: "read signing key: it is not a key in PEM"},
		"nothing":                      {want: "read signing key: it is not a key in PEM"},
		"a public key":                 {key: []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), want: "read signing key: unknown private key PEM file type: PUBLIC KEY"},
		"of no kind that is known":     {key: []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), want: "read signing key: asn1:"},
	} {
		t.Run(label, func(t *testing.T) {
			signer, err := attest.NewSigner(test.key, secret.New(test.password))
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if public := publicKey(t, signer); !bytes.HasPrefix(public, []byte("-----BEGIN PUBLIC KEY-----\n")) {
					t.Errorf("the public key is %s", public)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %q in it", err, test.want)
			}
			for _, line := range strings.Split(string(test.key), "\n") {
				if len(line) > 20 && !strings.HasPrefix(line, "-----") && strings.Contains(err.Error(), line) {
					t.Errorf("the key is in %q", err)
				}
			}
			if strings.Contains(err.Error(), password) {
				t.Errorf("the password is in %q", err)
			}
		})
	}
}

func TestSign(t *testing.T) {
	everywhere(t, func(t *testing.T, image name.Digest) {
		signer, _ := newKey(t)
		if err := signer.Sign(t.Context(), image, "registry.example.com/acme/site:1.1.5"); err != nil {
			t.Fatal(err)
		}
		list, manifest := signatures(t, image)
		if manifest.MediaType != types.OCIManifestSchema1 || manifest.Config.MediaType != types.OCIConfigJSON || len(manifest.Layers) != 1 {
			t.Fatalf("the signatures are %+v", manifest)
		}
		layer := manifest.Layers[0]
		if layer.MediaType != payloadType || layer.Annotations[signatureAnnotation] == "" {
			t.Errorf("the signature is %+v", layer)
		}
		want := `{"critical":{"identity":{"docker-reference":"registry.example.com/acme/site:1.1.5"},"image":{"docker-manifest-digest":"` +
			image.DigestStr() + `"},"type":"cosign container image signature"},"optional":null}`
		if got := firstLayer(t, list); string(got) != want {
			t.Errorf("signed is\n%s, want\n%s", got, want)
		}
		if err := attest.Verify(t.Context(), image, publicKey(t, signer)); err != nil {
			t.Error(err)
		}
	})
}

func TestSignAgain(t *testing.T) {
	everywhere(t, func(t *testing.T, image name.Digest) {
		first, text := newKey(t)
		second, _ := newKey(t)
		sameAsFirst, err := attest.NewSigner(text, secret.Secret{})
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			label     string
			signer    *attest.Signer
			reference string
			want      int
		}{
			{"first", first, "", 1},
			{"again", sameAsFirst, "", 1},
			{"with another key", second, "", 2},
			{"again with the first", first, "", 2},
			{"again with the other", second, "", 2},
			{"by another name", first, "acme/site:1.1.5", 3},
			{"by that name again", first, "acme/site:1.1.5", 3},
		} {
			if err := step.signer.Sign(t.Context(), image, step.reference); err != nil {
				t.Fatalf("%s: %v", step.label, err)
			}
			if _, manifest := signatures(t, image); len(manifest.Layers) != step.want {
				t.Errorf("%s: %d signatures, want %d", step.label, len(manifest.Layers), step.want)
			}
		}
		for label, signer := range map[string]*attest.Signer{"first": first, "second": second} {
			if err := attest.Verify(t.Context(), image, publicKey(t, signer)); err != nil {
				t.Errorf("%s: %v", label, err)
			}
		}
	})
}

func TestVerifyRefuses(t *testing.T) {
	signer, _ := newKey(t)
	stranger, _ := newKey(t)
	// forged puts the signature of another image beside this one, changed.
	type change func(payload, signature string, signed, image name.Digest) (string, string)
	forged := func(with change) func(*testing.T, name.Digest) {
		return func(t *testing.T, image name.Digest) {
			other := pushImage(t, image.Context().Name())
			if err := signer.Sign(t.Context(), other, ""); err != nil {
				t.Fatal(err)
			}
			list, manifest := signatures(t, other)
			payload, signature := with(string(firstLayer(t, list)), manifest.Layers[0].Annotations[signatureAnnotation], other, image)
			list, err := mutate.Append(empty.Image, mutate.Addendum{
				Layer:       static.NewLayer([]byte(payload), payloadType),
				Annotations: map[string]string{signatureAnnotation: signature},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := remote.Write(signatureTag(image), list); err != nil {
				t.Fatal(err)
			}
		}
	}
	for label, prepare := range map[string]func(*testing.T, name.Digest){
		"an image without signatures": func(*testing.T, name.Digest) {},
		"another key": func(t *testing.T, image name.Digest) {
			if err := stranger.Sign(t.Context(), image, ""); err != nil {
				t.Fatal(err)
			}
		},
		"a signature of another image": forged(func(p, s string, _, _ name.Digest) (string, string) { return p, s }),
		"a payload that was changed": forged(func(p, s string, signed, image name.Digest) (string, string) {
			return strings.Replace(p, signed.DigestStr(), image.DigestStr(), 1), s
		}),
		"a signature that is none": forged(func(p, _ string, _, _ name.Digest) (string, string) {
			return p, base64.StdEncoding.EncodeToString([]byte("no"))
		}),
		"a signature not in base64": forged(func(p, _ string, _, _ name.Digest) (string, string) { return p, "%%%" }),
		"no signature beside it":    forged(func(p, _ string, _, _ name.Digest) (string, string) { return p, "" }),
	} {
		t.Run(label, func(t *testing.T) {
			everywhere(t, func(t *testing.T, image name.Digest) {
				prepare(t, image)
				err := attest.Verify(t.Context(), image, publicKey(t, signer))
				if !errors.Is(err, attest.ErrUnsigned) {
					t.Fatalf("verify gives %v", err)
				}
				// What is there does not keep anybody from signing.
				if err := signer.Sign(t.Context(), image, ""); err != nil {
					t.Fatal(err)
				}
				if err := attest.Verify(t.Context(), image, publicKey(t, signer)); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestVerifyTellsUnsignedFromUnknown(t *testing.T) {
	signer, _ := newKey(t)
	image := pushImage(t, inMemory(t)+"/acme/site")
	if err := attest.Verify(t.Context(), image, []byte("no key")); err == nil || errors.Is(err, attest.ErrUnsigned) || !strings.Contains(err.Error(), "read public key") {
		t.Errorf("no key: %v", err)
	}
	nowhere, err := name.NewDigest("127.0.0.1:1/acme/site@" + imageDigest)
	if err != nil {
		t.Fatal(err)
	}
	if err := attest.Verify(t.Context(), nowhere, publicKey(t, signer)); err == nil || errors.Is(err, attest.ErrUnsigned) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("no registry: %v", err)
	}
}
