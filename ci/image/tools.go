package image

import (
	"context"
	"slices"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// Versions of the tools that build the image. They are part of what a build
// reads, so they are pinned; move them on purpose.
const (
	uvVersion    = "0.13.9"
	benchVersion = "5.31.1"
	// benchAsOf fixes what bench's own ranges resolve to.
	benchAsOf   = "2026-11-01T00:00:00Z"
	yarnVersion = "1.22.22"
)

// buildPackages are needed where a Python or Node package has to be compiled.
// They are not in the image.
var buildPackages = []string{
	"build-essential", "git", "libffi-dev", "libjpeg-dev", "libldap2-dev", "libmariadb-dev",
	"libpq-dev", "libsasl2-dev", "pkg-config", "python3-dev",
}

// newTools is the stage in which most others are built: Python at the place
// that it has in the image, because the virtualenv points at it, with Node,
// uv and yarn, and nothing that takes long to install.
func (b *Builder) newTools(lock release.Lock, platform dagger.Platform) *stage {
	python, node := bases(lock)
	text := `
python3 -m pip install --quiet --no-cache-dir --root-user-action=ignore uv==` + uvVersion + ` || unreached PYPI_INDEX_URL "${PIP_INDEX_URL:-not set}"
ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx
npm install --loglevel error --global yarn@` + yarnVersion + ` >/dev/null || unreached NPM_REGISTRY_URL "${NPM_MIRROR:-not set}"
rm -rf /root/.npm
` + noTrustUpdates + benchFolders
	return &stage{
		name: "tools", platform: platform,
		key: keyOf("tools", lock.Bases[python], lock.Bases[node], platform, text),
		build: func(s *stage, _ inputs) *dagger.Container {
			from := b.from(lock, node, platform)
			c := b.from(lock, python, platform).
				WithFile("/usr/local/bin/node", from.File("/usr/local/bin/node")).
				WithDirectory("/usr/local/lib/node_modules", from.Directory("/usr/local/lib/node_modules")).
				WithWorkdir(benchDir)
			return b.script(c, s, text)
		},
		pack: wholePassing,
	}
}

// newCompilers is the stage for what has to be compiled: tools, and the
// compilers and libraries on top of it.
func (b *Builder) newCompilers(lock release.Lock, tools *stage) *stage {
	text := install(slices.Concat(buildPackages, aptPackages(b.apps, lock), b.sshForPackages(lock))...) + noTrustUpdates
	return &stage{
		name: "compilers", platform: tools.platform, needs: []*stage{tools},
		key: keyOf("compilers", tools.key, text),
		build: func(s *stage, in inputs) *dagger.Container {
			return b.script(toolbox(in[tools]), s, text)
		},
		pack: wholePassing,
	}
}

// noTrustUpdates takes the command away with which an engine would put a
// machine's extra CAs into the container, and take them out again, at every
// step: that takes longer than many steps do. The stages get those CAs from
// here.
const noTrustUpdates = `
rm -f /usr/sbin/update-ca-certificates
`

// toolbox returns a container of a stage's files with what commands need to run.
func toolbox(c *dagger.Container) *dagger.Container {
	return c.WithEnvVariable("PATH", searchPath).WithEnvVariable("LANG", "C.UTF-8").
		WithUser("root").WithWorkdir(benchDir).
		WithEnvVariable("UV_NO_CONFIG", "1").WithEnvVariable("UV_LINK_MODE", "copy")
}

// command is the stage with the bench command in a virtualenv of its own, so
// that its packages and frappe's never meet. uv, which bench installs apps with,
// is left out: nothing is installed in a running image.
func (b *Builder) command(tools *stage) *stage {
	const text = `
uv venv --quiet --python /usr/local/bin/python3 /opt/bench
uv pip install --quiet --python /opt/bench/bin/python --exclude-newer ` + benchAsOf + ` frappe-bench==` + benchVersion + `
rm -rf /opt/bench/bin/uv* /opt/bench/lib/python3.*/site-packages/uv /opt/bench/lib/python3.*/site-packages/uv-*
find /opt/bench -name __pycache__ -prune -exec rm -rf {} +
find /opt/bench -name uv_cache.json -delete
rm -f /opt/bench/.lock
`
	return &stage{
		name: "command", platform: tools.platform, needs: []*stage{tools}, inImage: true, history: "bench " + benchVersion,
		key: keyOf("command", tools.key, text, packScript),
		build: func(s *stage, in inputs) *dagger.Container {
			return b.script(b.cached(toolbox(in[tools]), "uv"), s, text)
		},
		pack: func(_ context.Context, c *dagger.Container) packing {
			return packing{from: c.Directory("/opt/bench"), at: "/opt/bench", owner: "0:0", seconds: epoch}
		},
	}
}
