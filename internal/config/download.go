package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// architectures are those that an image can be for.
var architectures = []string{"amd64", "arm64"}

// arch is the placeholder in a URL.
const arch = "{arch}"

var sha256Hex = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

// platforms splits a list of platforms.
func platforms[P ~string](field *[]P) parser {
	return func(l *loader, key, list string) {
		if list == "" {
			return
		}
		for _, platform := range strings.Split(list, ",") {
			platform = strings.TrimSpace(platform)
			architecture, linux := strings.CutPrefix(platform, "linux/")
			switch {
			case platform == "":
				l.bad(key, "separate the platforms by single commas", "has an empty place in its list")
			case !linux || !slices.Contains(architectures, architecture):
				l.bad(key, "take linux/amd64, linux/arm64 or both, separated by a comma", "has %s, which the image can't be built for", quote(platform))
			case slices.Contains(*field, P(platform)):
				l.bad(key, "remove one of the two", "has %s twice", platform)
			default:
				*field = append(*field, P(platform))
			}
		}
	}
}

// aptPackages splits a list of Debian packages, each with a dash in front or
// without.
func aptPackages(field *[]string) parser {
	return func(l *loader, key, list string) {
		for _, name := range strings.Fields(strings.ReplaceAll(list, ",", " ")) {
			if !image.AptName.MatchString(strings.TrimPrefix(name, "-")) {
				l.bad(key, "write names like libxml2, separated by spaces", "has %s, which can't be the name of a Debian package", quote(name))
				continue
			}
			*field = append(*field, name)
		}
	}
}

// chromium reads the URL of a file, or that Debian's own package is wanted.
func chromium(file *string, debian *bool) parser {
	return func(l *loader, key, value string) {
		switch {
		case strings.Contains(value, "://"):
			*file = value
		case value == "debian":
			*debian = true
		case value != "":
			l.bad(key, "write debian, or the https:// URL of a .zip; leave it empty for none", "is %s, which is neither debian nor a URL", quote(value))
		}
	}
}

// checksums reads one checksum, or one for each architecture. It stores none
// where one is bad.
func checksums(field *map[string]string) parser {
	return func(l *loader, key, value string) {
		if value == "" {
			return
		}
		if sha256Hex.MatchString(value) {
			*field = map[string]string{"": strings.ToLower(value)}
			return
		}
		sums := map[string]string{}
		for _, part := range strings.Split(value, ",") {
			architecture, sum, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch {
			case !slices.Contains(architectures, architecture) || !sha256Hex.MatchString(sum):
				l.bad(key, "write the 64 hex digits that sha256sum prints, or amd64=HEX,arm64=HEX", "is not a SHA-256 checksum")
				return
			case sums[architecture] != "":
				l.bad(key, "keep one of the two", "has %s twice", architecture)
				return
			}
			sums[architecture] = strings.ToLower(sum)
		}
		*field = sums
	}
}

// downloads holds the files that go into the image against their checksums
// and the platforms. Without a URL there is no file.
func (l *loader) downloads(c *Config) {
	const pdfKey, pdfSumKey = "WKHTMLTOPDF_URL", "WKHTMLTOPDF_SHA256"
	if c.Lock.Wkhtmltopdf.URL == patched {
		if l.isSet(pdfSumKey) {
			l.bad(pdfSumKey, "remove it", "is set, but %s is %s, which has its own", pdfKey, patched)
		}
		c.Lock.Wkhtmltopdf = patchedWkhtmltopdf()
	} else {
		c.Lock.Wkhtmltopdf = l.download(c, c.Lock.Wkhtmltopdf, ".deb", pdfKey, pdfSumKey)
	}

	const key, sumKey = "CHROMIUM", "CHROMIUM_SHA256"
	switch value := l.values[key].text; {
	case c.Lock.Chromium.URL != "" && !l.isSet(sumKey):
		l.bad(key, "set "+sumKey+" as well; sha256sum prints it", "is a URL, but %s is not set", sumKey)
	case l.isSet(sumKey) && (value == "" || c.Lock.DebianChromium):
		l.bad(sumKey, "set "+key+" to the URL of that file, or remove the checksum", "is set, but %s is not a URL", key)
	}
	c.Lock.Chromium = l.download(c, c.Lock.Chromium, ".zip", key, sumKey)
}

// patched stands for patchedWkhtmltopdf.
const patched = "patched"

// patchedWkhtmltopdf is the last package that the makers of wkhtmltopdf published
// for the Debian of the image, with the checksums that distributions hold it
// against (for instance the Arch User Repository's wkhtmltopdf-static).
func patchedWkhtmltopdf() *release.Download {
	return &release.Download{
		URL: "https://github.com/wkhtmltopdf/packaging/releases/download/0.12.6.1-3/wkhtmltox_0.12.6.1-3.bookworm_" + arch + ".deb",
		SHA256: map[string]string{
			"amd64": "98ba0d157b50d36f23bd0dedf4c0aa28c7b0c50fcdcdc54aa5b6bbba81a3941d",
			"arm64": "b6606157b27c13e044d0abbe670301f88de4e1782afca4f9c06a5817f3e03a9c",
		},
	}
}

// download checks the URL of a file and holds its checksums against it.
func (l *loader) download(c *Config, d *release.Download, ending, key, sumKey string) *release.Download {
	if d.URL == "" {
		return nil
	}
	u, err := url.Parse(strings.ReplaceAll(d.URL, arch, architectures[0]))
	byArch := strings.Contains(d.URL, arch)
	switch {
	case err != nil || u.Scheme != "https" || !isHostPort(u.Host) || strings.ContainsFunc(d.URL, spaceOrControl):
		l.bad(key, "write it with https:// in front", "is not an https URL")
	case u.User != nil:
		l.bad(key, "give a URL that works without; it is no secret", "has credentials in it")
	case strings.ContainsAny(strings.ReplaceAll(d.URL, arch, ""), "{}"):
		l.bad(key, "write "+arch+" for the architecture, and the rest in full", "has a { or } in it that is no %s", arch)
	case !strings.HasSuffix(u.Path, ending):
		l.bad(key, "give the URL of the file itself", "is not the URL of a %s", ending)
	case !byArch && len(c.Image.Platforms) > 1:
		l.bad(key, "put "+arch+" in place of the architecture", "is one file, but PLATFORMS has %s and %s", c.Image.Platforms[0], c.Image.Platforms[1])
	}
	if len(d.SHA256) == 0 {
		return d
	}
	switch _, single := d.SHA256[""]; {
	case single && byArch:
		l.bad(sumKey, "write amd64=HEX,arm64=HEX", "is one checksum, but %s has %s in it", key, arch)
	case !single && !byArch:
		l.bad(sumKey, "write the 64 hex digits alone, or "+arch+" in the URL", "is by architecture, but %s has no %s in it", key, arch)
	case byArch:
		for _, platform := range c.Image.Platforms {
			if a := strings.TrimPrefix(string(platform), "linux/"); d.SHA256[a] == "" {
				l.bad(sumKey, fmt.Sprintf("add %s=HEX, or leave %s out of PLATFORMS", a, platform), "has none for %s, which PLATFORMS has", a)
			}
		}
	}
	return d
}
