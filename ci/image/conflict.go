package image

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// conflict returns uv's account of requirements that can't be met together as
// a problem. uv names the ranges; which apps they are from is added.
func conflict(err error, apps []app) error {
	var exec *dagger.ExecError
	if errors.As(err, &exec) && !strings.Contains(exec.Stderr, "No solution found") {
		said, name, _ := strings.Cut(exec.Stderr, noMetadata)
		for _, a := range apps {
			if a.Name == strings.TrimSpace(name) {
				return problem.Report{{
					Code: "image.metadata", Subject: a.subject(), Detail: "its " + a.describedBy() + " does not tell what the app needs to run:\n" + strings.TrimSpace(said), Err: err,
					Remedy: "choose a ref in apps.json at which pip can install it",
				}}.Err()
			}
		}
	}
	if exec != nil && unbuilt.MatchString(exec.Stderr) && !strings.Contains(exec.Stderr, "Failed to fetch") {
		name := unbuilt.FindStringSubmatch(exec.Stderr)[1]
		detail := "can't be built"
		if wanted := whoWants(name, apps); wanted != "" {
			detail += ", and " + wanted
		}
		return problem.Report{{
			Code: "image.package-build", Subject: "Python package " + name, Detail: detail + ":\n" + strings.TrimSpace(exec.Stderr), Err: err,
			Remedy: "choose refs in apps.json that take another version of it, or a PYTHON_VERSION that it was made for",
		}}.Err()
	}
	if exec == nil || !strings.Contains(exec.Stderr, "No solution found") {
		return fmt.Errorf("resolve Python packages: %w", err)
	}
	detail := exec.Stderr[strings.Index(exec.Stderr, "No solution found"):]
	detail = strings.Join(strings.Fields(strings.NewReplacer("×", "", "╰─▶", "", "│", "").Replace(detail)), " ")
	if wanted := whoWants(detail, apps); wanted != "" {
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

// unbuilt matches what uv says of a package that has no wheel and can't be built.
var unbuilt = regexp.MustCompile("Failed to (?:download and )?build `([^`]+)`")

// ranged is a package with a range, as uv writes it.
var ranged = regexp.MustCompile(`([A-Za-z0-9][A-Za-z0-9._-]*)[<>=!~]=?[0-9]`)

// whoWants says which app wants which range of the packages that a text names, a
// line for each package.
func whoWants(text string, apps []app) string {
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
			candidates := slices.Concat(strings.Split(app.legacy, "\n"), app.project.dependencies(), app.project.BuildSystem.Requires)
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
