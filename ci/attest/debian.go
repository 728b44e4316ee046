package attest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/package-url/packageurl-go"
)

// system are the operating system and its installed packages.
func (c Contents) system() ([]cdx.Component, error) {
	release := parseOSRelease(c.OSRelease)
	id, version := release["ID"], release["VERSION_ID"]
	if id == "" {
		if c.OSRelease != "" || c.DpkgStatus != "" {
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
	stanzas := textproto.NewReader(bufio.NewReader(strings.NewReader(c.DpkgStatus)))
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
			components = append(components, made)
		}
		if end {
			return components, nil
		}
	}
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
