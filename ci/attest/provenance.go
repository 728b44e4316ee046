package attest

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/in-toto/in-toto-golang/in_toto/slsa_provenance/common"
	slsa "github.com/in-toto/in-toto-golang/in_toto/slsa_provenance/v1"
	"github.com/package-url/packageurl-go"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// The URIs of this project's own in provenance. BuildType says what the parameters mean,
// and is where they are described.
const (
	BuildType = "https://github.com/desiredeffect/erpnext-pipeline/blob/main/docs/image.md#provenance"
	// LocalBuilder is who built, where that was no workflow.
	LocalBuilder = "https://github.com/desiredeffect/erpnext-pipeline"
)

// Run is one build of an image.
type Run struct {
	// Lock is what it was built from, and Platforms what for, such as "linux/amd64".
	Lock      release.Lock
	Platforms []string
	// Builder is the URI of who built it; empty for [LocalBuilder].
	Builder string
	// Version is that of this program.
	Version string
	// Invocation is the URI of the run in a workflow; empty without one.
	Invocation string
	// Began and Ended are when the build did.
	Began, Ended time.Time
}

// parameters are what a build is told from outside.
type parameters struct {
	SiteVersion string         `json:"siteVersion"`
	Apps        []appParameter `json:"apps"`
	Platforms   []string       `json:"platforms"`
	Python      string         `json:"python"`
	Node        string         `json:"node"`
	AptPackages []string       `json:"aptPackages,omitempty"`
}

type appParameter struct {
	URL string `json:"url"`
	Ref string `json:"ref"`
}

// Provenance returns the artifact that says how the image was built, in SLSA's form:
// signed with a signer, else the statement as it is.
func Provenance(image name.Digest, run Run, signer *Signer) (Artifact, error) {
	began, ended := run.Began.UTC(), run.Ended.UTC()
	external := parameters{
		SiteVersion: run.Lock.SiteVersion, Platforms: run.Platforms, Python: run.Lock.Python, Node: run.Lock.Node, AptPackages: run.Lock.AptPackages,
	}
	for _, app := range run.Lock.Apps {
		external.Apps = append(external.Apps, appParameter{URL: bare(app.URL), Ref: app.Ref})
	}
	text, err := stated(image, ProvenancePredicate, slsa.ProvenancePredicate{
		BuildDefinition: slsa.ProvenanceBuildDefinition{BuildType: BuildType, ExternalParameters: external, ResolvedDependencies: dependencies(run.Lock)},
		RunDetails: slsa.ProvenanceRunDetails{
			Builder:       slsa.Builder{ID: cmp.Or(run.Builder, LocalBuilder), Version: map[string]string{"erpnext-pipeline": run.Version}},
			BuildMetadata: slsa.BuildMetadata{InvocationID: run.Invocation, StartedOn: &began, FinishedOn: &ended},
		},
	})
	if err != nil {
		return Artifact{}, err
	}
	if signer != nil {
		return signer.seal(text, ProvenancePredicate, run.Ended)
	}
	return Artifact{Type: StatementType, Content: text, Annotations: map[string]string{
		CreatedAnnotation: ended.Format(time.RFC3339), StatementPredicate: ProvenancePredicate,
	}}, nil
}

// dependencies are what a lock names by its content.
func dependencies(lock release.Lock) []slsa.ResourceDescriptor {
	var list []slsa.ResourceDescriptor
	for _, app := range lock.Apps {
		uri := "git+" + bare(app.URL)
		switch app.Kind {
		case release.Tag:
			uri += "@refs/tags/" + app.Ref
		case release.Branch:
			uri += "@refs/heads/" + app.Ref
		case release.Commit:
			uri += "@" + app.Commit
		}
		list = append(list, slsa.ResourceDescriptor{Name: app.Name, URI: uri, Digest: common.DigestSet{"gitCommit": app.Commit}})
	}
	for _, base := range slices.Sorted(maps.Keys(lock.Bases)) {
		image, tag, _ := strings.Cut(base, ":")
		algorithm, sum, _ := strings.Cut(lock.Bases[base], ":")
		list = append(list, slsa.ResourceDescriptor{
			Name: base, URI: packageurl.NewPackageURL(packageurl.TypeDocker, "", image, tag, nil, "").ToString(), Digest: common.DigestSet{algorithm: sum},
		})
	}
	for _, file := range []*release.Download{lock.Wkhtmltopdf, lock.Chromium} {
		if file == nil {
			continue
		}
		for _, architecture := range slices.Sorted(maps.Keys(file.SHA256)) {
			uri := file.URL
			if architecture != "" {
				uri = strings.ReplaceAll(uri, "{arch}", architecture)
			}
			list = append(list, slsa.ResourceDescriptor{URI: bare(uri), Digest: common.DigestSet{"sha256": file.SHA256[architecture]}})
		}
	}
	sum := sha256.Sum256([]byte(lock.Requirements))
	return append(list, slsa.ResourceDescriptor{Name: "requirements.lock", Digest: common.DigestSet{"sha256": hex.EncodeToString(sum[:])}})
}

// bare returns a URL without what may be a credential: user, password and query.
func bare(address string) string {
	at, err := url.Parse(address)
	if err != nil {
		return ""
	}
	at.User, at.RawQuery, at.Fragment = nil, "", ""
	return at.String()
}
