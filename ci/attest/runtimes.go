package attest

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/package-url/packageurl-go"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// runtimes are what belongs to no package manager. They have a CPE beside their
// package URL, by which advisories name such things. The type is application,
// not platform, which Grype leaves out.
func (h Held) runtimes(c Contents) ([]cdx.Component, error) {
	var components []cdx.Component
	for _, runtime := range []struct {
		name, version, cpe string
		from               *release.Download
	}{
		{"node", c.NodeVersion, "nodejs:node.js", nil},
		{"python", c.PythonVersion, "python:python", nil},
		{"wkhtmltopdf", "", "wkhtmltopdf:wkhtmltopdf", c.Wkhtmltopdf},
		{"chromium-headless-shell", "", "google:chrome", c.Chromium},
	} {
		if runtime.version == "" && runtime.from == nil {
			continue
		}
		p := packageurl.PackageURL{Type: packageurl.TypeGeneric, Name: runtime.name, Version: runtime.version}
		sum := ""
		if runtime.from != nil {
			from, err := url.Parse(runtime.from.URL)
			if err != nil {
				return nil, fmt.Errorf("read address of %s: %w", runtime.name, err)
			}
			architecture := path.Base(h.Platform)
			sum = cmp.Or(runtime.from.SHA256[architecture], runtime.from.SHA256[""])
			p.Version = versionInPath.FindString(from.Path)
			p.Qualifiers = qualifiers("download_url", strings.NewReplacer("{arch}", architecture, "%7Barch%7D", architecture).Replace(bare(runtime.from.URL)))
		}
		made, err := component(cdx.ComponentTypeApplication, p)
		if err != nil {
			return nil, err
		}
		made.Hashes = hashes("sha256", sum)
		if p.Version != "" {
			made.CPE = "cpe:2.3:a:" + runtime.cpe + ":" + p.Version + ":*:*:*:*:*:*:*"
		}
		components = append(components, made)
	}
	return components, nil
}

// versionInPath matches the version in the address of a download: those of
// wkhtmltopdf (0.12.6.1) and of Chromium (131.0.6778.204) have three dots.
var versionInPath = regexp.MustCompile(`\d+(?:\.\d+){2,3}`)
