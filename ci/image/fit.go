package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
	pep440 "github.com/aquasecurity/go-pep440-version"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// Check reads what the apps of a lock say of themselves. It returns the apps with
// their versions, and what keeps them from being one image, given the logins of the
// mirrors. It needs no engine, and asks the reader alone.
func Check(ctx context.Context, reader Reader, lock release.Lock, mirrors Mirrors) ([]release.App, problem.Report) {
	list, err := survey(ctx, reader, lock.Apps)
	var found *problem.Error
	switch {
	case errors.As(err, &found):
		return lock.Apps, found.Report
	case err != nil:
		return lock.Apps, problem.Report{{Code: "image.app", Subject: "apps", Detail: err.Error(), Remedy: "try again", Err: err}}
	}
	lock.Apps = slices.Clone(lock.Apps)
	for i, a := range list {
		lock.Apps[i].Version = a.Version
	}
	return lock.Apps, misfits(list, WithRuntimes(lock), mirrors.registries())
}

// misfits returns what keeps apps from being one image: an app that another
// requires and that is not there, and versions of Frappe, of other apps, of Python
// and of Node that an app does not run with; and a registry that does not let a build in.
func misfits(list []app, lock release.Lock, registries []Registry) (report problem.Report) {
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
		for _, required := range a.requires {
			if byName[required] == nil && !slices.ContainsFunc(list, func(one app) bool { return appName(one.URL) == required }) {
				report.Addf("image.app-required", a.subject(), "add "+required+" to apps.json", "its hooks.py requires the app %s, which is not there", required)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(a.project.frappeDependencies)) {
			wanted, _ := a.project.frappeDependencies[name].(string)
			if other := byName[name]; other != nil && !fits(other.Version, wanted) {
				report.Addf("image.app-version", a.subject(), "choose refs in apps.json that fit together", "its pyproject.toml wants %s %s, and %s is %s", name, wanted, other.Ref, other.Version)
			}
		}
		if a.project.Project != nil {
			if wanted := a.project.Project.RequiresPython; !fitsPython(lock.Python, wanted) {
				report.Addf("image.python", a.subject(), "set PYTHON_VERSION to one that fits, or choose another ref", "its pyproject.toml wants Python %s, and the image has %s", wanted, lock.Python)
			}
		}
		for _, l := range a.node.links {
			if other := byName[l.app]; other == nil || l.folder != "." && !other.has(l.folder) && !other.hasFolder(l.folder) {
				report.Addf("image.link", a.subject(), "choose refs in apps.json that fit together", "its %s asks for %s, %s", l.from, l.says, l.missing(other))
			}
		}
		a.unbound(registries, &report)
		a.exposed(registries, &report)
		if !fits(lock.Node, a.node.engine) {
			report.Addf("image.node", a.subject(), "set NODE_VERSION to one that fits, or choose another ref", "its package.json wants Node %s, and the image has %s", a.node.engine, lock.Node)
		}
	}
	return report
}

// subject names the app where something is wrong with it.
func (a *app) subject() string { return a.Name + " " + a.Ref }

var (
	// compatible and exact are operators that semantic_version, by which bench reads
	// ranges, has beside semver's: ~=1.2 is up to 2, and ~=1.2.3 up to 1.3.
	compatible = regexp.MustCompile(`~=\s*([0-9]+)\.([0-9]+)(\.[0-9]+)?`)
	exact      = regexp.MustCompile(`(^|[\s,])==`)
	// upperBound is an upper bound that is no version on its way itself.
	upperBound = regexp.MustCompile(`^\s*<\s*[0-9.]+\s*$`)
)

// fits reports whether a version is in a range, as bench and npm read it. What
// can't be read keeps nothing from being built: an app may call itself 15.x.x-develop.
func fits(version, wanted string) bool {
	v, err := semver.NewVersion(version)
	if err != nil {
		return true
	}
	wanted = compatible.ReplaceAllStringFunc(wanted, func(found string) string {
		part := compatible.FindStringSubmatch(found)
		if part[3] != "" {
			return "~" + part[1] + "." + part[2] + part[3]
		}
		major, _ := strconv.Atoi(part[1])
		return fmt.Sprintf(">=%s.%s, <%d", part[1], part[2], major+1)
	})
	wanted = exact.ReplaceAllString(wanted, "$1=")
	if v.Prerelease() == "" {
		return inRange(*v, wanted)
	}
	final, err := v.SetPrerelease("")
	if err != nil {
		return true
	}
	for bound := range strings.SplitSeq(wanted, ",") {
		// 16.0.0-dev is before 16.0.0, and yet not what <16.0.0 asks for.
		of := *v
		if upperBound.MatchString(bound) {
			of = final
		}
		if !inRange(of, bound) {
			return false
		}
	}
	return true
}

// inRange reports whether a version is in a range of semver, or the range can't be
// read.
func inRange(v semver.Version, wanted string) bool {
	allowed, err := semver.NewConstraint(wanted)
	if err != nil {
		return true
	}
	allowed.IncludePrerelease = true
	return allowed.Check(&v)
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
