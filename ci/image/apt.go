package image

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

const (
	aptInstall = `
apt-get $APT_OPTIONS update -q
apt-get $APT_OPTIONS install -q --yes --no-install-recommends -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Use-Pty=0 `
	aptClean = `
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log
find /etc/ssl/certs -lname '/usr/local/share/ca-certificates/*' -delete 2>/dev/null || true
`
)

// install is the script that installs Debian packages and leaves neither
// archives nor package lists behind, nor links to CAs that were there only
// for the time of the exec.
func install(packages ...string) string {
	return "export DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH=1577836800" + aptInstall + strings.Join(packages, " ") + aptClean
}

// AptName matches the name of a Debian package, with a version or an architecture
// or without.
var AptName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?(=[A-Za-z0-9.+:~-]+)?$`)

// aptPackages are the Debian packages that apps ask for in their pyproject.toml,
// and those of the lock. They are there where Python packages are compiled, and in
// the image.
func aptPackages(list []app, lock release.Lock) []string {
	var found []string
	for _, a := range list {
		found = append(found, a.project.aptPackages()...)
	}
	for _, name := range lock.AptPackages {
		if !strings.HasPrefix(name, "-") {
			found = append(found, name)
		}
	}
	found = slices.DeleteFunc(found, func(name string) bool {
		return slices.Contains(lock.AptPackages, "-"+name) || slices.Contains(lock.AptPackages, "-"+bare(name))
	})
	slices.Sort(found)
	return slices.Compact(found)
}

// aptPackages are the Debian packages that the app asks for. A text may name
// several, as Frappe Cloud has it.
func (p pyproject) aptPackages() []string {
	var names []string
	for _, one := range p.apt {
		text, _ := one.(string)
		names = append(names, strings.Fields(text)...)
	}
	return names
}

// unlocated matches what apt says where there is no such package.
var unlocated = regexp.MustCompile(`E: (?:Unable to locate package (\S+)|Package '([^']+)' has no installation candidate|Version '[^']+' for '([^']+)' was not found)`)

// bare is the name of a Debian package without architecture and version.
func bare(name string) string { return name[:strings.IndexAny(name+"=", ":=")] }

// withoutPackages returns what apt says of packages that were asked for and that
// Debian does not have as problems, each with who asks. Where apt says it of others
// it did not reach its lists.
func (b *Builder) withoutPackages(lock release.Lock, err error) error {
	var exec *dagger.ExecError
	if !errors.As(err, &exec) {
		return err
	}
	var report problem.Report
	for _, match := range unlocated.FindAllStringSubmatch(exec.Stdout+"\n"+exec.Stderr, -1) {
		name := bare(strings.Join(match[1:], ""))
		var who []string
		for _, a := range b.apps {
			if slices.ContainsFunc(a.project.aptPackages(), func(asked string) bool { return bare(asked) == name }) {
				who = append(who, a.subject())
			}
		}
		if slices.ContainsFunc(lock.AptPackages, func(asked string) bool { return bare(asked) == name }) {
			who = append(who, "APT_PACKAGES")
		}
		if len(who) > 0 {
			report.Add(problem.Problem{
				Code: "image.apt-package", Subject: strings.Join(who, ", "), Detail: "the Debian of the image does not have the package " + name, Err: err,
				Remedy: "APT_PACKAGES=-" + name + " leaves out what an app asks for; name there what Debian calls it, if the app needs it",
			})
		}
	}
	if len(report) == 0 {
		return err
	}
	return report.Err()
}
