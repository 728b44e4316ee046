package bench

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Patch is a patch that was being executed on a site.
type Patch struct {
	Name string `json:"name"`
	Site string `json:"site"`
}

func (p Patch) String() string { return p.Name + " on " + p.Site }

// executing is what migrate prints before each patch: "Executing
// frappe.patches.v15_0.x in erp.example.com (_5e5899d8398b5f7b): docstring".
// A patch given as code has spaces in it.
var executing = regexp.MustCompile(`(?m)^\s*Executing (.+?) in (\S+) \(`)

// FailedPatch gives the patch at which a migration ended, from the output of a
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

// LockRefused says whether a migrate failed because another one was running
// on the same site. Then it has changed nothing. The misspelling is Frappe's.
func LockRefused(output string) bool {
	return strings.Contains(output, "LockTimeoutError") && strings.Contains(output, "Failed to aquire lock: bench_migrate")
}

// ParseVersion reads what "bench version -f json" printed: versions by app.
func ParseVersion(output string) (map[string]string, error) {
	// Warnings of imported packages may come first.
	start := strings.Index(output, "[")
	if start < 0 {
		return nil, fmt.Errorf("read bench version: no list in %q", output)
	}
	var apps []struct{ App, Version string }
	if err := json.Unmarshal([]byte(output[start:]), &apps); err != nil {
		return nil, fmt.Errorf("read bench version: %w", err)
	}
	versions := map[string]string{}
	for _, a := range apps {
		versions[a.App] = a.Version
	}
	return versions, nil
}

// ParseSites reads what [Bench.Sites] printed: the names of the sites, sorted.
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
