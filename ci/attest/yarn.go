package attest

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/package-url/packageurl-go"
)

// nodePackage is one entry of a yarn.lock.
type nodePackage struct {
	name, version string
	// resolved is where it was downloaded from; empty for a local folder.
	resolved string
	// integrity is a list of hashes as the browsers' SRI has them.
	integrity string
}

// parseYarn reads a yarn.lock of yarn 1: an entry is a line of the patterns
// NAME@RANGE that it answers, and its fields, indented by two spaces. What is
// indented further are its own dependencies, each an entry elsewhere.
func parseYarn(text string) ([]nodePackage, error) {
	var packages []nodePackage
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, " \r\n")
		indented := strings.TrimLeft(line, " ")
		switch len(line) - len(indented) {
		case 0:
			if line == "" || line[0] == '#' {
				continue
			}
			if line == "__metadata:" {
				return nil, errors.New("it is of a newer yarn than version 1")
			}
			name := patternName(line)
			if name == "" {
				return nil, fmt.Errorf("line %d: %q names no package", number, line)
			}
			packages = append(packages, nodePackage{name: name})
		case 2:
			if len(packages) == 0 {
				return nil, fmt.Errorf("line %d: a field before the first package", number)
			}
			p := &packages[len(packages)-1]
			key, value, _ := strings.Cut(indented, " ")
			switch key {
			case "version":
				p.version = unquoted(value)
			case "resolved":
				p.resolved = unquoted(value)
			case "integrity":
				p.integrity = unquoted(value)
			}
		}
	}
	for _, p := range packages {
		if p.version == "" {
			return nil, fmt.Errorf("package %s has no version", p.name)
		}
	}
	return packages, nil
}

// patternName is the name of the package that the first pattern of a line
// asks for. In an alias, ALIAS@npm:NAME@RANGE, it is the one behind it.
func patternName(line string) string {
	pattern := line
	if quoted, err := strconv.QuotedPrefix(line); err == nil {
		pattern = unquoted(quoted)
	} else if end := strings.IndexAny(line, ",:"); end >= 0 {
		pattern = line[:end]
	}
	name, wanted := cutName(pattern)
	if behind, found := strings.CutPrefix(wanted, "npm:"); found {
		name, _ = cutName(behind)
	}
	return name
}

// cutName cuts NAME@RANGE at the @ that does not begin a scope.
func cutName(pattern string) (name, wanted string) {
	if len(pattern) < 2 {
		return pattern, ""
	}
	name, wanted, _ = strings.Cut(pattern[1:], "@")
	return pattern[:1] + name, wanted
}

func unquoted(text string) string {
	if plain, err := strconv.Unquote(text); err == nil {
		return plain
	}
	return text
}

// origin says where a package is from that is not from npm's registry, without
// a credential: what carries the name of a package there may be another one.
func (p nodePackage) origin() packageurl.Qualifiers {
	from, err := url.Parse(p.resolved)
	if err != nil || from.Host == "" || from.Host == "registry.yarnpkg.com" || from.Host == "registry.npmjs.org" {
		return nil
	}
	from.User = nil
	fragment := from.Fragment
	from.Fragment = ""
	if !strings.HasPrefix(from.Scheme, "git") && !strings.HasSuffix(from.Path, ".git") {
		return qualifiers("download_url", from.String())
	}
	address := from.String()
	if !strings.HasPrefix(address, "git") {
		address = "git+" + address
	}
	if fragment != "" {
		address += "@" + fragment
	}
	return qualifiers("vcs_url", address)
}
