package attest

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"path"
	"regexp"
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

// Contents is what an image holds, as its parts themselves list it. Only the
// name and the digest must be there.
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
	// DpkgStatus is the text of /var/lib/dpkg/status. It needs OSRelease.
	DpkgStatus string
	// OSRelease is the text of /etc/os-release.
	OSRelease string
	// Python are the Python packages. The hashes of one are those of all
	// the files that it may have been installed from.
	Python []release.Package
	// Yarn are the texts of the yarn.lock files whose node modules are in
	// the image, by their path.
	Yarn map[string]string
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

// image is the image itself.
func (c Contents) image() (cdx.Component, error) {
	digest, err := v1.NewHash(c.Digest)
	if err != nil {
		return cdx.Component{}, fmt.Errorf("read digest of image: %w", err)
	}
	repository, err := name.NewRepository(c.Name)
	if err != nil {
		return cdx.Component{}, fmt.Errorf("read name of image: %w", err)
	}
	image, err := component(cdx.ComponentTypeContainer, packageurl.PackageURL{
		Type: packageurl.TypeOCI, Name: path.Base(repository.RepositoryStr()), Version: c.Digest,
		Qualifiers: qualifiers("repository_url", repository.Name(), "tag", c.Version),
	})
	image.Name, image.Version = c.Name, c.Version
	image.Hashes = hashes(digest.Algorithm, digest.Hex)
	return image, err
}

// components are all parts of the image, each once and in the order of their
// package URLs.
func (c Contents) components() ([]cdx.Component, error) {
	var all []cdx.Component
	for _, part := range []func() ([]cdx.Component, error){c.apps, c.runtimes, c.system, c.python, c.node} {
		components, err := part()
		if err != nil {
			return nil, err
		}
		all = append(all, components...)
	}
	slices.SortStableFunc(all, func(a, b cdx.Component) int { return cmp.Compare(a.BOMRef, b.BOMRef) })
	merged := make([]cdx.Component, 0, len(all))
	for _, component := range all {
		if last := len(merged) - 1; last >= 0 && merged[last].BOMRef == component.BOMRef {
			merge(&merged[last], component)
			continue
		}
		merged = append(merged, component)
	}
	for _, component := range merged {
		if component.Hashes != nil {
			slices.SortFunc(*component.Hashes, func(a, b cdx.Hash) int { return cmp.Compare(a.Value, b.Value) })
		}
	}
	return merged, nil
}

// merge adds where a component was found, and with which hashes, to what is
// known of it: several lock files may list it.
func merge(known *cdx.Component, again cdx.Component) {
	known.Hashes = union(known.Hashes, again.Hashes)
	if again.Evidence != nil {
		known.Evidence.Occurrences = union(known.Evidence.Occurrences, again.Evidence.Occurrences)
	}
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
		// A URL may carry a credential all the same.
		address.User = nil
		owner, repository := path.Split(strings.TrimSuffix(strings.Trim(address.Path, "/"), ".git"))
		from := packageurl.PackageURL{Type: packageurl.TypeGithub, Namespace: strings.TrimSuffix(owner, "/"), Name: repository, Version: app.Commit}
		// The others have no type of their own: vcs_url says where they are.
		if address.Host != "github.com" {
			from.Type, from.Namespace = packageurl.TypeGeneric, ""
			from.Qualifiers = qualifiers("vcs_url", "git+"+address.String()+"@"+app.Commit)
		}
		made, err := component(cdx.ComponentTypeApplication, from)
		if err != nil {
			return nil, err
		}
		made.Name, made.Version = app.Name, cmp.Or(app.Version, app.Ref)
		made.ExternalReferences = &[]cdx.ExternalReference{{Type: cdx.ERTypeVCS, URL: address.String()}}
		components = append(components, made)
	}
	return components, nil
}

// runtimes have a CPE beside their package URL, by which advisories name what
// belongs to no package manager. The type is application, not platform, which
// Grype leaves out.
func (c Contents) runtimes() ([]cdx.Component, error) {
	var components []cdx.Component
	for _, runtime := range []struct{ name, version, cpe string }{
		{"node", c.NodeVersion, "nodejs:node.js"},
		{"python", c.PythonVersion, "python:python"},
	} {
		if runtime.version == "" {
			continue
		}
		made, err := component(cdx.ComponentTypeApplication, packageurl.PackageURL{Type: packageurl.TypeGeneric, Name: runtime.name, Version: runtime.version})
		if err != nil {
			return nil, err
		}
		made.CPE = "cpe:2.3:a:" + runtime.cpe + ":" + runtime.version + ":*:*:*:*:*:*:*"
		components = append(components, made)
	}
	return components, nil
}

// separators is what PEP 503 makes a dash of in a Python package's name.
var separators = regexp.MustCompile(`[-_.]+`)

func (c Contents) python() ([]cdx.Component, error) {
	var components []cdx.Component
	for _, p := range c.Python {
		made, err := component(cdx.ComponentTypeLibrary, packageurl.PackageURL{
			Type: packageurl.TypePyPi, Name: strings.ToLower(separators.ReplaceAllString(p.Name, "-")), Version: p.Version,
		})
		if err != nil {
			return nil, err
		}
		for _, hash := range p.Hashes {
			algorithm, value, _ := strings.Cut(hash, ":")
			made.Hashes = union(made.Hashes, hashes(algorithm, value))
		}
		components = append(components, made)
	}
	return components, nil
}

func (c Contents) node() ([]cdx.Component, error) {
	var components []cdx.Component
	for _, file := range slices.Sorted(maps.Keys(c.Yarn)) {
		locked, err := parseYarn(c.Yarn[file])
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		for _, p := range locked {
			scope, short, found := strings.Cut(p.name, "/")
			if !found {
				scope, short = "", p.name
			}
			made, err := component(cdx.ComponentTypeLibrary, packageurl.PackageURL{
				Type: packageurl.TypeNPM, Namespace: scope, Name: short, Version: p.version, Qualifiers: p.origin(),
			})
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", file, err)
			}
			made.Group = scope
			for hash := range strings.FieldsSeq(p.integrity) {
				algorithm, value, _ := strings.Cut(hash, "-")
				if sum, err := base64.StdEncoding.DecodeString(value); err == nil {
					made.Hashes = union(made.Hashes, hashes(algorithm, hex.EncodeToString(sum)))
				}
			}
			made.Evidence = &cdx.Evidence{Occurrences: &[]cdx.EvidenceOccurrence{{Location: file}}}
			components = append(components, made)
		}
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

// algorithms are CycloneDX's names of the algorithms that pip and yarn know,
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
