package attest

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	bundlepb "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	commonpb "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	dssepb "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

// BundleType is the type of a Sigstore bundle, cosign's format of a signature from 3.0
// on: a signed statement, attached to the image that it is about.
const BundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// What cosign writes beside a bundle for others to choose by:
// https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md.
const (
	bundleContent   = "dev.sigstore.bundle.content"
	bundlePredicate = "dev.sigstore.bundle.predicateType"
)

// Signature returns the artifact that says, signed, that the image was signed. at is
// when.
func (s *Signer) Signature(image name.Digest, at time.Time) (Artifact, error) {
	text, err := stated(image, SignaturePredicate, &structpb.Struct{})
	if err != nil {
		return Artifact{}, err
	}
	return s.seal(text, SignaturePredicate, at)
}

// seal signs a statement.
func (s *Signer) seal(text []byte, predicateType string, at time.Time) (Artifact, error) {
	made, err := s.key.SignMessage(bytes.NewReader(dsse.PAE(StatementType, text)))
	if err != nil {
		return Artifact{}, fmt.Errorf("sign statement: %w", err)
	}
	hint, err := hintOf(s.key)
	if err != nil {
		return Artifact{}, err
	}
	content, err := protojson.Marshal(&bundlepb.Bundle{
		MediaType:            BundleType,
		VerificationMaterial: &bundlepb.VerificationMaterial{Content: &bundlepb.VerificationMaterial_PublicKey{PublicKey: &commonpb.PublicKeyIdentifier{Hint: hint}}},
		Content: &bundlepb.Bundle_DsseEnvelope{DsseEnvelope: &dssepb.Envelope{
			Payload: text, PayloadType: StatementType, Signatures: []*dssepb.Signature{{Sig: made}},
		}},
	})
	if err != nil {
		return Artifact{}, fmt.Errorf("encode bundle: %w", err)
	}
	return Artifact{Type: BundleType, Content: content, Annotations: map[string]string{
		CreatedAnnotation: at.UTC().Format(time.RFC3339), bundleContent: "dsse-envelope", bundlePredicate: predicateType,
	}}, nil
}

// hintOf is what tells those who have several keys which one it was: cosign's hash of
// the public key.
func hintOf(key signature.SignerVerifier) (string, error) {
	public, err := key.PublicKey()
	if err != nil {
		return "", fmt.Errorf("derive public key: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("encode public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return base64.StdEncoding.EncodeToString(sum[:]), nil
}

// inBundle reports whether a bundle beside the image holds a statement with a predicate
// of a type, about this image and signed with the key, and how many bundles there are.
func inBundle(image name.Digest, predicateType string, key []signature.Verifier, options []remote.Option) (found bool, all int, err error) {
	artifacts, err := attached(image, BundleType, options)
	if err != nil {
		return false, 0, err
	}
	for _, artifact := range artifacts {
		text, err := only(artifact)
		if err != nil && !errors.Is(err, errForm) {
			return false, 0, fmt.Errorf("read bundle of %s: %w", image, err)
		}
		if opened := open(text, key); opened != nil && states(opened, image, predicateType) {
			return true, len(artifacts), nil
		}
	}
	return false, len(artifacts), nil
}

// open returns the statement of a bundle, or nil where it was not signed with the key.
func open(text []byte, key []signature.Verifier) []byte {
	var bundle bundlepb.Bundle
	if (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, &bundle) != nil {
		return nil
	}
	envelope := bundle.GetDsseEnvelope()
	if envelope.GetPayloadType() != StatementType {
		return nil
	}
	signed := dsse.PAE(envelope.GetPayloadType(), envelope.GetPayload())
	for _, made := range envelope.GetSignatures() {
		for _, way := range key {
			if way.VerifySignature(bytes.NewReader(made.GetSig()), bytes.NewReader(signed)) == nil {
				return envelope.GetPayload()
			}
		}
	}
	return nil
}

// verifiersOf returns the ways in which a public key verifies. cosign signs both formats
// with SHA-256, whatever the kind of key, and so does this package; newer versions
// of it, and other tools, take for bundles the hash that belongs to the kind.
func verifiersOf(public crypto.PublicKey) ([]signature.Verifier, error) {
	usual, err := signature.LoadVerifier(public, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("use public key: %w", err)
	}
	ways := []signature.Verifier{usual}
	for _, with := range [][]signature.LoadOption{nil, {options.WithED25519ph()}} {
		if other, err := signature.LoadDefaultVerifier(public, with...); err == nil {
			ways = append(ways, other)
		}
	}
	return ways, nil
}
