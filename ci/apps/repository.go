package apps

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Repository is where an app's source is, as a url in apps.json names it.
type Repository struct {
	// Scheme is "https", "ssh", or "http" for a repository on this machine.
	Scheme string
	// User logs in: with a token, where the url names who that belongs to, and
	// over SSH, where it is "git" unless the url says otherwise. Empty without.
	User string
	// Host is the host in lower case, with its port if it has one.
	Host string
	// Owner and Repo are the path, without ".git": Repo is its last part, and
	// Owner what stands before that. At GitHub that is one name, elsewhere
	// there may be none, or several ("group/subgroup").
	Owner, Repo string
	// TokenName is the name in the url's placeholder, for instance
	// "DE_MACRS_PAT"; empty if the url has none.
	TokenName string
}

// URL returns the repository's address without credentials and ".git".
func (r Repository) URL() string {
	user := ""
	if r.Scheme == "ssh" {
		user = r.User + "@"
	}
	return r.Scheme + "://" + user + r.Host + "/" + r.path()
}

func (r Repository) path() string { return strings.TrimPrefix(r.Owner+"/"+r.Repo, "/") }

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
	remedyClear     = "take out what stands before the @; if it is a token, withdraw that, put a new one into .env and a ${NAME} placeholder for it into the url"
)

var (
	placeholderName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// userName is what may stand before a placeholder: the user names of hosts
	// of git, and the fixed names that some take with a token, such as
	// x-access-token, oauth2 and gitlab+deploy-token-1.
	userName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$`)
	hostName = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`)
	// ownerName also allows the underscore of GitHub's enterprise-managed
	// users.
	ownerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)
	// repoName is GitHub's rule, but for "." and "..", which name folders.
	repoName = regexp.MustCompile(`^(\.{0,2}[A-Za-z0-9_-]|\.{3})[A-Za-z0-9._-]*$`)
	// pathPart is a part of a path at another host: Bitbucket has ~USER in it, and
	// Azure names of projects with %20.
	pathPart = regexp.MustCompile(`^[A-Za-z0-9._~+%-]+$`)
	// scpURL is the short form of git for SSH.
	scpURL   = regexp.MustCompile(`^([A-Za-z0-9._-]+)@([A-Za-z0-9.-]+):([A-Za-z0-9._~+%/-]+)$`)
	bareRepo = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9._-]+$`)
)

// parseRepository reads a url of apps.json. It is taken apart by hand: net/url
// knows no placeholder, and its errors quote the credentials. No fault quotes
// anything from before an @.
func parseRepository(raw string) (Repository, *fault) {
	repository, f := parseAddress(raw)
	if f == nil && repository.Scheme == "ssh" && repository.TokenName == "" {
		return Repository{}, withoutKey(repository.Host, repository.path())
	}
	return repository, f
}

// parseAddress is parseRepository where no key is needed for SSH: in a lock, which has
// addresses alone.
func parseAddress(raw string) (Repository, *fault) {
	invalid := func(detail string) (Repository, *fault) {
		return Repository{}, &fault{codeURL, detail, formURL}
	}
	if m := scpURL.FindStringSubmatch(raw); m != nil && !tokenShape.MatchString(raw) {
		return Repository{}, withoutKey(m[2], m[3])
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
	repository := Repository{Scheme: strings.TrimPrefix(strings.ToLower(scheme), "git+")}
	if !slices.Contains([]string{"https", "http", "ssh"}, repository.Scheme) {
		return invalid("url " + quoteURL(raw) + " is neither for https nor for ssh")
	}
	authority, path, _ := strings.Cut(rest, "/")
	if f := repository.login(&authority, path); f != nil {
		return Repository{}, f
	}
	// Another @ means that a credential has a slash in it.
	if strings.Contains(path, "@") || tokenShape.MatchString(authority+"/"+path) {
		return Repository{}, &fault{codeCredentials, "url holds a credential in clear text", remedyClear}
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
		repository.Host = publicHost
	}
	if repository.Scheme == "http" && repository.TokenName != "" && !IsLoopback(repository.Host) {
		return Repository{}, &fault{codeURL, "url would send " + repository.TokenName + " unencrypted", "write https:// instead of http://"}
	}
	if f := repository.locate(raw, path); f != nil {
		return Repository{}, f
	}
	return repository, nil
}

// login takes what stands before the @ from an authority.
func (r *Repository) login(authority *string, path string) (f *fault) {
	at := strings.LastIndexByte(*authority, '@')
	userinfo := (*authority)[:max(at, 0)]
	*authority = (*authority)[at+1:]
	owner, _, _ := strings.Cut(path, "/")
	switch {
	// Azure's own addresses have the organisation there too.
	case at < 0, *authority == "dev.azure.com" && userinfo == owner:
	case r.Scheme == "ssh" && !strings.ContainsAny(userinfo, ":$"):
		r.User = userinfo
	default:
		r.User, r.TokenName, f = parsePlaceholder(userinfo)
	}
	if r.Scheme == "ssh" && r.User == "" {
		r.User = "git"
	}
	return f
}

// withoutKey is the fault of a url for SSH that names no key.
func withoutKey(host, path string) *fault {
	path = strings.TrimSuffix(strings.Trim(path, "/"), ".git")
	return &fault{codeURL, "url is for SSH and names no key",
		"write ssh://${NAME}@" + host + "/" + path + ", where NAME is a key of .env that holds a deploy key, or https://" + host + "/" + path}
}

// locate reads the path of a url. GitHub's has two parts.
func (r *Repository) locate(raw, path string) *fault {
	invalid := func(detail string) *fault { return &fault{codeURL, "url " + quoteURL(raw) + " " + detail, formURL} }
	parts := strings.Split(strings.TrimSuffix(path, "/"), "/")
	last := len(parts) - 1
	r.Owner, r.Repo = strings.Join(parts[:last], "/"), strings.TrimSuffix(parts[last], ".git")
	if r.Host != publicHost {
		for i, part := range parts {
			switch {
			// GitLab puts it before what is no part of the repository's name.
			case part == "-" && i > 0:
				return goesOn(raw, parts[:i])
			case !pathPart.MatchString(part) || part == "." || part == "..":
				return invalid("has no valid path")
			}
		}
		if !repoName.MatchString(r.Repo) {
			return invalid("has no valid name of a repository")
		}
		return nil
	}
	switch {
	case len(parts) > 2 && ownerName.MatchString(parts[0]) && repoName.MatchString(parts[1]):
		return goesOn(raw, parts[:2])
	case len(parts) != 2:
		return invalid("does not end in OWNER/REPO")
	case !ownerName.MatchString(r.Owner):
		return invalid("has no valid owner")
	case !repoName.MatchString(r.Repo):
		return invalid("has no valid name of a repository")
	}
	return nil
}

// goesOn is the fault of a url that has more than the parts of a repository.
func goesOn(raw string, parts []string) *fault {
	return &fault{codeURL, "url " + quoteURL(raw) + " goes on after the repository",
		"end it after " + strings.Join(parts, "/") + "; what to build belongs into branch"}
}

// parsePlaceholder reads what stands before the @ of a url: ${NAME} as user or
// as password. The password x-oauth-basic beside a token as the user is
// GitHub's own older form. The user is empty where the url names none.
func parsePlaceholder(userinfo string) (user, name string, f *fault) {
	user, password, hasPassword := strings.Cut(userinfo, ":")
	token := user
	switch {
	case strings.HasPrefix(user, "$"):
		if hasPassword && password != "" && password != "x-oauth-basic" {
			return "", "", malformedPlaceholder()
		}
		user = ""
	case hasPassword && strings.HasPrefix(password, "$"):
		if !userName.MatchString(user) || tokenShape.MatchString(user) {
			return "", "", malformedPlaceholder()
		}
		token = password
	case strings.Contains(userinfo, "${"):
		return "", "", malformedPlaceholder()
	default:
		return "", "", &fault{codeCredentials, "url holds a credential in clear text", remedyClear}
	}
	name, braced := strings.CutPrefix(token, "${")
	name, closed := strings.CutSuffix(name, "}")
	if !braced || !closed || !placeholderName.MatchString(name) || tokenShape.MatchString(name) {
		return "", "", malformedPlaceholder()
	}
	return user, name, nil
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
