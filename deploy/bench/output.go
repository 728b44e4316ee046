// Package bench knows what the bench command inside the backend container
// prints, and what that means.
//
// It runs nothing. Exit codes and texts were read in Frappe v15.17.3.
package bench

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// Service is the service that bench commands run in.
const Service = "backend"

// Patch is a patch that was being executed on a site.
type Patch struct {
	Name string `json:"name"`
	Site string `json:"site"`
}

func (p Patch) String() string { return p.Name + " on " + p.Site }

// File is the file of the patch, from the folder of its app on; empty for one
// given as code.
func (p Patch) File() string {
	name, _, _ := strings.Cut(p.Name, " ")
	if strings.HasPrefix(p.Name, "execute:") || !strings.Contains(name, ".") {
		return ""
	}
	return strings.ReplaceAll(name, ".", "/") + ".py"
}

// App is the app of the patch; empty for one given as code.
func (p Patch) App() string {
	app, _, _ := strings.Cut(p.File(), "/")
	return app
}

// executing is what migrate prints before each patch: "Executing
// frappe.patches.v15_0.x in erp.example.com (_5e5899d8398b5f7b): docstring".
// A patch given as code has spaces in it.
var executing = regexp.MustCompile(`(?m)^\s*Executing (.+?) in (\S+) \(`)

// FailedPatch returns the patch at which a migration ended, from the output of a
// migrate that failed. There is none where it failed before or after the
// patches.
func FailedPatch(output string) (Patch, bool) {
	matches := executing.FindAllStringSubmatchIndex(output, -1)
	if len(matches) == 0 {
		return Patch{}, false
	}
	last := matches[len(matches)-1]
	// A patch that ran through is followed by a line that says so.
	if strings.Contains(output[last[1]:], "Success: Done in") {
		return Patch{}, false
	}
	return Patch{Name: output[last[2]:last[3]], Site: output[last[4]:last[5]]}, true
}

// LockRefused reports whether a migrate failed because another one was running
// on the same site. Then it has changed nothing. The misspelling is Frappe's.
func LockRefused(output string) bool {
	return strings.Contains(output, "LockTimeoutError") && strings.Contains(output, "Failed to aquire lock: bench_migrate")
}

// ParseSites reads a list of paths of site_config.json: the names of the sites,
// sorted. A new bench has none, which is no error.
func ParseSites(output string) []string {
	var sites []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if path.Base(line) == "site_config.json" {
			sites = append(sites, path.Base(path.Dir(line)))
		}
	}
	slices.Sort(sites)
	return sites
}
