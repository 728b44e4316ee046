package image

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

var (
	// directLine is a package at a commit, which has no hashes: the commit is one.
	directLine = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])? @ (git\+\S+@([0-9a-f]{40})\S*)`)
	// archiveLine is a package at an address. The name of an archive has the version
	// behind the first dash, unless it is one of a host of git.
	archiveLine = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])? @ https?://[^\s#]*/([^\s/#?]+)`)
	archiveName = regexp.MustCompile(`^[A-Za-z0-9_.]+-([0-9][^-]*?)(-.*\.whl|\.tar\.[a-z0-9]+|\.zip)$`)
	pinLine     = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)`)
	onMachine   = regexp.MustCompile(` ; platform_machine == '([^']+)'`)
	hashItem    = regexp.MustCompile(`--hash=([a-z0-9]+:[0-9a-f]+)`)
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
		case archiveLine.MatchString(line):
			match := archiveLine.FindStringSubmatch(line)
			version := match[2]
			if named := archiveName.FindStringSubmatch(version); named != nil {
				version = named[1]
			}
			packages = append(packages, release.Package{Name: match[1], Version: version})
		case directLine.MatchString(line):
			match := directLine.FindStringSubmatch(line)
			packages = append(packages, release.Package{Name: match[1], Version: match[3]})
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case !strings.HasPrefix(line, "--hash=") || len(packages) == 0:
			return nil, fmt.Errorf("resolved packages, line %d: %q is neither a pinned package nor a hash", n, line)
		}
		last := &packages[len(packages)-1]
		if match := onMachine.FindStringSubmatch(line); match != nil {
			last.Machine = match[1]
		}
		for _, match := range hashItem.FindAllStringSubmatch(line, -1) {
			last.Hashes = append(last.Hashes, match[1])
		}
	}
	return packages, lines.Err()
}

// CountPackages returns how many packages a resolution has, each once.
func CountPackages(text string) int {
	packages, _ := parseRequirements(text)
	names := map[string]bool{}
	for _, p := range packages {
		names[p.Name] = true
	}
	return len(names)
}

// digest names a text by its content.
func digest(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

// Move is a Python package whose version changes from one lock to the next.
type Move struct {
	Name string
	// From and To are versions; empty where the package is new or gone. Where
	// processors have different ones, they are all named.
	From, To string
}

// Moves returns the packages that differ between two resolutions, by name.
func Moves(before, after string) ([]Move, error) {
	versions := func(text string) (map[string]string, error) {
		packages, err := parseRequirements(text)
		found := map[string]string{}
		for _, p := range packages {
			if earlier := found[p.Name]; earlier != "" {
				found[p.Name] = earlier + ", "
			}
			found[p.Name] += p.Version
			if p.Machine != "" {
				found[p.Name] += " on " + p.Machine
			}
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
