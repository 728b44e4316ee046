package attest

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/package-url/packageurl-go"
)

// nodePackage matches the path below a node_modules of a package's package.json:
// of a folder directly there, or below a scope. A node_modules further down
// belongs to a package too, or to a store as pnpm has it (node_modules/.pnpm/X/
// node_modules).
var nodePackage = regexp.MustCompile(`^(?:(?:\.[^/]+/[^/]+|(?:@[^/]+/)?[^/.@][^/]*)/node_modules/)*(?:@[^/]+/)?[^/.@][^/]*/package\.json$`)

// isNodePackage reports whether a file is the package.json of a Node package.
// What a package has anywhere else, in its tests for instance, is none.
func isNodePackage(name string) bool {
	_, below, found := strings.Cut("/"+name, "/node_modules/")
	return found && nodePackage.MatchString(below)
}

// nodeName is what a package may be called: with a scope or without.
var nodeName = regexp.MustCompile(`^(?:@[^/@]+/)?[^/@][^/]*$`)

// parsePackageJSON reads a package.json. One without a name and a version marks
// a folder and is no package.
func parsePackageJSON(_ string, text []byte) (evidence, bool) {
	var p struct{ Name, Version string }
	// npm takes a file that begins with a byte order mark.
	err := json.Unmarshal(bytes.TrimPrefix(text, []byte("\ufeff")), &p)
	return evidence{Name: p.Name, Version: p.Version}, err == nil && nodeName.MatchString(p.Name) && p.Version != ""
}

// node are the Node packages. An alias is the package that it stands for.
func (h Held) node(Contents) ([]cdx.Component, error) {
	var components []cdx.Component
	for _, file := range h.sorted() {
		if !isNodePackage(file) {
			continue
		}
		p := h.files[file]
		scope, short, scoped := strings.Cut(p.Name, "/")
		if !scoped {
			scope, short = "", p.Name
		}
		made, err := component(cdx.ComponentTypeLibrary, packageurl.PackageURL{
			Type: packageurl.TypeNPM, Namespace: scope, Name: short, Version: p.Version,
		})
		if err != nil {
			return nil, err
		}
		made.Group = scope
		made.Evidence = foundAt(file)
		components = append(components, made)
	}
	return components, nil
}
