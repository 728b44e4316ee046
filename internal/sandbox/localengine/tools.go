package localengine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/internal/engine"
)

// composeVersion is the version of the compose plugin in modules/compose.
const composeVersion = "v5.0.2"

// sources is what the tools are built from: modules that name them at their
// versions with all checksums, and the source of our own commands. A folder with a
// go.mod could not be embedded, hence the names module.mod and module.sum.
//
//go:embed modules/engine/module.mod modules/engine/module.sum modules/engine/distconsts/distconsts.go
//go:embed modules/mirror/module.mod modules/mirror/module.sum modules/mirror/main.go
//go:embed modules/compose/module.mod modules/compose/module.sum
//go:embed supervisor/main_linux.go supervisor/cgroup_linux.go supervisor/namespace_linux.go supervisor/network_linux.go
var sources embed.FS

// commands are what an engine is run with.
type commands struct {
	engineDir  string // with engine, dagger, dagger-init and dnsname
	mirror     string
	supervisor string
}

// program is one command of a build.
type program struct {
	pkg  string // import path
	name string // file name in the cache
}

// build is a set of commands made from one module.
type build struct {
	name     string
	files    map[string]string // file in the module: file in sources
	generate map[string]string // file in the module: content
	flags    string            // for the linker
	programs []program
}

var (
	engineBuild = build{
		name: "engine",
		files: map[string]string{
			"go.mod":                   "modules/engine/module.mod",
			"go.sum":                   "modules/engine/module.sum",
			"distconsts/distconsts.go": "modules/engine/distconsts/distconsts.go",
		},
		generate: map[string]string{
			"distconsts/go.mod": "module github.com/dagger/dagger/engine/distconsts\n\ngo 1.25.0\n",
		},
		flags: "-X github.com/dagger/dagger/engine.Version=" + engine.Version +
			" -X github.com/dagger/dagger/engine.Tag=" + engine.Version,
		programs: []program{
			{"github.com/dagger/dagger/cmd/engine", "engine"},
			{"github.com/dagger/dagger/cmd/dagger", "dagger"},
			{"github.com/dagger/dagger/cmd/init", "dagger-init"},
			{"github.com/dagger/dagger/cmd/dnsname", "dnsname"},
		},
	}
	mirrorBuild = build{
		name: "mirror",
		files: map[string]string{
			"go.mod":  "modules/mirror/module.mod",
			"go.sum":  "modules/mirror/module.sum",
			"main.go": "modules/mirror/main.go",
		},
		programs: []program{{".", "mirror"}},
	}
	composeBuild = build{
		name: "compose",
		files: map[string]string{
			"go.mod": "modules/compose/module.mod",
			"go.sum": "modules/compose/module.sum",
		},
		flags: "-X github.com/docker/compose/v5/internal.Version=" + composeVersion,
		programs: []program{
			{"github.com/docker/compose/v5/cmd", "docker-compose"},
		},
	}
	supervisorBuild = build{
		name: "supervisor",
		files: map[string]string{
			"main.go":      "supervisor/main_linux.go",
			"cgroup.go":    "supervisor/cgroup_linux.go",
			"namespace.go": "supervisor/namespace_linux.go",
			"network.go":   "supervisor/network_linux.go",
		},
		generate: map[string]string{"go.mod": "module supervisor\n\ngo 1.25.0\n"},
		programs: []program{{".", "supervisor"}},
	}
)

// buildCommands returns the commands that an engine is run with. See ensure.
func buildCommands(ctx context.Context, cacheDir string, log zerolog.Logger) (commands, error) {
	var dirs [3]string
	for i, b := range []build{engineBuild, mirrorBuild, supervisorBuild} {
		var err error
		if dirs[i], err = b.ensure(ctx, cacheDir, log); err != nil {
			return commands{}, err
		}
	}
	return commands{
		engineDir:  dirs[0],
		mirror:     filepath.Join(dirs[1], "mirror"),
		supervisor: filepath.Join(dirs[2], "supervisor"),
	}, nil
}

// ComposePlugin returns the path of Docker's compose plugin. Its file has the
// name that Docker expects, docker-compose. The first time it is built, which
// takes minutes; later it comes from the cache.
func ComposePlugin(ctx context.Context, cacheDir string, log zerolog.Logger) (string, error) {
	dir, err := composeBuild.ensure(ctx, cacheDir, log)
	return filepath.Join(dir, "docker-compose"), err
}

// ensure returns the folder with the build's commands, building them with the Go
// toolchain where they are not in the cache yet. Once they are, it takes no
// time and no toolchain. Other processes that want the same wait for the one
// that builds. The folder's name is a digest of everything that they are made from.
func (b build) ensure(ctx context.Context, cacheDir string, log zerolog.Logger) (string, error) {
	dir, err := filepath.Abs(filepath.Join(cacheDir, "tools"))
	if err != nil {
		return "", fmt.Errorf("find tool cache: %w", err)
	}
	module, err := b.module()
	if err != nil {
		return "", err
	}
	done := filepath.Join(dir, b.name+"-"+b.key(module))
	if _, err := os.Stat(done); err == nil {
		// For prune. It is only a hint, and may be a read-only cache.
		_ = os.Chtimes(done, time.Time{}, time.Now())
		return done, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make tool cache: %w", err)
	}
	lock, err := acquire(ctx, filepath.Join(dir, b.name+".lock"), exclusive)
	if err != nil {
		return "", err
	}
	defer lock.release()
	if _, err := os.Stat(done); err == nil {
		return done, nil // by another process, meanwhile
	}
	if err := b.prune(dir); err != nil {
		return "", err
	}
	scratch, err := os.MkdirTemp(dir, b.name+".building-")
	if err != nil {
		return "", fmt.Errorf("make tool cache: %w", err)
	}
	defer os.RemoveAll(scratch)

	started := time.Now()
	log.Info().Str("what", b.name).Msg("building for the sandbox, this once; it can take minutes")
	if err := b.compile(ctx, module, scratch); err != nil {
		return "", fmt.Errorf("build %s: %w", b.name, err)
	}
	if err := os.Rename(filepath.Join(scratch, "bin"), done); err != nil {
		return "", fmt.Errorf("keep %s: %w", b.name, err)
	}
	log.Info().Str("what", b.name).Stringer("took", time.Since(started).Round(time.Second)).Msg("built")
	return done, nil
}

// unusedAge is how long the commands of an earlier build stay after their last
// use. Another checkout may go on to use them.
const unusedAge = 30 * 24 * time.Hour

// prune removes earlier builds that are not used any more, and what a build
// that was killed has left. It is called with the build's lock.
func (b build) prune(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("prune tool cache: %w", err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			continue // it went away just now
		}
		old := strings.HasPrefix(entry.Name(), b.name+"-") && time.Since(info.ModTime()) > unusedAge
		if old || strings.HasPrefix(entry.Name(), b.name+".building-") {
			if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
				return fmt.Errorf("prune tool cache: %w", err)
			}
		}
	}
	return nil
}

// module returns the files of the build's module.
func (b build) module() (map[string][]byte, error) {
	files := map[string][]byte{}
	for name, source := range b.files {
		content, err := fs.ReadFile(sources, source)
		if err != nil {
			return nil, fmt.Errorf("read source of %s: %w", b.name, err)
		}
		files[name] = content
	}
	for name, content := range b.generate {
		files[name] = []byte(content)
	}
	return files, nil
}

// key is a digest of what the commands are made from, except for the version
// of the toolchain: an engine built with an older one is as good.
func (b build) key(module map[string][]byte) string {
	digest := sha256.New()
	fmt.Fprintln(digest, runtime.GOARCH, b.flags, b.programs)
	for _, name := range sortedKeys(module) {
		fmt.Fprintln(digest, name, len(module[name]))
		digest.Write(module[name])
	}
	return hex.EncodeToString(digest.Sum(nil))[:16]
}

// compile builds the commands into the folder bin of a scratch folder.
func (b build) compile(ctx context.Context, module map[string][]byte, scratch string) error {
	goCommand, err := exec.LookPath("go")
	if err != nil {
		return fmt.Errorf("find the Go toolchain, which has to be installed: %w", err)
	}
	src, bin := filepath.Join(scratch, "src"), filepath.Join(scratch, "bin")
	for name, content := range module {
		file := filepath.Join(src, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("write module: %w", err)
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return fmt.Errorf("write module: %w", err)
		}
	}
	if err := os.Mkdir(bin, 0o755); err != nil {
		return fmt.Errorf("write module: %w", err)
	}
	// The versions and checksums are complete: nothing may add to them.
	args := []string{"build", "-mod=readonly", "-trimpath", "-buildvcs=false",
		"-ldflags", strings.TrimSpace("-s -w " + b.flags), "-o", bin + "/"}
	for _, p := range b.programs {
		args = append(args, p.pkg)
	}
	cmd := exec.CommandContext(ctx, goCommand, args...)
	cmd.Dir = src
	// Without cgo, dagger-init runs in every image, whatever its C library.
	// They run in the engine, so on Linux, also where this program does not.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GO111MODULE=on",
		"GOOS=linux", "GOARCH="+runtime.GOARCH)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("go build: %w\n%s", err, lastLines(out.String(), 20))
	}
	for _, p := range b.programs {
		built := filepath.Join(bin, path.Base(p.pkg))
		if p.pkg == "." {
			built = filepath.Join(bin, b.name)
		}
		if err := os.Rename(built, filepath.Join(bin, p.name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("name %s: %w", p.name, err)
		}
	}
	return nil
}
