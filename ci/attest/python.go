package attest

import (
	"encoding/json"
	"net/url"
	"path"
	"regexp"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/package-url/packageurl-go"
)

// What tells of installed Python packages, by the packaging specifications
// "Recording installed projects" and "Recording the direct URL origin of
// installed distributions": also of those that another package brings along, as
// setuptools does. A wheel that lies there to be installed, as ensurepip has
// pip's, bears name and version in its own name.
var (
	pythonMetadata = regexp.MustCompile(`(?:^|/)(?:site|dist)-packages/(?:.+/)?[^/]+\.dist-info/METADATA$`)
	pythonOrigin   = regexp.MustCompile(`(?:^|/)(?:site|dist)-packages/(?:.+/)?[^/]+\.dist-info/direct_url\.json$`)
	pythonWheel    = regexp.MustCompile(`(?:^|/)ensurepip/_bundled/([^/-]+)-([^/-]+)(?:-[^/-]+){3,4}\.whl$`)
)

// parseMetadata reads the head of a METADATA. A license in it may have lines
// that are no fields.
func parseMetadata(_ string, text []byte) (evidence, bool) {
	var p evidence
	for line := range strings.Lines(string(text)) {
		if strings.TrimRight(line, "\r\n") == "" {
			break
		}
		key, value, _ := strings.Cut(line, ":")
		switch strings.ToLower(key) {
		case "name":
			p.Name = strings.TrimSpace(value)
		case "version":
			p.Version = strings.TrimSpace(value)
		}
	}
	return p, p.Name != "" && p.Version != ""
}

// parseDirectURL reads a direct_url.json.
func parseDirectURL(_ string, text []byte) (evidence, bool) {
	var origin struct {
		URL string
		Dir struct{ Editable bool } `json:"dir_info"`
		VCS struct {
			Commit string `json:"commit_id"`
		} `json:"vcs_info"`
	}
	err := json.Unmarshal(text, &origin)
	return evidence{URL: origin.URL, Editable: origin.Dir.Editable, Commit: origin.VCS.Commit}, err == nil
}

func parseWheelName(name string, _ []byte) (evidence, bool) {
	match := pythonWheel.FindStringSubmatch(name)
	return evidence{Name: match[1], Version: match[2]}, true
}

// separators is what PEP 503 makes a dash of in a Python package's name.
var separators = regexp.MustCompile(`[-_.]+`)

// normal returns the name of a Python package as PEP 503 has it.
func normal(name string) string { return strings.ToLower(separators.ReplaceAllString(name, "-")) }

// python are the Python packages. An editable one is an app.
func (h Held) python(c Contents) ([]cdx.Component, error) {
	locked := map[string]*[]cdx.Hash{}
	for _, p := range c.Locked {
		for _, hash := range p.Hashes {
			algorithm, value, _ := strings.Cut(hash, ":")
			at := normal(p.Name) + "@" + p.Version
			locked[at] = union(locked[at], hashes(algorithm, value))
		}
	}
	var components []cdx.Component
	for _, file := range h.sorted() {
		if !pythonMetadata.MatchString(file) && !pythonWheel.MatchString(file) {
			continue
		}
		origin := h.files[path.Join(path.Dir(file), "direct_url.json")]
		if origin.Editable {
			continue
		}
		p := h.files[file]
		made, err := component(cdx.ComponentTypeLibrary, packageurl.PackageURL{
			Type: packageurl.TypePyPi, Name: normal(p.Name), Version: p.Version, Qualifiers: origin.qualifiers(),
		})
		if err != nil {
			return nil, err
		}
		made.Hashes = locked[made.Name+"@"+p.Version]
		made.Evidence = foundAt(file)
		components = append(components, made)
	}
	return components, nil
}

// qualifiers say where a package is from that is from no index, without a
// credential: what carries the name of a package there may be another one.
func (e evidence) qualifiers() packageurl.Qualifiers {
	if from, err := url.Parse(e.URL); err != nil || from.Host == "" {
		return nil
	}
	if e.Commit != "" {
		return qualifiers("vcs_url", "git+"+bare(e.URL)+"@"+e.Commit)
	}
	return qualifiers("download_url", bare(e.URL))
}
