package image

import (
	"context"
	"regexp"
	"strings"

	"dagger.io/dagger"
)

// atCommit matches a package of the lock that git fetches.
var atCommit = regexp.MustCompile(`(?m)^\S+ @ git\+.*`)

// environment is the virtualenv with exactly the locked packages. What has no
// wheel is built with locked build requirements too.
func (b *Builder) environment(requirements string, compilers *stage) *stage {
	text := `
uv venv --quiet --python /usr/local/bin/python3 env
# A package at a commit has no hashes, and uv takes either all with or none.
grep ' @ git+' /tmp/lock.txt >/tmp/direct.txt || true
grep -v ' @ git+' /tmp/lock.txt >/tmp/hashed.txt
uv pip install --python env/bin/python --require-hashes --build-constraints /tmp/hashed.txt --requirements /tmp/hashed.txt
if [ -s /tmp/direct.txt ]; then
	uv pip install --python env/bin/python --no-deps --build-constraints /tmp/hashed.txt --requirements /tmp/direct.txt
fi
`
	// An address in the requirements may be of a private repository.
	addresses := strings.Join(atCommit.FindAllString(requirements, -1), "\n")
	if addresses != "" {
		text = gitScript + text
	}
	return &stage{
		name: "environment", platform: compilers.platform, needs: []*stage{compilers}, inImage: true, history: "Python packages",
		key: keyOf("environment", compilers.key, text, digest(requirements), packScript),
		build: func(s *stage, in inputs) *dagger.Container {
			c := b.cached(toolbox(in[compilers]), "uv").
				WithMountedFile("/tmp/lock.txt", b.Client.Directory().WithNewFile("lock.txt", requirements).File("lock.txt"))
			if addresses != "" {
				c = b.withGit(c, b.apps, addresses)
			}
			return b.script(c, s, text)
		},
		pack: func(_ context.Context, c *dagger.Container) packing {
			return packing{
				from: c.Directory(benchDir + "/env"), at: benchDir + "/env", owner: owner, seconds: epoch,
				before: "rm -f .lock\nfind . -name __pycache__ -prune -exec rm -rf {} +\nfind . -name uv_cache.json -delete\n",
			}
		},
	}
}
