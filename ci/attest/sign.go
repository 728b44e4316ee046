package attest

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/payload"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry/answer"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// The layout of a signature in a registry is cosign's own:
// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md. Each
// layer of the image under the tag is a payload, and its annotation the
// signature of it in base64.
const (
	payloadType         types.MediaType = "application/vnd.dev.cosign.simplesigning.v1+json"
	signatureAnnotation string          = "dev.cosignproject.cosign/signature"
)

// maxPayload is the most that is read of what was signed, in bytes: it is a
// digest and a name.
const maxPayload = 64 << 10

// ErrUnsigned is what [Verify] finds of an image that has no signature of the
// key.
var ErrUnsigned = errors.New("it has no signature of this key")

// ErrTagRefused is what [Signer.Sign] finds of a registry that does not let it write the
// tag with an image's signatures.
var ErrTagRefused = errors.New("the registry refuses to write")

// Signer signs digests with cosign's key.
type Signer struct{ key signature.SignerVerifier }

// Key is a private key of cosign generate-key-pair, or an open one in PKCS #8
// or SEC 1.
type Key struct {
	// PEM is its text.
	PEM secret.Secret
	// Password opens an encrypted key; for an open one it is not looked at.
	Password secret.Secret
}

// NewSigner reads the private key. Its errors hold nothing of it.
func NewSigner(key Key) (*Signer, error) {
	text := []byte(key.PEM.Reveal())
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("read signing key: it is not a key in PEM")
	}
	private, err := cryptoutils.UnmarshalPEMToPrivateKey(text, func(bool) ([]byte, error) { return []byte(key.Password.Reveal()), nil })
	switch locked := strings.HasPrefix(block.Type, "ENCRYPTED "); {
	case err == nil:
	case locked && key.Password.IsSet():
		return nil, fmt.Errorf("read signing key: the password is wrong, or the key is damaged: %w", err)
	case locked:
		// cosign makes keys with an empty password too, so it was tried.
		return nil, fmt.Errorf("read signing key: it is encrypted, and there is no password: %w", err)
	default:
		return nil, fmt.Errorf("read signing key: %w", err)
	}
	signer, err := signature.LoadSignerVerifier(private, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("use signing key: %w", err)
	}
	return &Signer{signer}, nil
}

// PublicKey returns the key that verifies the signatures, in PEM: cosign.pub.
func (s *Signer) PublicKey() ([]byte, error) {
	public, err := s.key.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("derive public key: %w", err)
	}
	return cryptoutils.MarshalPublicKeyToPEM(public)
}

// Sign signs, in the format of cosign before 3.0, that the image is what reference
// names, the name by which it is pulled; empty for the repository that it is in. The
// signature is pushed beside those that the image has. Where the same was signed with
// the same key before, nothing changes.
//
// The format writes the tag anew for each signature. Where the registry does not move
// it, and it has no signature of this key, the error is [ErrTagRefused]. Two processes
// at the same time may lose one of their signatures.
func (s *Signer) Sign(ctx context.Context, image name.Digest, reference string, options ...remote.Option) error {
	options = within(ctx, options)
	text, err := json.Marshal(payload.Cosign{Image: image, ClaimedIdentity: reference})
	if err != nil {
		return fmt.Errorf("encode what is signed: %w", err)
	}
	lists.Lock()
	defer lists.Unlock()
	list, signatures, err := readSignatures(image, options)
	if err != nil {
		return err
	}
	signed := false
	for _, known := range signatures {
		good := known.verify(s.key) == nil
		if good && bytes.Equal(known.payload, text) {
			return nil
		}
		signed = signed || good && known.of(image)
	}
	made, err := s.key.SignMessage(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("sign %s: %w", image, err)
	}
	list, err = mutate.Append(list, mutate.Addendum{
		Layer:       static.NewLayer(text, payloadType),
		Annotations: map[string]string{signatureAnnotation: base64.StdEncoding.EncodeToString(made)},
	})
	if err != nil {
		return fmt.Errorf("add signature to %s: %w", image, err)
	}
	switch err := remote.Write(signatureTag(image), list, options...); {
	case err == nil, answer.Refused(err) && signed:
		return nil
	case answer.Refused(err):
		return fmt.Errorf("push signature of %s: %w %s: %w", image, ErrTagRefused, signatureTag(image), err)
	default:
		return fmt.Errorf("push signature of %s: %w", image, err)
	}
}

// Verify finds out whether the image's digest was signed with a key, whose
// public half is given in PEM, in either of cosign's formats. By which name it was
// signed does not matter. A statement about the image that is signed, such as its
// provenance, is no signature of the image.
//
// The error is [ErrUnsigned] where there is no such signature, and another one
// where that could not be found out.
func Verify(ctx context.Context, image name.Digest, publicKey []byte, options ...remote.Option) error {
	public, err := cryptoutils.UnmarshalPEMToPublicKey(publicKey)
	if err != nil {
		return fmt.Errorf("read public key: %w", err)
	}
	key, err := verifiersOf(public)
	if err != nil {
		return err
	}
	options = within(ctx, options)
	_, signatures, err := readSignatures(image, options)
	if err != nil {
		return err
	}
	for _, known := range signatures {
		// Not before the signature is good is the payload of interest.
		if known.verify(key[0]) == nil && known.of(image) {
			return nil
		}
	}
	found, bundles, err := inBundle(image, SignaturePredicate, key, options)
	switch {
	case err != nil:
		return err
	case found:
		return nil
	}
	return fmt.Errorf("verify %s: %w, of %d signatures and %d bundles in all", image, ErrUnsigned, len(signatures), bundles)
}

// signed is one signature and what was signed with it.
type signed struct{ payload, signature []byte }

func (s signed) verify(key signature.Verifier) error {
	return key.VerifySignature(bytes.NewReader(s.signature), bytes.NewReader(s.payload))
}

// of reports whether what was signed is an image.
func (s signed) of(image name.Digest) bool {
	var claim payload.SimpleContainerImage
	return json.Unmarshal(s.payload, &claim) == nil &&
		claim.Critical.Type == payload.CosignSignatureType &&
		claim.Critical.Image.DockerManifestDigest == image.DigestStr()
}

// signatureTag is the tag under which cosign keeps an image's signatures.
func signatureTag(image name.Digest) name.Tag {
	return image.Context().Tag(strings.Replace(image.DigestStr(), ":", "-", 1) + ".sig")
}

// readSignatures reads an image's signatures, good or not, and returns the list
// that they are in for another to be added. What is no signature is left out.
func readSignatures(image name.Digest, options []remote.Option) (v1.Image, []signed, error) {
	list, err := remote.Image(signatureTag(image), options...)
	if answer.Missing(err) {
		list = mutate.MediaType(empty.Image, types.OCIManifestSchema1)
		return mutate.ConfigMediaType(list, types.OCIConfigJSON), nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read signatures of %s: %w", image, err)
	}
	about, err := list.Manifest()
	if err != nil {
		return nil, nil, fmt.Errorf("read signatures of %s: %w", image, err)
	}
	var signatures []signed
	for _, layer := range about.Layers {
		made, err := base64.StdEncoding.DecodeString(layer.Annotations[signatureAnnotation])
		if err != nil || len(made) == 0 || layer.MediaType != payloadType || layer.Size > maxPayload {
			continue
		}
		text, err := blob(list, layer.Digest)
		if err != nil {
			return nil, nil, fmt.Errorf("read signatures of %s: %w", image, err)
		}
		signatures = append(signatures, signed{text, made})
	}
	return list, signatures, nil
}
