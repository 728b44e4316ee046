package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"dagger.io/dagger"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian"
)

// suite is the Debian release that an image stands on whose recipe names no
// other.
const suite = "bookworm"

// baseName is the image that all others of a Debian release stand on.
func baseName(suite string) string { return "debian:" + suite + "-slim" }

// baseImage is the base as the mirror has it.
type baseImage struct {
	name         string // with tag, in the mirror
	suite        string
	ref          string // with digest
	architecture string
	key          string
	holds        string
	built        bool
}

func (b baseImage) container(client *dagger.Client) *dagger.Container {
	return client.Container(dagger.ContainerOpts{Platform: dagger.Platform("linux/" + b.architecture)}).From(b.ref)
}

// bootstrapOptions shape the base: small, quick to make, and with apt and
// dpkg set up so that layers on top of it stay small. apt's own caches and
// archives go as soon as they have been used, and no service starts when its
// package is installed.
var bootstrapOptions = []string{
	"--variant=minbase",
	"--mode=root",
	"--format=tar",
	"--quiet",
	// Without this a package comes in that merges /usr, and all of Perl.
	"--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
	`--dpkgopt=path-exclude=/usr/share/man/*`,
	`--dpkgopt=path-exclude=/usr/share/info/*`,
	`--dpkgopt=path-exclude=/usr/share/locale/*`,
	`--dpkgopt=path-exclude=/usr/share/doc/*`,
	`--dpkgopt=path-include=/usr/share/doc/*/copyright`,
	`--dpkgopt=force-unsafe-io`,
	`--aptopt=Acquire::Retries "3"`,
	`--customize-hook=cat >"$1/etc/apt/apt.conf.d/90container" <<'CONF'` + containerApt + "CONF",
	`--customize-hook=printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d" && chmod 755 "$1/usr/sbin/policy-rc.d"`,
	`--customize-hook=rm -rf "$1"/var/log/*.log "$1"/var/log/apt "$1"/var/cache/apt/*.bin "$1"/etc/hostname "$1"/etc/resolv.conf`,
}

// containerApt is apt's configuration in the base. It can't be given to
// mmdebstrap itself, which needs the archives that it has just fetched.
const containerApt = `
APT::Install-Recommends "false";
APT::Keep-Downloaded-Packages "false";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
`

// ensureBase makes the Debian base with mmdebstrap from the archive that this
// machine's apt uses, unless the mirror has it.
func ensureBase(ctx context.Context, mirror, suite, architecture string, log zerolog.Logger) (_ baseImage, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("make %s: %w", baseName(suite), err)
		}
	}()
	ref, err := mirrored(mirror, baseName(suite))
	if err != nil {
		return baseImage{}, err
	}
	// mmdebstrap makes in one pass, and far quicker, what debootstrap makes
	// of one suite: a base with its security updates in it.
	packages := []string{"mmdebstrap"}
	var foreign []string
	if architecture != runtime.GOARCH {
		// With arch-test it finds out whether the kernel runs the packages'
		// scripts.
		packages = append(packages, "arch-test")
		foreign = []string{"--architectures=" + architecture}
		// The base that all others stand on stays as it is.
		ref = ref.Context().Tag(ref.TagStr() + "-" + architecture)
	}
	if err := debian.Install(ctx, packages...); err != nil {
		return baseImage{}, err
	}
	sources, err := aptSources(ctx, suite)
	if err != nil {
		return baseImage{}, err
	}
	settings, err := aptSettings(ctx)
	if err != nil {
		return baseImage{}, err
	}
	options := slices.Concat(bootstrapOptions, foreign, settings)
	sum := sha256.Sum256([]byte(strings.Join(append(options, sources), "\n")))
	base := baseImage{name: ref.Name(), suite: suite, architecture: architecture, key: hex.EncodeToString(sum[:])}

	holds, ok := published(ctx, ref, architecture, base.key)
	if !ok {
		start := time.Now()
		log = log.With().Str("image", baseName(suite)).Str("architecture", architecture).Logger()
		log.Info().Msg("making stand-in image")
		if holds, err = bootstrap(ctx, ref, base, options, sources); err != nil {
			return baseImage{}, err
		}
		base.built = true
		log.Info().Str("holds", holds).Dur("took", time.Since(start)).Msg("made stand-in image")
	}
	base.holds = holds
	image, err := remote.Image(ref, remote.WithContext(ctx), remote.WithPlatform(linux(architecture)))
	if err != nil {
		return baseImage{}, fmt.Errorf("read base image: %w", err)
	}
	digest, err := image.Digest()
	if err != nil {
		return baseImage{}, fmt.Errorf("read base image: %w", err)
	}
	base.ref = ref.Context().Name() + "@" + digest.String()
	return base, nil
}

// bootstrap runs mmdebstrap and pushes the result.
func bootstrap(ctx context.Context, ref name.Tag, base baseImage, options []string, sources string) (holds string, err error) {
	dir, err := os.MkdirTemp("", "debian-base-")
	if err != nil {
		return "", fmt.Errorf("make folder for the base: %w", err)
	}
	defer os.RemoveAll(dir)
	root := filepath.Join(dir, "root.tar")

	cmd := exec.CommandContext(ctx, "mmdebstrap", append(slices.Clone(options), base.suite, root, "-")...)
	cmd.Stdin = strings.NewReader(sources)
	// It cleans up after itself when interrupted, so it is asked first.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	// The same packages give the same bytes.
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000", "TMPDIR="+dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		return "", fmt.Errorf("run mmdebstrap: %w\n%s", err, strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
	version, err := exec.CommandContext(ctx, "tar", "--extract", "--to-stdout", "--file", root, "./etc/debian_version").Output()
	if err != nil {
		return "", fmt.Errorf("read version of the base: %w", err)
	}
	holds = "Debian " + strings.TrimSpace(string(version))

	layer, err := tarball.LayerFromFile(root, tarball.WithCompressedCaching, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return "", fmt.Errorf("make layer of the base: %w", err)
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if image, err = mutate.AppendLayers(image, layer); err != nil {
		return "", fmt.Errorf("make image of the base: %w", err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		return "", fmt.Errorf("make image of the base: %w", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", base.architecture
	if image, err = mutate.ConfigFile(image, file); err != nil {
		return "", fmt.Errorf("make image of the base: %w", err)
	}
	if image, err = configure(image, v1.Config{Cmd: []string{"bash"}}, base.key, holds); err != nil {
		return "", err
	}
	if err := put(ctx, ref, base.architecture, image); err != nil {
		return "", fmt.Errorf("push base: %w", err)
	}
	return holds, nil
}

// aptSources returns the lines of a sources.list for the base: the archives
// that this machine's apt uses for Debian, with the base's suite.
func aptSources(ctx context.Context, suite string) (string, error) {
	// Without package lists apt does not know whose archive it is.
	list := func() (string, error) {
		out, err := exec.CommandContext(ctx, "apt-get", "indextargets",
			"--format", "$(ORIGIN)|$(LABEL)|$(SITE)|$(RELEASE)|$(COMPONENT)", "Identifier: Packages").Output()
		if err != nil {
			return "", fmt.Errorf("ask apt for its sources: %w", err)
		}
		return string(out), nil
	}
	targets, err := list()
	if err != nil {
		return "", err
	}
	if sources := sourcesFrom(targets, suite); sources != "" {
		return sources, nil
	}
	if out, err := exec.CommandContext(ctx, "apt-get", "update").CombinedOutput(); err != nil {
		return "", fmt.Errorf("update package lists: %w\n%s", err, out)
	}
	if targets, err = list(); err != nil {
		return "", err
	}
	sources := sourcesFrom(targets, suite)
	if sources == "" {
		return "", fmt.Errorf("find Debian's archive in apt's sources: %w", debian.ErrUnsupported)
	}
	return sources, nil
}

// sourcesFrom turns apt's list of index targets into sources for the base's
// suite. A machine on another release of Debian has the same archives under
// another suite's name.
func sourcesFrom(targets, suite string) string {
	var lines []string
	for target := range strings.Lines(targets) {
		fields := strings.Split(strings.TrimSpace(target), "|")
		if len(fields) != 5 || fields[0] != "Debian" || fields[4] != "main" {
			continue
		}
		label, site, release := fields[1], fields[2], fields[3]
		var suffix string
		switch {
		case label == "Debian-Security":
			suffix = "-security"
		case strings.HasSuffix(release, "-updates"):
			suffix = "-updates"
		case strings.Contains(release, "-"):
			continue // proposed updates and the like
		}
		line := "deb " + site + " " + suite + suffix + " main\n"
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// aptSettings carries over what decides on this machine whether the archive
// can be used at all: a proxy, and whether the archive's dates are believed.
func aptSettings(ctx context.Context) ([]string, error) {
	out, err := exec.CommandContext(ctx, "apt-config", "dump").Output()
	if err != nil {
		return nil, fmt.Errorf("ask apt for its settings: %w", err)
	}
	var options []string
	for line := range strings.Lines(string(out)) {
		for _, key := range []string{"Acquire::http::Proxy ", "Acquire::https::Proxy ", "Acquire::Check-Valid-Until ", "Acquire::Check-Date "} {
			if strings.HasPrefix(line, key) {
				options = append(options, "--aptopt="+strings.TrimSuffix(strings.TrimSpace(line), ";"))
			}
		}
	}
	return options, nil
}
