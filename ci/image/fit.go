package image

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	pep440 "github.com/aquasecurity/go-pep440-version"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// Check reads what the apps of a lock say of themselves, and returns what keeps
// them from being one image. It needs neither an engine nor the apps' versions,
// and asks the reader alone.
func Check(ctx context.Context, reader Reader, lock release.Lock) problem.Report {
	list, err := survey(ctx, reader, lock.Apps)
	var found *problem.Error
	switch {
	case errors.As(err, &found):
		return found.Report
	case err != nil:
		return problem.Report{{Code: "image.app", Subject: "apps", Detail: err.Error(), Remedy: "try again", Err: err}}
	}
	return misfits(list, lock)
}

// misfits returns what keeps apps from being one image: an app that another
// requires and that is not there, and versions of Frappe, of other apps, of Python
// and of Node that an app does not run with.
func misfits(list []app, lock release.Lock) (report problem.Report) {
	byName := map[string]*app{}
	for i := range list {
		a := &list[i]
		if first := byName[a.Name]; first != nil {
			report.Addf("image.app-twice", a.subject(), "keep one of them in apps.json", "%s and %s both hold the app %s", first.URL, a.URL, a.Name)
			continue
		}
		byName[a.Name] = a
	}
	for _, a := range list {
		if a.describedBy() == "" {
			report.Addf("image.app-unpackaged", a.subject(), "choose a ref in apps.json at which it is a Python package", "it has neither a pyproject.toml nor a setup.py nor a setup.cfg")
		}
		for _, name := range a.project.aptPackages() {
			if !AptName.MatchString(name) {
				report.Addf("image.apt-package", a.subject(), "choose another ref", "its pyproject.toml asks for %q, which can't be the name of a Debian package", name)
			}
		}
		if line, named := a.needsERPNext(); named && byName["erpnext"] == nil && !slices.Contains(a.requires, "erpnext") {
			report.Addf("image.app-required", a.subject(), "add erpnext to apps.json", "its requirements name the app erpnext (%s), which is not there", line)
		}
		for _, required := range a.requires {
			if byName[required] == nil && !slices.ContainsFunc(list, func(one app) bool { return appName(one.URL) == required }) {
				report.Addf("image.app-required", a.subject(), "add "+required+" to apps.json", "its hooks.py requires the app %s, which is not there", required)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(a.project.Tool.Bench.FrappeDependencies)) {
			wanted, _ := a.project.Tool.Bench.FrappeDependencies[name].(string)
			if other := byName[name]; other != nil && !fits(other.Version, wanted) {
				report.Addf("image.app-version", a.subject(), "choose refs in apps.json that fit together", "its pyproject.toml wants %s %s, and %s is %s", name, wanted, other.Ref, other.Version)
			}
		}
		if a.project.Project != nil {
			if wanted := a.project.Project.RequiresPython; !fitsPython(lock.Python, wanted) {
				report.Addf("image.python", a.subject(), "set PYTHON_VERSION to one that fits, or choose another ref", "its pyproject.toml wants Python %s, and PYTHON_VERSION is %s", wanted, lock.Python)
			}
		}
		if !fits(lock.Node, a.node) {
			report.Addf("image.node", a.subject(), "set NODE_VERSION to one that fits, or choose another ref", "its package.json wants Node %s, and NODE_VERSION is %s", a.node, lock.Node)
		}
	}
	return report
}

// needsERPNext reports whether the app's requirements name ERPNext, and how. What
// has that name on PyPI is something else.
func (a *app) needsERPNext() (line string, named bool) {
	for _, line := range append(strings.Split(a.legacy, "\n"), a.project.dependencies()...) {
		line = strings.TrimSpace(line)
		if name := requirementName.FindString(line); strings.EqualFold(name, "erpnext") {
			return line, true
		}
	}
	return "", false
}

// requirementName matches the name at the beginning of a requirement.
var requirementName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*`)

// subject names the app where something is wrong with it.
func (a *app) subject() string { return a.Name + " " + a.Ref }

// otherOperators are those that semantic_version, by which bench reads ranges,
// has beside semver's.
var otherOperators = regexp.MustCompile(`(^|[\s,])(==|~=)`)

// fits reports whether a version is in a range, as bench and npm read it. What
// can't be read keeps nothing from being built: an app may call itself 15.x.x-develop.
func fits(version, wanted string) bool {
	wanted = otherOperators.ReplaceAllStringFunc(wanted, func(found string) string {
		return strings.NewReplacer("==", "=", "~=", "~").Replace(found)
	})
	v, err := semver.NewVersion(version)
	if err != nil {
		return true
	}
	allowed, err := semver.NewConstraint(wanted)
	if err != nil {
		return true
	}
	allowed.IncludePrerelease = true
	// 16.0.0-dev is before 16.0.0, and yet not what <16.0.0 asks for.
	final, err := v.SetPrerelease("")
	return allowed.Check(v) && (err != nil || allowed.Check(&final))
}

// fitsPython is fits for a version of Python and a range by PEP 440.
func fitsPython(version, wanted string) bool {
	v, err := pep440.Parse(version)
	if err != nil || wanted == "" {
		return true
	}
	allowed, err := pep440.NewSpecifiers(wanted)
	return err != nil || allowed.Check(v)
}
