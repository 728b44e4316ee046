package apps

import (
	"net"
	"net/netip"
	"regexp"
	"strings"
)

// Repository is where an app's source is, as a url in apps.json names it.
type Repository struct {
	// Scheme is "https", or "http" for a repository on this machine.
	Scheme string
	// Host is the host in lower case, with its port if it has one.
	Host string
	// Owner and Repo are the last two parts of the path, without ".git".
	Owner, Repo string
	// TokenName is the name in the url's placeholder, for instance
	// "DE_MACRS_PAT"; empty if the url has none.
	TokenName string
}

// URL returns the repository's address without credentials and ".git".
func (r Repository) URL() string { return r.Scheme + "://" + r.Host + "/" + r.Owner + "/" + r.Repo }

// App returns what the app is called until its source says what its package is:
// the repository's name, with dashes and dots made underscores.
func (r Repository) App() string { return underscored(r.Repo) }

// underscored is a name as it would be that of a Python package.
func underscored(name string) string { return strings.NewReplacer("-", "_", ".", "_").Replace(name) }

// fault is what is wrong with a value, and what to do about it.
type fault struct{ code, detail, remedy string }

const (
	codeURL         = "apps.url-invalid"
	codeCredentials = "apps.url-credentials"
	codePlaceholder = "apps.placeholder-malformed"
	formURL         = "write it as https://github.com/OWNER/REPO, for a private one as https://${NAME}@github.com/OWNER/REPO"
)

var (
	placeholderName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// userName is what may stand before a placeholder: GitHub's user names
	// (letters, digits, inner dashes) and the fixed names that it takes
	// with a token, x-access-token and oauth2.
	userName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,38}$`)
	hostName = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`)
	// ownerName also allows the underscore of GitHub's enterprise-managed
	// users.
	ownerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)
	// repoName is GitHub's rule, but for "." and "..", which name folders.
	repoName = regexp.MustCompile(`^(\.{0,2}[A-Za-z0-9_-]|\.{3})[A-Za-z0-9._-]*$`)
	sshURL   = regexp.MustCompile(`^(?:(?:git\+)?ssh://)?git@([A-Za-z0-9.-]+)[:/]+([A-Za-z0-9_-]+)/([A-Za-z0-9._-]+?)(?:\.git)?/?$`)
	bareRepo = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9._-]+$`)
)

// parseRepository reads a url of apps.json. It is taken apart by hand: net/url
// knows no placeholder, and its errors quote the credentials. No fault quotes
// anything from before an @.
func parseRepository(raw string) (Repository, *fault) {
	invalid := func(detail string) (Repository, *fault) {
		return Repository{}, &fault{codeURL, detail, formURL}
	}
	literal := func() (Repository, *fault) {
		return Repository{}, &fault{codeCredentials, "url holds a credential in clear text",
			"withdraw that token, put a new one into .env and a ${NAME} placeholder for it into the url"}
	}
	if m := sshURL.FindStringSubmatch(raw); m != nil && !tokenShape.MatchString(raw) {
		return Repository{}, &fault{codeURL, "url is for SSH, which the build has no key for",
			"write https://" + m[1] + "/" + m[2] + "/" + m[3] + ", with ${NAME}@ in front of the host if it is private"}
	}
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		if strings.Contains(raw, "@") {
			return invalid("url " + quoteURL(raw) + " has no https:// in front")
		}
		if bareRepo.MatchString(raw) && !tokenShape.MatchString(raw) {
			return Repository{}, &fault{codeURL, "url " + quoteURL(raw) + " has no https:// in front",
				"write https://github.com/" + raw}
		}
		return invalid("url " + quoteURL(raw) + " is not an address")
	}
	repository := Repository{Scheme: strings.ToLower(scheme)}
	if repository.Scheme != "https" && repository.Scheme != "http" {
		return invalid("url " + quoteURL(raw) + " is not for https")
	}
	authority, path, _ := strings.Cut(rest, "/")
	at := strings.LastIndexByte(authority, '@')
	if at >= 0 {
		var f *fault
		if repository.TokenName, f = parsePlaceholder(authority[:at]); f != nil {
			return Repository{}, f
		}
		authority = authority[at+1:]
	}
	// Another @ means that a credential has a slash in it.
	if strings.Contains(path, "@") || tokenShape.MatchString(authority+"/"+path) {
		return literal()
	}
	if strings.ContainsAny(authority+path, "${}") {
		return Repository{}, &fault{codePlaceholder, "url has a placeholder that is not in front of the host", formURL}
	}
	if strings.ContainsAny(authority+path, "?#") {
		return invalid("url " + quoteURL(raw) + " has a query or a fragment")
	}
	if !hostName.MatchString(authority) {
		return invalid("url " + quoteURL(raw) + " has no valid host")
	}
	repository.Host = strings.ToLower(authority)
	if repository.Host == "www.github.com" {
		repository.Host = "github.com"
	}
	if repository.Scheme == "http" && repository.TokenName != "" && !IsLoopback(repository.Host) {
		return Repository{}, &fault{codeURL, "url would send " + repository.TokenName + " unencrypted", "write https:// instead of http://"}
	}
	parts := strings.Split(strings.TrimSuffix(path, "/"), "/")
	if len(parts) > 2 && ownerName.MatchString(parts[0]) && repoName.MatchString(parts[1]) {
		return Repository{}, &fault{codeURL, "url " + quoteURL(raw) + " goes on after the repository",
			"end it after " + parts[0] + "/" + parts[1] + "; what to build belongs into branch"}
	}
	if len(parts) != 2 {
		return invalid("url " + quoteURL(raw) + " does not end in OWNER/REPO")
	}
	repository.Owner, repository.Repo = parts[0], strings.TrimSuffix(parts[1], ".git")
	if !ownerName.MatchString(repository.Owner) {
		return invalid("url " + quoteURL(raw) + " has no valid owner")
	}
	if !repoName.MatchString(repository.Repo) {
		return invalid("url " + quoteURL(raw) + " has no valid name of a repository")
	}
	return repository, nil
}

// parsePlaceholder reads what stands before the @ of a url: ${NAME} as user or
// as password. The password x-oauth-basic beside a token as the user is
// GitHub's own older form.
func parsePlaceholder(userinfo string) (string, *fault) {
	user, password, hasPassword := strings.Cut(userinfo, ":")
	token := user
	switch {
	case strings.HasPrefix(user, "$"):
		if hasPassword && password != "" && password != "x-oauth-basic" {
			return "", malformedPlaceholder()
		}
	case hasPassword && strings.HasPrefix(password, "$"):
		if !userName.MatchString(user) {
			return "", malformedPlaceholder()
		}
		token = password
	case strings.Contains(userinfo, "${"):
		return "", malformedPlaceholder()
	default:
		return "", &fault{codeCredentials, "url holds a credential in clear text",
			"withdraw that token, put a new one into .env and a ${NAME} placeholder for it into the url"}
	}
	name, braced := strings.CutPrefix(token, "${")
	name, closed := strings.CutSuffix(name, "}")
	if !braced || !closed || !placeholderName.MatchString(name) || tokenShape.MatchString(name) {
		return "", malformedPlaceholder()
	}
	return name, nil
}

func malformedPlaceholder() *fault {
	return &fault{codePlaceholder, "url has a malformed placeholder",
		"write https://${NAME}@HOST/OWNER/REPO, where NAME is a key of .env: letters, digits and underscores"}
}

// IsLoopback reports whether a host, with or without a port, is this machine.
func IsLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && address.IsLoopback()
}
