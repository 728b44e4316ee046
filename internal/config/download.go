package config

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Download is a file that goes into the image if its checksum is right.
type Download struct {
	// URL is an https URL; {arch} in it stands for an architecture.
	URL string
	// SHA256 are checksums in small hexadecimal digits: one for each
	// architecture where URL has {arch}, otherwise a single one under "".
	SHA256 map[string]string
}

// architectures are those that an image can be for.
var architectures = []string{"amd64", "arm64"}

// arch is the placeholder in a URL.
const arch = "{arch}"

var sha256Hex = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

// platforms splits the list.
func (l *loader) platforms(list string) []string {
	const key = "PLATFORMS"
	if list == "" {
		return nil
	}
	var all []string
	for _, platform := range strings.Split(list, ",") {
		platform = strings.TrimSpace(platform)
		architecture, linux := strings.CutPrefix(platform, "linux/")
		switch {
		case platform == "":
			l.bad(key, "separate the platforms by single commas", "has an empty place in its list")
		case !linux || !slices.Contains(architectures, architecture):
			l.bad(key, "take linux/amd64, linux/arm64 or both, separated by a comma", "has %s, which the image can't be built for", quote(platform))
		case slices.Contains(all, platform):
			l.bad(key, "remove one of the two", "has %s twice", platform)
		default:
			all = append(all, platform)
		}
	}
	return all
}

// wkhtmltopdf gives the package; nil for Debian's own.
func (l *loader) wkhtmltopdf(k keys, platforms []string) *Download {
	const key, sumKey = "WKHTMLTOPDF_URL", "WKHTMLTOPDF_SHA256"
	l.both(key, k.WkhtmltopdfURL, sumKey, k.WkhtmltopdfSHA256)
	if k.WkhtmltopdfURL == "" {
		l.checksums(sumKey, k.WkhtmltopdfSHA256)
		return nil
	}
	return l.download(key, k.WkhtmltopdfURL, ".deb", sumKey, k.WkhtmltopdfSHA256, platforms)
}

// chromium gives the file, or says that Debian's own package is wanted; nil
// and false for none at all.
func (l *loader) chromium(k keys, platforms []string) (file *Download, debian bool) {
	const key, sumKey = "CHROMIUM", "CHROMIUM_SHA256"
	switch isURL := strings.Contains(k.Chromium, "://"); {
	case isURL:
		if k.ChromiumSHA256 == "" {
			l.bad(key, "set "+sumKey+" as well; sha256sum prints it", "is a URL, but %s is not set", sumKey)
		}
		return l.download(key, k.Chromium, ".zip", sumKey, k.ChromiumSHA256, platforms), false
	case k.Chromium != "" && k.Chromium != "debian":
		l.bad(key, "write debian, or the https:// URL of a .zip; leave it empty for none", "is %s, which is neither debian nor a URL", quote(k.Chromium))
	case k.ChromiumSHA256 != "":
		l.bad(sumKey, "set "+key+" to the URL of that file, or remove the checksum", "is set, but %s is not a URL", key)
	}
	l.checksums(sumKey, k.ChromiumSHA256)
	return nil, k.Chromium == "debian"
}

// download parses a URL and its checksums, and holds them against each other.
func (l *loader) download(key, text, ending, sumKey, sums string, platforms []string) *Download {
	u, err := url.Parse(strings.ReplaceAll(text, arch, architectures[0]))
	byArch := strings.Contains(text, arch)
	switch {
	case err != nil || u.Scheme != "https" || !hostPort(u.Host) || strings.ContainsFunc(text, spaceOrControl):
		l.bad(key, "write it with https:// in front", "is not an https URL")
	case u.User != nil:
		l.bad(key, "give a URL that works without; it is no secret", "has credentials in it")
	case strings.ContainsAny(strings.ReplaceAll(text, arch, ""), "{}"):
		l.bad(key, "write "+arch+" for the architecture, and the rest in full", "has a { or } in it that is no %s", arch)
	case !strings.HasSuffix(u.Path, ending):
		l.bad(key, "give the URL of the file itself", "is not the URL of a %s", ending)
	case !byArch && len(platforms) > 1:
		l.bad(key, "put "+arch+" in place of the architecture", "is one file, but PLATFORMS has %s", strings.Join(platforms, " and "))
	}
	d := &Download{URL: text, SHA256: l.checksums(sumKey, sums)}
	if len(d.SHA256) == 0 {
		return d
	}
	switch _, single := d.SHA256[""]; {
	case single && byArch:
		l.bad(sumKey, "write amd64=HEX,arm64=HEX", "is one checksum, but %s has %s in it", key, arch)
	case !single && !byArch:
		l.bad(sumKey, "write the 64 hex digits alone, or "+arch+" in the URL", "is by architecture, but %s has no %s in it", key, arch)
	case byArch:
		for _, platform := range platforms {
			if a := strings.TrimPrefix(platform, "linux/"); d.SHA256[a] == "" {
				l.bad(sumKey, "add "+a+"=HEX, or leave "+platform+" out of PLATFORMS", "has none for %s, which PLATFORMS has", a)
			}
		}
	}
	return d
}

// checksums parses one checksum, or one for each architecture. It gives none
// where one is bad.
func (l *loader) checksums(key, text string) map[string]string {
	if text == "" {
		return nil
	}
	if sha256Hex.MatchString(text) {
		return map[string]string{"": strings.ToLower(text)}
	}
	sums := map[string]string{}
	for _, part := range strings.Split(text, ",") {
		architecture, sum, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch {
		case !slices.Contains(architectures, architecture) || !sha256Hex.MatchString(sum):
			l.bad(key, "write the 64 hex digits that sha256sum prints, or amd64=HEX,arm64=HEX", "is not a SHA-256 checksum")
			return nil
		case sums[architecture] != "":
			l.bad(key, "keep one of the two", "has %s twice", architecture)
			return nil
		}
		sums[architecture] = strings.ToLower(sum)
	}
	return sums
}
