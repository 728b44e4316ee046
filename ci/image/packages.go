package image

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// buildRequirements are what an app without a [build-system] table is built
// with, and what frappe's old releases import at run time (pkg_resources).
const buildRequirements = "setuptools\nwheel\n"

// resolvePackages gives the stage that resolves the Python requirements of all
// apps together.
//
// A lock that was resolved before is where it starts from: what still fits
// stays, unless it is to be upgraded. A first one starts from frappe's
// requirements as they were at its commit's date, because an old frappe does
// not run on today's packages, and lets the other apps add to that without a
// date, because a company's own app may want what is newer.
func (b *Builder) resolvePackages(lock release.Lock, list []app, tools, compilers *stage) *stage {
	files := map[string]string{"setuptools/requirements.in": buildRequirements}
	for _, a := range list {
		switch {
		case projectTable.MatchString(a.project):
			files[a.Name+"/pyproject.toml"] = a.project
		case a.legacy != "":
			files[a.Name+"/requirements.txt"] = a.legacy
		}
		if built := buildSystem(a.project); built != "" {
			files[a.Name+"/build-requirements.in"] = built
		}
	}
	var all, own []string
	in := tools
	for _, name := range slices.Sorted(maps.Keys(files)) {
		all = append(all, name)
		if strings.HasPrefix(name, "setuptools/") || strings.HasPrefix(name, list[0].Name+"/") {
			own = append(own, name)
		}
		if strings.Contains(files[name], "git+") {
			in = compilers
		}
	}
	text, upgrade := "", ""
	switch {
	case lock.Requirements == "":
		text = "uv pip compile --quiet --exclude-newer " + list[0].CommittedAt.UTC().Format(time.RFC3339) +
			" --output-file lock.txt " + strings.Join(own, " ") + "\n"
	case slices.Contains(b.Upgrade, UpgradeAll):
		upgrade = " --upgrade"
	default:
		for _, name := range b.Upgrade {
			upgrade += " --upgrade-package " + name
		}
	}
	if lock.Requirements != "" {
		files["lock.txt"] = lock.Requirements
	}
	limit := ""
	if !b.PackagesAsOf.IsZero() {
		limit = " --exclude-newer " + b.PackagesAsOf.UTC().Format(time.RFC3339)
	}
	text += "uv pip compile --quiet --generate-hashes --no-annotate" + limit + upgrade +
		" --output-file lock.txt " + strings.Join(all, " ") + "\nmkdir /tmp/out\ncp lock.txt /tmp/out/\n"
	// What is newest is another thing every day.
	day := ""
	if upgrade != "" {
		day = time.Now().UTC().Format(time.DateOnly)
	}
	return &stage{
		name: "packages", needs: []*stage{in},
		key: keyOf("packages", lock.Python, uvVersion, text, files, day),
		build: func(s *stage, in inputs) *dagger.Container {
			var c *dagger.Container
			for _, c = range in {
			}
			folder := b.Client.Directory()
			for _, name := range slices.Sorted(maps.Keys(files)) {
				folder = folder.WithNewFile(name, files[name])
			}
			c = b.cached(toolbox(c), "uv").
				WithMountedDirectory("/tmp/requirements", folder).
				WithWorkdir("/tmp/requirements").
				WithEnvVariable("UV_CUSTOM_COMPILE_COMMAND", "erpnext-pipeline")
			return b.script(c, s, text)
		},
		pack: func(_ context.Context, c *dagger.Container) packing {
			return packing{info: c.Directory("/tmp/out")}
		},
	}
}

// UpgradeAll in Upgrade stands for every package, whatever else is there.
const UpgradeAll = "all"

// conflict gives uv's account of requirements that can't be met together as
// a problem. uv names the ranges; which apps they are from is added.
func conflict(err error, apps []app) error {
	var exec *dagger.ExecError
	if !errors.As(err, &exec) || !strings.Contains(exec.Stderr, "No solution found") {
		return fmt.Errorf("resolve Python packages: %w", err)
	}
	detail := exec.Stderr[strings.Index(exec.Stderr, "No solution found"):]
	detail = strings.Join(strings.Fields(strings.NewReplacer("×", "", "╰─▶", "", "│", "").Replace(detail)), " ")
	if wanted := wants(detail, apps); wanted != "" {
		detail += "\n" + wanted
	}
	remedy := "choose refs in apps.json whose requirements fit together, or relax the range in the app that is yours"
	if strings.Contains(exec.Stderr, "exclude-newer") {
		// What uv says where an index has no times is that all is too new.
		remedy += "; with PYPI_INDEX_URL, take a mirror that says when a package was uploaded"
	}
	report := problem.Report{{
		Code: "image.packages-conflict", Subject: "Python packages", Detail: detail, Err: err, Remedy: remedy,
	}}
	return report.Err()
}

// ranged is a package with a range, as uv writes it.
var ranged = regexp.MustCompile(`([A-Za-z0-9][A-Za-z0-9._-]*)[<>=!~]=?[0-9]`)

// wants says which app wants which range of the packages that a text names, a
// line for each package.
func wants(text string, apps []app) string {
	var lines []string
	seen := map[string]bool{}
	for _, match := range ranged.FindAllStringSubmatch(text, -1) {
		name := match[1]
		if seen[name] {
			continue
		}
		seen[name] = true
		requirement := regexp.MustCompile(`(?i)^` + regexp.QuoteMeta(name) + `(\[[^\]]*\])?\s*[<>=!~]`)
		var said []string
		for _, app := range apps {
			candidates := strings.Split(app.legacy, "\n")
			for _, match := range quoted.FindAllStringSubmatch(app.project, -1) {
				candidates = append(candidates, match[1])
			}
			for _, candidate := range candidates {
				if requirement.MatchString(candidate) {
					said = append(said, app.Name+" "+app.Ref+" wants "+candidate)
				}
			}
		}
		if len(said) > 0 {
			lines = append(lines, strings.Join(said, ", "))
		}
	}
	return strings.Join(lines, "\n")
}

var (
	buildSystemTable = regexp.MustCompile(`(?ms)^\[build-system\]\s*$(.*?)(?:^\[|\z)`)
	requiresList     = regexp.MustCompile(`(?s)requires\s*=\s*\[(.*?)\]`)
	quoted           = regexp.MustCompile(`["']([^"']+)["']`)
)

// buildSystem gives the build requirements of a pyproject.toml, a line each:
// uv resolves only what an app needs to run, and the lock must also fix what
// it is built with.
func buildSystem(project string) string {
	table := buildSystemTable.FindStringSubmatch(project)
	if table == nil {
		return ""
	}
	list := requiresList.FindStringSubmatch(table[1])
	if list == nil {
		return ""
	}
	var lines strings.Builder
	for _, match := range quoted.FindAllStringSubmatch(list[1], -1) {
		lines.WriteString(match[1] + "\n")
	}
	return lines.String()
}

var (
	// directLine is a package at a commit, which has no hashes: the commit is one.
	directLine = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])? @ (git\+\S+@([0-9a-f]{40})\S*)`)
	pinLine    = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)`)
	hashItem   = regexp.MustCompile(`--hash=([a-z0-9]+:[0-9a-f]+)`)
)

// parseRequirements reads the packages of a resolved requirements file.
func parseRequirements(text string) ([]release.Package, error) {
	var packages []release.Package
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		switch match := pinLine.FindStringSubmatch(line); {
		case match != nil:
			packages = append(packages, release.Package{Name: match[1], Version: match[2]})
		case directLine.MatchString(line):
			match := directLine.FindStringSubmatch(line)
			packages = append(packages, release.Package{Name: match[1], Version: match[3]})
			continue
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case !strings.HasPrefix(line, "--hash=") || len(packages) == 0:
			return nil, fmt.Errorf("resolved packages, line %d: %q is neither a pinned package nor a hash", n, line)
		}
		last := &packages[len(packages)-1]
		for _, match := range hashItem.FindAllStringSubmatch(line, -1) {
			last.Hashes = append(last.Hashes, match[1])
		}
	}
	return packages, lines.Err()
}

// digest names a text by its content.
func digest(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

// environment is the virtualenv with exactly the locked packages. What has no
// wheel is built with locked build requirements too.
func (b *Builder) environment(requirements string, compilers *stage) *stage {
	const text = `
uv venv --quiet --python /usr/local/bin/python3 env
# A package at a commit has no hashes, and uv takes either all with or none.
grep ' @ git+' /tmp/lock.txt >/tmp/direct.txt || true
grep -v ' @ git+' /tmp/lock.txt >/tmp/hashed.txt
uv pip install --python env/bin/python --require-hashes --build-constraints /tmp/hashed.txt --requirements /tmp/hashed.txt
if [ -s /tmp/direct.txt ]; then
	uv pip install --python env/bin/python --no-deps --build-constraints /tmp/hashed.txt --requirements /tmp/direct.txt
fi
`
	return &stage{
		name: "environment", platform: compilers.platform, needs: []*stage{compilers}, inImage: true, history: "Python packages",
		key: keyOf("environment", compilers.key, text, digest(requirements), packScript),
		build: func(s *stage, in inputs) *dagger.Container {
			c := b.cached(toolbox(in[compilers]), "uv").
				WithMountedFile("/tmp/lock.txt", b.Client.Directory().WithNewFile("lock.txt", requirements).File("lock.txt"))
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

// Move is a Python package whose version changes from one lock to the next.
type Move struct {
	Name string
	// From and To are versions; empty where the package is new or gone.
	From, To string
}

// Moves gives the packages that differ between two resolutions, by name.
func Moves(before, after string) ([]Move, error) {
	versions := func(text string) (map[string]string, error) {
		packages, err := parseRequirements(text)
		found := map[string]string{}
		for _, p := range packages {
			found[p.Name] = p.Version
		}
		return found, err
	}
	from, err := versions(before)
	if err != nil {
		return nil, err
	}
	to, err := versions(after)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(from)
	maps.Copy(all, to)
	var moves []Move
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if from[name] != to[name] {
			moves = append(moves, Move{name, from[name], to[name]})
		}
	}
	return moves, nil
}
