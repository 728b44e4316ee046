package setup

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// Where Docker comes from.
const (
	FromDistribution = "distribution"
	FromDocker       = "docker"
)

const (
	// The oldest versions that the sandbox is tried with, and that have what
	// is used here: docker run --pull, and the !override of compose files.
	minDocker  = ">= 20.10-0"
	minCompose = ">= 2.24.4-0"
	// dockerSite has Docker's packages in folders with the names of systems.
	dockerSite = "https://download.docker.com/linux/"
	// dockerKey is the fingerprint of the key that signs them, as Docker publishes it.
	dockerKey = "9DC858229FC7DD38854AE2D88D81803C0EBFCD88"
)

// system is one that Docker is installed on.
type system struct {
	id, release string
	// engine and compose are the distribution's packages; without any it has no
	// compose plugin.
	engine, compose []string
}

var systems = []system{
	{id: "debian", release: "12"}, // its docker-compose is version 1
	{id: "debian", release: "13", engine: []string{"docker.io", "docker-cli"}, compose: []string{"docker-compose"}},
	{id: "ubuntu", release: "22.04", engine: []string{"docker.io"}, compose: []string{"docker-compose-v2"}},
	{id: "ubuntu", release: "24.04", engine: []string{"docker.io"}, compose: []string{"docker-compose-v2"}},
}

// systemOf returns the system that a host has.
func systemOf(f Facts) (system, bool) {
	for _, s := range systems {
		if s.id == f.get("id") && s.release == f.get("release") {
			return s, true
		}
	}
	return system{}, false
}

// unsupported reports a system that is not set up, and an order that it can't follow.
func unsupported(f Facts, o Options) (report problem.Report) {
	s, known := systemOf(f)
	switch architecture := f.get("architecture"); {
	case !known:
		report.Addf("setup.system", "system of the host", "use one of these, or install by hand what docs/deploy.md lists",
			"is %s; setup knows Debian 12 and 13, Ubuntu 22.04 and 24.04", cmp.Or(f.get("system"), "unknown"))
	case architecture != "amd64" && architecture != "arm64":
		report.Addf("setup.system", "system of the host", "use a server with one of these",
			"has the architecture %s; images are made for amd64 and arm64", architecture)
	case o.Docker == FromDistribution && s.engine == nil && !(f.is("docker") && f.is("compose")):
		report.Addf("setup.docker", "--docker "+FromDistribution, "leave it out, or give --docker "+FromDocker,
			"%s has no compose plugin of version 2 among its packages", f.get("system"))
	}
	return report
}

// DockerProblem returns what is wrong with a host's Docker, or nil. version is empty
// where it does not answer, and why then says what was the reason.
func DockerProblem(version, why string) *problem.Problem {
	p := problem.Problem{Code: "deploy.docker", Subject: "docker on the host"}
	switch {
	case version == "":
		p.Detail = "does not answer: " + strings.TrimSpace(why)
		if strings.HasSuffix(strings.TrimSpace(why), "not found") { // a shell's words
			p.Detail = "is not installed"
		}
		p.Remedy = "pipeline setup installs Docker where there is none, starts it, and lets the user of the host use it (group docker)"
	case older(version, minDocker):
		p.Detail = fmt.Sprintf("is version %s; 20.10 or later is needed", version)
		p.Remedy = "install a newer Docker Engine; setup never replaces one"
	default:
		return nil
	}
	return &p
}

// ComposeProblem is the same for the compose plugin.
func ComposeProblem(version string) *problem.Problem {
	p := problem.Problem{Code: "deploy.compose", Subject: "docker compose on the host"}
	switch {
	case version == "":
		p.Detail = "does not answer"
		p.Remedy = "pipeline setup installs the compose plugin; by hand, version 2.24.4 or later"
	case older(version, minCompose):
		p.Detail = fmt.Sprintf("is version %s; 2.24.4 or later is needed", version)
		p.Remedy = "install a newer compose plugin; setup never replaces one"
	default:
		return nil
	}
	return &p
}

// older reports whether a version is known to be older than wanted. One that
// can't be read, as of a distribution's own build, is given the benefit of the
// doubt.
func older(version, wanted string) bool {
	number, _, _ := strings.Cut(version, "+")
	v, err := semver.NewVersion(number)
	if err != nil {
		return false
	}
	constraint, err := semver.NewConstraint(wanted)
	return err == nil && !constraint.Check(v)
}

// docker has the engine and the compose plugin installed. A Docker that works is left
// as it is.
func docker(f Facts, o Options) finding {
	version, compose := f.get("docker"), strings.TrimPrefix(f.get("compose"), "v")
	engine, plugin := DockerProblem(version, f.get("docker-error")), ComposeProblem(compose)
	if engine == nil && plugin == nil {
		return finding{has: "Docker " + version + ", compose " + compose}
	}
	found := finding{missing: cmp.Or(engine, plugin), blocks: true}
	if version != "" && engine != nil || compose != "" && plugin != nil {
		return found // too old
	}
	s, known := systemOf(f)
	if !known {
		return found
	}
	packages, fromDocker := wantedPackages(f, o, s)
	if len(packages) == 0 {
		found.does = "start Docker"
	} else {
		source := "of " + f.get("system")
		if fromDocker {
			source = "from " + o.repository(f)
		}
		found.does = "install " + strings.Join(packages, ", ") + " " + source
	}
	found.act = func(ctx context.Context, r root) error { return installDocker(ctx, r, f, o, packages, fromDocker) }
	return found
}

// wantedPackages returns the packages that are missing, and whether they are Docker's.
// The plugin comes from where the engine is from, if that has one.
func wantedPackages(f Facts, o Options, s system) (packages []string, fromDocker bool) {
	fromDocker = o.Docker == FromDocker || o.Docker == "" && s.engine == nil
	if f.is("dockerd") {
		fromDocker = f.get("docker-package") != "docker.io" || s.engine == nil
	}
	engine, plugin := s.engine, s.compose
	if fromDocker {
		engine, plugin = []string{"docker-ce", "docker-ce-cli", "containerd.io"}, []string{"docker-compose-plugin"}
	}
	if !f.is("dockerd") {
		packages = append(packages, engine...)
	}
	if !f.is("compose") {
		packages = append(packages, plugin...)
	}
	return packages, fromDocker
}

// installDocker installs packages, of Docker's repository after its key was looked at,
// and starts Docker.
func installDocker(ctx context.Context, r root, f Facts, o Options, packages []string, fromDocker bool) error {
	var repository, key string
	if fromDocker && len(packages) > 0 && !f.is("docker-source") {
		var err error
		if repository = o.repository(f); strings.HasPrefix(repository, "https:") {
			if _, err = r.do(ctx, "certificates", ""); err != nil {
				return fmt.Errorf("install ca-certificates: %w", err)
			}
		}
		quiet := r
		quiet.output = nil
		if key, err = quiet.do(ctx, "docker-key", "", repository); err != nil {
			return fmt.Errorf("ask %s for its key: %w", repository, err)
		}
		if key, err = checkKey(key, cmp.Or(o.RepositoryKey, dockerKey)); err != nil {
			return fmt.Errorf("check the key of %s: %w", repository, err)
		}
	}
	if len(packages) > 0 {
		packages = append(slices.Clone(packages), "ca-certificates")
	}
	_, err := r.do(ctx, "docker", key, append([]string{repository, f.get("codename"), f.get("architecture")}, packages...)...)
	return err
}

// repository returns the address of Docker's packages for the host's system.
func (o Options) repository(f Facts) string {
	return strings.TrimSuffix(cmp.Or(o.Repository, dockerSite+f.get("id")), "/")
}

// repositoryName returns what apt's sources have of it, whatever the system.
func (o Options) repositoryName() string {
	return strings.TrimSuffix(cmp.Or(o.Repository, dockerSite), "/")
}

// checkKey returns the one OpenPGP key with a fingerprint that a text is, written anew:
// apt reads more into a text than one key, such as a second block behind the first. A
// text that is anything else is an error.
func checkKey(text, fingerprint string) (string, error) {
	keys, err := openpgp.ReadArmoredKeyRing(strings.NewReader(text))
	if err != nil {
		keys, err = openpgp.ReadKeyRing(bytes.NewReader([]byte(text)))
	}
	if err != nil {
		return "", fmt.Errorf("read it: %w", err)
	}
	if len(keys) != 1 {
		return "", fmt.Errorf("it has %d keys, and one is expected", len(keys))
	}
	want := strings.ToUpper(strings.ReplaceAll(fingerprint, " ", ""))
	if got := strings.ToUpper(hex.EncodeToString(keys[0].PrimaryKey.Fingerprint)); got != want {
		return "", fmt.Errorf("its fingerprint is %s, and %s is expected", got, want)
	}
	var written bytes.Buffer
	block, err := armor.Encode(&written, openpgp.PublicKeyType, nil)
	if err != nil {
		return "", fmt.Errorf("write it: %w", err)
	}
	if err := errors.Join(keys[0].Serialize(block), block.Close()); err != nil {
		return "", fmt.Errorf("write it: %w", err)
	}
	return written.String() + "\n", nil
}
