package attest

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/uuid"
	"github.com/package-url/packageurl-go"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// SBOMType is the type of [SBOM]'s document, as artifact and as medium: the
// one that IANA registered for CycloneDX in JSON.
const SBOMType = "application/vnd.cyclonedx+json"

// Contents is what an image holds. Only the name and the digest must be there.
type Contents struct {
	// Name is the image's repository, with its registry unless that is
	// Docker Hub. Version is its tag.
	Name, Version string
	// Digest is the image's, for instance "sha256:8d9…".
	Digest string
	// Apps are the Frappe apps, from GitHub or any other host of git.
	Apps []release.App
	// PythonVersion and NodeVersion are the runtimes', for instance
	// "3.11.6": the official images compile them, so that no list of
	// packages has them.
	PythonVersion, NodeVersion string
	// Wkhtmltopdf and Chromium are downloads that are in the image; nil where
	// it has none, or Debian's.
	Wkhtmltopdf, Chromium *release.Download
	// Locked are the Python packages of the lock, for the hashes of those that
	// are in the image. The hashes of one are those of all the files that it
	// may have been installed from.
	Locked []release.Package
	// Held is what was found in the image: of an index in several, one for each
	// platform.
	Held []Held
	// Created is when the newest commit in the image was made: never the
	// clock.
	Created time.Time
}

// SBOM lists what an image holds, as CycloneDX 1.6 in JSON. The same contents
// make the same document, to the byte.
//
// Its errors are those of contents that can't be read.
func SBOM(c Contents) ([]byte, error) {
	image, err := c.image()
	if err != nil {
		return nil, err
	}
	components, err := c.components()
	if err != nil {
		return nil, err
	}
	held := make([]string, len(components))
	for i, component := range components {
		held[i] = component.BOMRef
	}
	bom := cdx.NewBOM()
	// The specification wants a number of its own for every document. It is
	// a version 5 UUID, a hash of the name: one image, one number.
	bom.SerialNumber = "urn:uuid:" + uuid.NewSHA1(uuid.NameSpaceURL, []byte(c.Digest)).String()
	bom.Metadata = &cdx.Metadata{
		Component: &image,
		Tools:     &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "erpnext-pipeline"}}},
	}
	if !c.Created.IsZero() {
		bom.Metadata.Timestamp = c.Created.UTC().Format(time.RFC3339)
	}
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: image.BOMRef, Dependencies: &held}}
	var text bytes.Buffer
	encoder := cdx.NewBOMEncoder(&text, cdx.BOMFileFormatJSON).SetEscapeHTML(false)
	if err := encoder.EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("encode SBOM: %w", err)
	}
	return text.Bytes(), nil
}

// image is the image itself, or the index.
func (c Contents) image() (cdx.Component, error) {
	digest, err := v1.NewHash(c.Digest)
	if err != nil {
		return cdx.Component{}, fmt.Errorf("read digest of image: %w", err)
	}
	repository, err := name.NewRepository(c.Name)
	if err != nil {
		return cdx.Component{}, fmt.Errorf("read name of image: %w", err)
	}
	architecture := ""
	if len(c.Held) == 1 {
		architecture = path.Base(c.Held[0].Platform)
	}
	image, err := component(cdx.ComponentTypeContainer, packageurl.PackageURL{
		Type: packageurl.TypeOCI, Name: path.Base(repository.RepositoryStr()), Version: c.Digest,
		Qualifiers: qualifiers("arch", architecture, "repository_url", repository.Name(), "tag", c.Version),
	})
	image.Name, image.Version = c.Name, c.Version
	image.Hashes = hashes(digest.Algorithm, digest.Hex)
	return image, err
}

// components are all parts of the image, each once and in the order of their
// package URLs.
func (c Contents) components() ([]cdx.Component, error) {
	all, err := c.apps()
	if err != nil {
		return nil, err
	}
	for _, held := range c.Held {
		components, err := held.components(c)
		if err != nil {
			return nil, err
		}
		all = append(all, components...)
	}
	slices.SortStableFunc(all, func(a, b cdx.Component) int { return cmp.Compare(a.BOMRef, b.BOMRef) })
	merged := make([]cdx.Component, 0, len(all))
	for _, component := range all {
		if last := len(merged) - 1; last >= 0 && merged[last].BOMRef == component.BOMRef {
			again(&merged[last], component)
			continue
		}
		merged = append(merged, component)
	}
	for i := range merged {
		component := &merged[i]
		if component.Hashes != nil {
			slices.SortFunc(*component.Hashes, func(a, b cdx.Hash) int { return cmp.Compare(a.Value, b.Value) })
		}
		// What is there on each platform needs not say so.
		if component.Properties != nil && len(*component.Properties) == len(c.Held) {
			component.Properties = nil
		}
	}
	return merged, nil
}

// PlatformProperty is the property of a component that is in the images of some
// platforms of an index only. It is there once for each of them, with the
// platform, for instance "linux/arm64".
const PlatformProperty = "erpnext-pipeline:platform"

// components are all that is in an image besides the apps.
func (h Held) components(c Contents) ([]cdx.Component, error) {
	var all []cdx.Component
	for _, part := range []func(Contents) ([]cdx.Component, error){h.runtimes, h.system, h.python, h.node} {
		components, err := part(c)
		if err != nil {
			return nil, err
		}
		all = append(all, components...)
	}
	for i := range all {
		all[i].Properties = &[]cdx.Property{{Name: PlatformProperty, Value: h.Platform}}
	}
	return all, nil
}

// again adds what is known of a component that is there at several places, or on
// several platforms.
func again(known *cdx.Component, other cdx.Component) {
	known.Hashes = union(known.Hashes, other.Hashes)
	known.Properties = union(known.Properties, other.Properties)
	if other.Evidence != nil {
		known.Evidence.Occurrences = union(known.Evidence.Occurrences, other.Evidence.Occurrences)
	}
	if known.Scope != other.Scope {
		known.Scope = ""
	}
}

// foundAt says at which path of the image a component was found.
func foundAt(file string) *cdx.Evidence {
	return &cdx.Evidence{Occurrences: &[]cdx.EvidenceOccurrence{{Location: "/" + file}}}
}

func union[T comparable](a, b *[]T) *[]T {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	all := slices.Clone(*a)
	for _, item := range *b {
		if !slices.Contains(all, item) {
			all = append(all, item)
		}
	}
	return &all
}

func (c Contents) apps() ([]cdx.Component, error) {
	var components []cdx.Component
	for _, app := range c.Apps {
		address, err := url.Parse(app.URL)
		if err != nil {
			return nil, fmt.Errorf("read address of app %s: %w", app.Name, err)
		}
		owner, repository := path.Split(strings.TrimSuffix(strings.Trim(address.Path, "/"), ".git"))
		from := packageurl.PackageURL{Type: packageurl.TypeGithub, Namespace: strings.TrimSuffix(owner, "/"), Name: repository, Version: app.Commit}
		// The others have no type of their own: vcs_url says where they are.
		if address.Host != "github.com" {
			from.Type, from.Namespace = packageurl.TypeGeneric, ""
			from.Qualifiers = qualifiers("vcs_url", "git+"+bare(app.URL)+"@"+app.Commit)
		}
		made, err := component(cdx.ComponentTypeApplication, from)
		if err != nil {
			return nil, err
		}
		made.Name, made.Version = app.Name, cmp.Or(app.Version, app.Ref)
		made.ExternalReferences = &[]cdx.ExternalReference{{Type: cdx.ERTypeVCS, URL: bare(app.URL)}}
		components = append(components, made)
	}
	return components, nil
}

// component makes a component of a package URL, which names it within the
// document as well.
func component(kind cdx.ComponentType, p packageurl.PackageURL) (cdx.Component, error) {
	if err := p.Normalize(); err != nil {
		return cdx.Component{}, fmt.Errorf("name package %q %s: %w", p.Name, p.Version, err)
	}
	address := p.ToString()
	return cdx.Component{BOMRef: address, Type: kind, Name: p.Name, Version: p.Version, PackageURL: address}, nil
}

// qualifiers makes qualifiers of keys and values by turns. One without a value
// is dropped when the URL is normalised.
func qualifiers(pairs ...string) packageurl.Qualifiers {
	var made packageurl.Qualifiers
	for pair := range slices.Chunk(pairs, 2) {
		made = append(made, packageurl.Qualifier{Key: pair[0], Value: pair[1]})
	}
	return made
}

// algorithms are CycloneDX's names of the algorithms that locks of pip have,
// with the length of their results in bytes.
var algorithms = map[string]struct {
	name cdx.HashAlgorithm
	size int
}{
	"sha1": {cdx.HashAlgoSHA1, 20}, "sha256": {cdx.HashAlgoSHA256, 32}, "sha384": {cdx.HashAlgoSHA384, 48}, "sha512": {cdx.HashAlgoSHA512, 64},
}

// hashes is a hash, of which the value is in hexadecimal, or nothing where
// CycloneDX would not take it.
func hashes(algorithm, value string) *[]cdx.Hash {
	known, found := algorithms[algorithm]
	if sum, err := hex.DecodeString(value); !found || err != nil || len(sum) != known.size {
		return nil
	}
	return &[]cdx.Hash{{Algorithm: known.name, Value: value}}
}
