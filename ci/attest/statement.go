package attest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/sigstore/sigstore/pkg/signature"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// StatementType is the type of an in-toto statement that is not signed. Its artifact
// says with the annotation [StatementPredicate] what it is about, as BuildKit's does.
const (
	StatementType      = "application/vnd.in-toto+json"
	StatementPredicate = "in-toto.io/predicate-type"
)

// The predicates of in-toto statements that are made here.
const (
	// SignaturePredicate says no more than that the image was signed:
	// https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md.
	SignaturePredicate = "https://sigstore.dev/cosign/sign/v1"
	// ProvenancePredicate is that of SLSA: https://slsa.dev/spec/v1.0/provenance.
	ProvenancePredicate = "https://slsa.dev/provenance/v1"
)

// stated returns the text of a statement about an image, in the form of
// https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md.
func stated(image name.Digest, predicateType string, predicate proto.Message) ([]byte, error) {
	said := intoto.Statement{Type: intoto.StatementTypeUri, PredicateType: predicateType, Predicate: &structpb.Struct{}}
	algorithm, hex, _ := strings.Cut(image.DigestStr(), ":")
	said.Subject = []*intoto.ResourceDescriptor{{Digest: map[string]string{algorithm: hex}}}
	text, err := protojson.Marshal(predicate)
	if err == nil {
		err = protojson.Unmarshal(text, said.Predicate)
	}
	if err == nil {
		text, err = protojson.Marshal(&said)
	}
	if err != nil {
		return nil, fmt.Errorf("encode statement: %w", err)
	}
	return text, nil
}

// states reports whether a text is a statement about an image with a predicate of
// a type.
func states(text []byte, image name.Digest, predicateType string) bool {
	var said intoto.Statement
	algorithm, hex, _ := strings.Cut(image.DigestStr(), ":")
	return (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, &said) == nil &&
		said.GetType() == intoto.StatementTypeUri && said.GetPredicateType() == predicateType &&
		slices.ContainsFunc(said.GetSubject(), func(s *intoto.ResourceDescriptor) bool { return s.GetDigest()[algorithm] == hex })
}

// Stated reports whether a statement with a predicate of a type is attached to the
// image: with a signer one that was signed with its key, without one that is unsigned.
func Stated(ctx context.Context, image name.Digest, predicateType string, signer *Signer, options ...remote.Option) (bool, error) {
	options = within(ctx, options)
	if signer != nil {
		found, _, err := inBundle(image, predicateType, []signature.Verifier{signer.key}, options)
		return found, err
	}
	found, err := attached(image, StatementType, options)
	if err != nil {
		return false, err
	}
	for _, artifact := range found {
		text, err := only(artifact)
		if err != nil && !errors.Is(err, errForm) {
			return false, fmt.Errorf("read statement on %s: %w", image, err)
		}
		if states(text, image, predicateType) {
			return true, nil
		}
	}
	return false, nil
}
