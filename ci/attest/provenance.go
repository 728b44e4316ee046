package attest

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/package-url/packageurl-go"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

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
func (r Run) parameters() (*structpb.Struct, error) {
	var apps, platforms, packages []any
	for _, app := range r.Lock.Apps {
		apps = append(apps, map[string]any{"url": bare(app.URL), "ref": app.Ref})
	}
	for _, platform := range r.Platforms {
		platforms = append(platforms, platform)
	}
	fields := map[string]any{
		"siteVersion": r.Lock.SiteVersion, "apps": apps, "platforms": platforms, "python": r.Lock.Python, "node": r.Lock.Node,
	}
	for _, name := range r.Lock.AptPackages {
		packages = append(packages, name)
	}
	if packages != nil {
		fields["aptPackages"] = packages
	}
	return structpb.NewStruct(fields)
}

// Provenance returns the artifact that says how the image was built, in SLSA's form:
// signed with a signer, else the statement as it is.
func Provenance(image name.Digest, run Run, signer *Signer) (Artifact, error) {
	external, err := run.parameters()
	if err != nil {
		return Artifact{}, fmt.Errorf("encode provenance: %w", err)
	}
	text, err := stated(image, ProvenancePredicate, &slsa.Provenance{
		BuildDefinition: &slsa.BuildDefinition{BuildType: BuildType, ExternalParameters: external, ResolvedDependencies: dependencies(run.Lock)},
		RunDetails: &slsa.RunDetails{
			Builder:  &slsa.Builder{Id: cmp.Or(run.Builder, LocalBuilder), Version: map[string]string{"erpnext-pipeline": run.Version}},
			Metadata: &slsa.BuildMetadata{InvocationId: run.Invocation, StartedOn: timestamppb.New(run.Began), FinishedOn: timestamppb.New(run.Ended)},
		},
	})
	if err != nil {
		return Artifact{}, err
	}
	if signer != nil {
		return signer.seal(text, ProvenancePredicate, run.Ended)
	}
	return Artifact{Type: StatementType, Content: text, Annotations: map[string]string{
		CreatedAnnotation: run.Ended.UTC().Format(time.RFC3339), StatementPredicate: ProvenancePredicate,
	}}, nil
}

// dependencies are what a lock names by its content.
func dependencies(lock release.Lock) []*intoto.ResourceDescriptor {
	var list []*intoto.ResourceDescriptor
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
		list = append(list, &intoto.ResourceDescriptor{Name: app.Name, Uri: uri, Digest: map[string]string{"gitCommit": app.Commit}})
	}
	for _, base := range slices.Sorted(maps.Keys(lock.Bases)) {
		image, tag, _ := strings.Cut(base, ":")
		algorithm, sum, _ := strings.Cut(lock.Bases[base], ":")
		list = append(list, &intoto.ResourceDescriptor{
			Name: base, Uri: packageurl.NewPackageURL(packageurl.TypeDocker, "", image, tag, nil, "").ToString(), Digest: map[string]string{algorithm: sum},
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
			list = append(list, &intoto.ResourceDescriptor{Uri: bare(uri), Digest: map[string]string{"sha256": file.SHA256[architecture]}})
		}
	}
	sum := sha256.Sum256([]byte(lock.Requirements))
	return append(list, &intoto.ResourceDescriptor{Name: "requirements.lock", Digest: map[string]string{"sha256": hex.EncodeToString(sum[:])}})
}

// bare returns a URL without what may be a credential: user, password and query. Over
// SSH the user is a part of the address that every one has, and stays.
func bare(address string) string {
	at, err := url.Parse(address)
	if err != nil {
		return ""
	}
	user := at.User.Username()
	at.User, at.RawQuery, at.Fragment = nil, "", ""
	if strings.HasSuffix(at.Scheme, "ssh") && user != "" {
		at.User = url.User(user)
	}
	return at.String()
}
