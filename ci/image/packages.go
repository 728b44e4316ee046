package image

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// buildRequirements are what an app without a [build-system] table is built
// with, and what frappe's old releases import at run time (pkg_resources).
const buildRequirements = "setuptools\nwheel\n"

// resolvePackages resolves the Python requirements of all apps together.
//
// A lock that was resolved before is where it starts from: what still fits
// stays. A first one starts from frappe's requirements as they were at its
// commit's date, because an old frappe does not run on today's packages, and
// lets the other apps add to that without a date, because a company's own app
// may want what is newer.
func (b *Builder) resolvePackages(ctx context.Context, lock release.Lock, apps []fetched) (string, error) {
	start := time.Now()
	c := b.cached(b.tools(lock), "uv").
		WithWorkdir("/tmp/requirements").
		WithEnvVariable("UV_NO_CONFIG", "1").
		WithEnvVariable("UV_CUSTOM_COMPILE_COMMAND", "erpnext-pipeline").
		WithNewFile("setuptools/requirements.in", buildRequirements, dagger.ContainerWithNewFileOpts{Owner: owner})
	files := []string{"setuptools/requirements.in"}
	for _, app := range apps {
		name, text := app.Name+"/pyproject.toml", app.project
		if text == "" {
			name, text = app.Name+"/requirements.txt", app.legacy
		}
		if text != "" {
			c = c.WithNewFile(name, text, dagger.ContainerWithNewFileOpts{Owner: owner})
			files = append(files, name)
		}
		if built := buildSystem(app.project); built != "" {
			name = app.Name + "/build-requirements.in"
			c = c.WithNewFile(name, built, dagger.ContainerWithNewFileOpts{Owner: owner})
			files = append(files, name)
		}
	}

	seed := ""
	if lock.Requirements != "" {
		c = c.WithNewFile("lock.txt", lock.Requirements, dagger.ContainerWithNewFileOpts{Owner: owner})
	} else {
		var own []string
		for _, name := range files {
			if strings.HasPrefix(name, "setuptools/") || strings.HasPrefix(name, apps[0].Name+"/") {
				own = append(own, name)
			}
		}
		seed = "uv pip compile --quiet --exclude-newer " + apps[0].CommittedAt.UTC().Format(time.RFC3339) +
			" --output-file lock.txt " + strings.Join(own, " ") + "\n"
	}
	limit := ""
	if !b.PackagesAsOf.IsZero() {
		limit = " --exclude-newer " + b.PackagesAsOf.UTC().Format(time.RFC3339)
	}
	c = script(c, seed+"uv pip compile --quiet --generate-hashes --no-annotate"+limit+
		" --output-file lock.txt "+strings.Join(files, " "))
	printed, err := c.Stdout(ctx)
	if err != nil {
		return "", conflict(err, apps)
	}
	text, err := c.File("lock.txt").Contents(ctx)
	if err != nil {
		return "", fmt.Errorf("read resolved packages: %w", err)
	}
	packages, err := parseRequirements(text)
	if err != nil {
		return "", err
	}
	b.observe(Stage{
		Name: "resolve", Detail: fmt.Sprintf("%d Python packages", len(packages)),
		Seconds: time.Since(start).Seconds(), Cached: printedBefore(printed, start),
	})
	return text, nil
}

// conflict gives uv's account of requirements that can't be met together as
// a problem. uv names the ranges; which apps they are from is added.
func conflict(err error, apps []fetched) error {
	var exec *dagger.ExecError
	if !errors.As(err, &exec) || !strings.Contains(exec.Stderr, "No solution found") {
		return fmt.Errorf("resolve Python packages: %w", withOutput(err))
	}
	detail := exec.Stderr[strings.Index(exec.Stderr, "No solution found"):]
	detail = strings.Join(strings.Fields(strings.NewReplacer("×", "", "╰─▶", "", "│", "").Replace(detail)), " ")
	if wanted := wants(detail, apps); wanted != "" {
		detail += "\n" + wanted
	}
	report := problem.Report{{
		Code: "image.packages-conflict", Subject: "Python packages", Detail: detail, Err: err,
		Remedy: "choose refs in apps.json whose requirements fit together, or relax the range in the app that is yours",
	}}
	return report.Err()
}

// ranged is a package with a range, as uv writes it.
var ranged = regexp.MustCompile(`([A-Za-z0-9][A-Za-z0-9._-]*)[<>=!~]=?[0-9]`)

// wants says which app wants which range of the packages that a text names, a
// line for each package.
func wants(text string, apps []fetched) string {
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
	pinLine  = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)`)
	hashItem = regexp.MustCompile(`--hash=([a-z0-9]+:[0-9a-f]+)`)
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
func (b *Builder) environment(tools *dagger.Container, requirements string) layer {
	c := b.cached(tools, "uv").
		WithMountedFile("/tmp/lock.txt", b.Client.Directory().WithNewFile("lock.txt", requirements).File("lock.txt")).
		WithEnvVariable("UV_NO_CONFIG", "1").
		WithEnvVariable("UV_LINK_MODE", "copy")
	return layer{name: "environment", before: tools, made: script(c, `
uv venv --quiet --python /usr/local/bin/python3 env
uv pip install --quiet --python env/bin/python --require-hashes --build-constraints /tmp/lock.txt --requirements /tmp/lock.txt
`)}
}
