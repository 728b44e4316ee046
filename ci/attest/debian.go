package attest

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"path"
	"regexp"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/package-url/packageurl-go"
)

// dpkgStatus is dpkg's database, and dpkgList matches the list of a package's
// files.
const dpkgStatus = "var/lib/dpkg/status"

var dpkgList = regexp.MustCompile(`^var/lib/dpkg/info/[^/]+\.list$`)

// osReleases are where os-release(5) may lie, the first before the others.
// Debian's first is a link to the second.
var osReleases = []string{"etc/os-release", "usr/lib/os-release"}

// system are the operating system and its installed packages. Those of which no
// file is left are excluded: dpkg knows them, and they are not there.
func (h Held) system(Contents) ([]cdx.Component, error) {
	status, text := h.files[dpkgStatus].Text, ""
	for _, name := range osReleases {
		text = cmp.Or(text, h.files[name].Text)
	}
	release := parseOSRelease(text)
	id, version := release["ID"], release["VERSION_ID"]
	if id == "" {
		if text != "" || status != "" {
			return nil, errors.New("read os-release: there is no ID in it")
		}
		return nil, nil
	}
	components := []cdx.Component{{
		BOMRef: "os:" + id + "@" + version, Type: cdx.ComponentTypeOS, Name: id, Version: version, Description: release["PRETTY_NAME"],
	}}
	distro := strings.TrimSuffix(id+"-"+version, "-")
	// A stanza of dpkg's is a header of MIME's: fields, continued by lines
	// that begin with a space, up to an empty line.
	stanzas := textproto.NewReader(bufio.NewReader(strings.NewReader(status)))
	for {
		stanza, err := stanzas.ReadMIMEHeader()
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return nil, fmt.Errorf("read dpkg status: %w", err)
		}
		// Status is what is wanted, whether that is out of order, and what
		// is: of a removed package the configuration may be left.
		if status := strings.Fields(stanza.Get("Status")); len(status) == 3 && status[2] == "installed" {
			made, err := component(cdx.ComponentTypeLibrary, packageurl.PackageURL{
				Type: packageurl.TypeDebian, Namespace: id, Name: stanza.Get("Package"), Version: stanza.Get("Version"),
				Qualifiers: qualifiers("arch", stanza.Get("Architecture"), "distro", distro, "upstream", upstream(stanza.Get("Source"))),
			})
			if err != nil {
				return nil, fmt.Errorf("read dpkg status: %w", err)
			}
			if h.gone(stanza.Get("Package"), stanza.Get("Architecture")) {
				made.Scope = cdx.ScopeExcluded
			}
			components = append(components, made)
		}
		if end {
			return components, nil
		}
	}
}

// gone reports whether no file of a package is left. The list of one that may be
// installed for several architectures at once has that in its name.
func (h Held) gone(name, architecture string) bool {
	const info = "var/lib/dpkg/info/"
	return h.files[info+name+".list"].Gone || h.files[info+name+":"+architecture+".list"].Gone
}

// allGone reports whether nothing is there of what is on a list of dpkg's,
// folders above other entries aside.
func allGone(list []byte, present map[string]bool) bool {
	names := strings.Split(strings.TrimSpace(string(list)), "\n")
	above := map[string]bool{}
	for _, name := range names {
		above[path.Dir(name)] = true
	}
	listed := false
	for _, name := range names {
		if above[name] || name == "/." {
			continue
		}
		listed = true
		// Of what a package has in /lib or /bin, these are links into /usr.
		if name = clean(name); present[name] || present["usr/"+name] {
			return false
		}
	}
	return listed
}

// upstream makes of dpkg's "gcc-12 (12.2.0-14)" what Syft writes and Grype
// reads, gcc-12@12.2.0-14: Debian's advisories name source packages. It is
// empty where the source has the package's own name.
func upstream(source string) string {
	name, version, _ := strings.Cut(source, " ")
	if version = strings.Trim(version, "() "); version != "" {
		return name + "@" + version
	}
	return name
}

// parseOSRelease reads os-release(5). The values that are wanted here hold
// nothing that a shell would expand.
func parseOSRelease(text string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, found := strings.Cut(strings.TrimSpace(line), "="); found {
			values[key] = strings.Trim(value, `"'`)
		}
	}
	return values
}
