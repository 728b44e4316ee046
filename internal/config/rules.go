package config

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/distribution/reference"
)

// rule returns what is wrong with a value, as the rest of a sentence about its
// key, and what to do about it; nothing where nothing is wrong.
type rule func(value string) (wrong, remedy string)

// form is the rule of values that look in a certain way. what says of others
// why they don't fit, after "which".
func form(fits func(string) bool, what, remedy string) rule {
	return func(value string) (string, string) {
		if fits(value) {
			return "", ""
		}
		return "is " + quote(value) + ", which " + what, remedy
	}
}

var (
	// tag is the grammar of the distribution specification.
	tag = form(regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`).MatchString,
		"can't be the tag of an image", "use letters, digits, _, . and -, at most 128, and neither . nor - in front")
	// registryHost is a registry without a path.
	registryHost = form(isHostPort, "is not the name of a host", "write host or host:port; a path belongs into IMAGE_NAME")
	hostAddress  = form(isHost, "is not the name of a host", "write a host name or an IP address; the port belongs into DEPLOY_PORT, the user into DEPLOY_USER")
	siteName     = form(isHost, "is not the name of a host", "write one host name, without scheme and path")
	login        = form(userName.MatchString, "is not the name of a user", "write the login name only")
	hostFolder   = form(isFolder, "is not an absolute path of a folder of its own", "write a path from the root, for instance /opt/erpnext")
	// projectName is compose's own rule.
	projectName = form(regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`).MatchString,
		"compose doesn't take for a project", "use small letters, digits, - and _, with a letter or a digit in front")
	// nginxSize and nginxTime are nginx's notations.
	nginxSize = form(regexp.MustCompile(`^\d+[kKmMgG]?$`).MatchString, "is not a size", "write a number with k, m or g, for instance 50m")
	nginxTime = form(regexp.MustCompile(`^\d+(ms|s|m|h)?$`).MatchString, "is not a time", "write seconds, or a number with s, m or h, for instance 120")

	trueOrFalse = form(func(value string) bool { return value == "true" || value == "false" }, "is neither true nor false", "write true or false")
)

// isFolder reports whether a path on the host can be a folder of its own.
func isFolder(value string) bool {
	return path.IsAbs(value) && path.Clean(value) != "/" && !strings.ContainsFunc(value, unicode.IsControl)
}

var versionForm = regexp.MustCompile(`^\d+\.\d+\.\d+$`)

// fullVersion is the rule of versions in three numbers.
func fullVersion(example string) rule {
	return form(versionForm.MatchString, "is not a full version", "write all three numbers, for instance "+example)
}

// oneOf is the rule of a choice; what is what the choices are, with its
// article.
func oneOf(what string, choices ...string) rule {
	last := len(choices) - 1
	return func(value string) (string, string) {
		for _, choice := range choices {
			if value == choice {
				return "", ""
			}
		}
		return "is " + quote(value) + ", which is not " + what, "write " + strings.Join(choices[:last], ", ") + " or " + choices[last]
	}
}

// upTo is the rule of whole numbers from 1.
func upTo(most int) rule {
	return form(func(value string) bool {
		n, err := strconv.Atoi(value)
		return err == nil && n >= 1 && n <= most
	}, fmt.Sprintf("is not a number from 1 to %d", most), fmt.Sprintf("write a number from 1 to %d", most))
}

// siteVersion is the rule of a tag that names one image for ever.
func siteVersion(value string) (wrong, remedy string) {
	if value == "latest" {
		return fmt.Sprintf("is %q, which would name another image after every release", value), "name the version, for instance 1.1.5"
	}
	return tag(value)
}

// wellCopied is the rule of passwords and tokens. One with white space at an
// end was not copied well, and the error it causes later says nothing of that.
func wellCopied(value string) (wrong, remedy string) {
	remedy = "set it again without that"
	switch {
	case strings.TrimSpace(value) != value:
		return "begins or ends with white space", remedy
	case strings.ContainsFunc(value, unicode.IsControl):
		return "has a line break or another control character in it", remedy
	}
	return "", ""
}

// serverURL is the rule of a server's URL without a password, which would get
// into locks and labels.
func serverURL(value string) (wrong, remedy string) {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return "is not the URL of a server", "write it with https:// in front"
	case u.User != nil:
		return "has credentials in it", "remove them; private repositories take a placeholder in the apps file"
	}
	return "", ""
}

// imageName is the rule of an image's name without registry and tag.
func imageName(value string) (wrong, remedy string) {
	name, err := reference.ParseNormalizedNamed(value)
	switch {
	case err != nil:
		return "is " + quote(value) + ", which can't be the name of an image",
			"write a name such as company/erpnext: small letters, digits, and / . _ - between them"
	case !reference.IsNameOnly(name):
		return "is " + quote(value) + ", which has a tag or a digest", "remove it; DE_SITE_VERSION is the tag"
	case reference.Domain(name) != "docker.io" || strings.HasPrefix(value, "docker.io/"):
		return "is " + quote(value) + ", which has a registry in it", "set REGISTRY to the part before the first /, and leave it out here"
	}
	return "", ""
}

// quote shows a value that is no secret, cut off where it gets long.
func quote(value string) string {
	const most = 60
	if runes := []rune(value); len(runes) > most {
		return strconv.Quote(string(runes[:most])) + "…"
	}
	return strconv.Quote(value)
}
