package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/distribution/reference"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

var (
	// tag is the grammar of the distribution specification.
	tag = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	// fullVersion is a version in three numbers.
	fullVersion = regexp.MustCompile(`^\d+\.\d+\.\d+$`)
	// project is compose's rule for project names.
	project = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)
	// hostLabel is one part of a host name.
	hostLabel = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$`)
	// userName is what useradd takes, and capitals.
	userName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,31}$`)
	// nginxSize and nginxTime are nginx's notations.
	nginxSize = regexp.MustCompile(`^\d+[kKmMgG]?$`)
	nginxTime = regexp.MustCompile(`^\d+(ms|s|m|h)?$`)
)

// validate parses every value and makes the Config of them.
func (l *loader) validate(k keys) Config {
	c := Config{
		SiteVersion: k.SiteVersion, AppsFile: k.AppsFile,
		FrappePath: k.FrappePath, FrappeBranch: k.FrappeBranch,
		Python: k.Python, Node: k.Node, PackagesAsOf: l.time("PACKAGES_AS_OF", k.PackagesAsOf),
		ImageName:    k.ImageName,
		Registry:     Registry{Host: k.Registry, Username: k.RegistryUsername, Password: l.credential("REGISTRY_PASSWORD", k.RegistryPassword)},
		GitHubAPIURL: strings.TrimRight(k.GitHubAPIURL, "/"), GitHubToken: l.credential("GITHUB_TOKEN", k.GitHubToken),
		Target: Target{
			Host: k.Host, Port: l.number("DEPLOY_PORT", k.Port, 65535), User: k.User,
			SSHKey: secret.New(k.SSHKey), SSHKeyFile: k.SSHKeyFile, SSHPassphrase: secret.New(k.SSHKeyPassphrase), AgentSocket: l.environ["SSH_AUTH_SOCK"],
			KnownHosts: k.KnownHosts, KnownHostsFile: k.KnownHostsFile,
			Dir: k.Dir, Project: k.Project,
			Strategy: k.Strategy, BackupFiles: l.truth("BACKUP_FILES", k.BackupFiles),
			DrainLimit:   time.Duration(l.number("DRAIN_SECONDS", k.DrainSeconds, 24*60*60)) * time.Second,
			KeepReleases: l.number("KEEP_RELEASES", k.KeepReleases, 1000),
			HooksDir:     k.HooksDir,
		},
		Compose: Compose{
			HTTPPort:      l.number("HTTP_PORT", k.HTTPPort, 65535),
			AdminPassword: l.credential("ADMIN_PASSWORD", k.AdminPassword), DBRootPassword: l.credential("DB_ROOT_PASSWORD", k.DBRootPassword),
			GunicornWorkers: l.number("GUNICORN_WORKERS", k.GunicornWorkers, 1024), GunicornThreads: l.number("GUNICORN_THREADS", k.GunicornThreads, 1024),
			ClientMaxBodySize: k.ClientMaxBodySize, ProxyReadTimeout: k.ProxyReadTimeout,
			ResticRepository: k.ResticRepository, ResticPassword: l.credential("RESTIC_PASSWORD", k.ResticPassword),
		},
	}
	l.credential("DE_MACRS_PAT", k.Token)

	switch v := k.SiteVersion; {
	case v == "":
	case v == "latest":
		l.bad("DE_SITE_VERSION", "name the version, for instance 1.1.5", "is %q, which would name another image after every release", v)
	case !tag.MatchString(v):
		l.bad("DE_SITE_VERSION", "use letters, digits, _, . and -, at most 128, and neither . nor - in front", "is %s, which can't be the tag of an image", quote(v))
	}
	for _, v := range []struct{ key, text, example string }{{"PYTHON_VERSION", k.Python, "3.11.6"}, {"NODE_VERSION", k.Node, "18.18.2"}} {
		if !fullVersion.MatchString(v.text) {
			l.bad(v.key, "write all three numbers, for instance "+v.example, "is %s, which is not a full version", quote(v.text))
		}
	}
	l.url("FRAPPE_PATH", k.FrappePath)
	l.url("GITHUB_API_URL", k.GitHubAPIURL)
	l.imageName(k)
	if v := k.Registry; v != "" && !hostPort(v) {
		l.bad("REGISTRY", "write host or host:port; a path belongs into IMAGE_NAME", "is %s, which is not the name of a host", quote(v))
	}
	c.Platforms = l.platforms(k.Platforms)
	c.Wkhtmltopdf = l.wkhtmltopdf(k, c.Platforms)
	c.Chromium, c.DebianChromium = l.chromium(k, c.Platforms)
	c.Mirrors = Mirrors{
		PyPI: l.mirror("PYPI_INDEX_URL", k.PyPIIndexURL), NPM: l.mirror("NPM_REGISTRY_URL", k.NPMRegistryURL), Apt: l.mirror("APT_MIRROR_URL", k.AptMirrorURL),
		Images: l.imageMirror(k.ImageMirror), CAs: l.cas(k.ExtraCAFile),
	}
	l.both("REGISTRY_USERNAME", k.RegistryUsername, "REGISTRY_PASSWORD", k.RegistryPassword)
	c.Signing = l.signing(k)
	l.both("RESTIC_REPOSITORY", k.ResticRepository, "RESTIC_PASSWORD", k.ResticPassword)

	if v := k.Host; v != "" && !isHost(v) {
		l.bad("DEPLOY_HOST", "write a host name or an IP address; the port belongs into DEPLOY_PORT, the user into DEPLOY_USER", "is %s, which is not the name of a host", quote(v))
	}
	if v := k.User; v != "" && !userName.MatchString(v) {
		l.bad("DEPLOY_USER", "write the login name only", "is %s, which is not the name of a user", quote(v))
	}
	if v := k.JumpHost; v != "" {
		jump, ok := parseJump(v)
		if !ok {
			l.bad("DEPLOY_JUMP_HOST", "write user@host:port; user and port may be left out", "is %s, which is not of the form user@host:port", quote(v))
		}
		if jump.User == "" {
			jump.User = k.User
		}
		c.Target.Jump = &jump
	}
	if v := k.Dir; !path.IsAbs(v) || path.Clean(v) == "/" || strings.ContainsFunc(v, unicode.IsControl) {
		l.bad("DEPLOY_DIR", "write a path from the root, for instance /opt/erpnext", "is %s, which is not an absolute path of a folder of its own", quote(v))
	} else {
		c.Target.Dir = path.Clean(v)
	}
	if v := k.Project; v != "" && !project.MatchString(v) {
		l.bad("COMPOSE_PROJECT_NAME", "use small letters, digits, - and _, with a letter or a digit in front", "is %s, which compose doesn't take for a project", quote(v))
	}
	if v := k.SiteName; v != "" {
		c.Target.Sites = []string{v}
		if !isHost(v) {
			l.bad("SITE_NAME", "write one host name, without scheme and path", "is %s, which is not the name of a host", quote(v))
		}
	}
	if v := k.ClientMaxBodySize; !nginxSize.MatchString(v) {
		l.bad("CLIENT_MAX_BODY_SIZE", "write a number with k, m or g, for instance 50m", "is %s, which is not a size", quote(v))
	}
	if v := k.ProxyReadTimeout; !nginxTime.MatchString(v) {
		l.bad("PROXY_READ_TIMEOUT", "write seconds, or a number with s, m or h, for instance 120", "is %s, which is not a time", quote(v))
	}
	if v := k.Strategy; v != StrategyCycle && v != StrategySwap {
		l.bad("DEPLOY_STRATEGY", "write cycle or swap", "is %s, which is not a strategy", quote(v))
	}
	l.hooksDir(k.HooksDir)
	l.composeFiles(&c.Target, k.ComposeFiles)
	l.ssh(&c.Target)
	return c
}

// number parses a whole number from 1 up to most; 0 stands for a bad one.
func (l *loader) number(key, text string, most int) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		l.bad(key, fmt.Sprintf("write a number from 1 to %d", most), "is %s, which is not a number from 1 to %d", quote(text), most)
		return 0
	}
	return n
}

// truth parses true or false, and nothing else: what yes or 1 stand for differs
// between the programs that read .env.
func (l *loader) truth(key, text string) bool {
	if text != "true" && text != "false" {
		l.bad(key, "write true or false", "is %s, which is neither true nor false", quote(text))
	}
	return text == "true"
}

// time parses a day or a time; a day means its beginning in UTC.
func (l *loader) time(key, text string) time.Time {
	if text == "" {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC()
		}
	}
	l.bad(key, "write 2024-03-20 or 2024-03-20T12:00:00Z", "is %s, which is neither a day nor a time", quote(text))
	return time.Time{}
}

// credential takes over a password or token. One with white space at an end
// was not copied well, and the error it causes later says nothing of that.
func (l *loader) credential(key, text string) secret.Secret {
	switch {
	case strings.TrimSpace(text) != text:
		l.bad(key, "set it again without that", "begins or ends with white space")
	case strings.ContainsFunc(text, unicode.IsControl):
		l.bad(key, "set it again without that", "has a line break or another control character in it")
	}
	return secret.New(text)
}

// both reports one of two keys that only make sense together.
func (l *loader) both(a, aText, b, bText string) {
	switch {
	case aText != "" && bText == "":
		l.bad(a, "set "+b+" as well, or neither", "is set, but %s is not", b)
	case bText != "" && aText == "":
		l.bad(b, "set "+a+" as well, or neither", "is set, but %s is not", a)
	}
}

// url reports what is no URL of a server, and one with a password, which
// would get into locks and labels.
func (l *loader) url(key, text string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		l.bad(key, "write it with https:// in front", "is not the URL of a server")
	case u.User != nil:
		l.bad(key, "remove them; private repositories take a placeholder in the apps file", "has credentials in it")
	}
}

func (l *loader) imageName(k keys) {
	const remedy = "write a name such as company/erpnext: small letters, digits, and / . _ - between them"
	name := k.ImageName
	if name == "" {
		return
	}
	named, err := reference.ParseNormalizedNamed(name)
	switch {
	case err != nil:
		l.bad("IMAGE_NAME", remedy, "is %s, which can't be the name of an image", quote(name))
	case !reference.IsNameOnly(named):
		l.bad("IMAGE_NAME", "remove it; DE_SITE_VERSION is the tag", "is %s, which has a tag or a digest", quote(name))
	case reference.Domain(named) != "docker.io" || strings.HasPrefix(name, "docker.io/"):
		l.bad("IMAGE_NAME", "set REGISTRY to the part before the first /, and leave it out here", "is %s, which has a registry in it", quote(name))
	}
}

// isHost says whether a text is a host name or an IP address.
func isHost(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	if len(text) > 253 {
		return false
	}
	for _, label := range strings.Split(text, ".") {
		if !hostLabel.MatchString(label) {
			return false
		}
	}
	return true
}

// hostPort says whether a text is "host" or "host:port".
func hostPort(text string) bool {
	jump, ok := parseJump(text)
	return ok && jump.User == "" && !strings.Contains(text, "@")
}

// parseJump reads "user@host:port", an IPv6 address in brackets.
func parseJump(text string) (Jump, bool) {
	jump := Jump{Port: 22}
	if user, rest, ok := strings.Cut(text, "@"); ok {
		if !userName.MatchString(user) {
			return jump, false
		}
		jump.User, text = user, rest
	}
	name, port := text, ""
	if rest, ok := strings.CutPrefix(text, "["); ok {
		if name, port, ok = strings.Cut(rest, "]"); !ok || port != "" && port[0] != ':' || !strings.Contains(name, ":") {
			return jump, false
		}
	} else if i := strings.IndexByte(text, ':'); i >= 0 && i == strings.LastIndexByte(text, ':') {
		name, port = text[:i], text[i:]
	}
	if port != "" {
		n, err := strconv.Atoi(port[1:])
		if err != nil || n < 1 || n > 65535 {
			return jump, false
		}
		jump.Port = n
	}
	jump.Host = name
	return jump, isHost(name)
}

// hooksDir looks, for a deployment, for the folder. A company without hooks
// has no default one; one that somebody named was not named for nothing.
func (l *loader) hooksDir(dir string) {
	const key = "HOOKS_DIR"
	if l.need&Deploy == 0 {
		return
	}
	info, err := l.sources.Stat(dir)
	_, chosen := l.values[key]
	switch {
	case errors.Is(err, fs.ErrNotExist) && !chosen:
	case err != nil:
		l.bad(key, "correct the path; it is relative to the current folder", "names %s: %s", dir, reason(err))
	case !info.IsDir():
		l.bad(key, "name the folder that the hooks are in", "names %s, which is not a folder", dir)
	}
}

// composeFiles splits the list and, for a deployment, looks for the files.
func (l *loader) composeFiles(t *Target, list string) {
	const key = "COMPOSE_FILES"
	seen := map[string]string{}
	for _, file := range strings.Split(list, ",") {
		if file = strings.TrimSpace(file); file == "" {
			l.bad(key, "separate the files by single commas", "has an empty place in its list")
			continue
		}
		t.ComposeFiles = append(t.ComposeFiles, file)
		base := filepath.Base(file)
		if other, again := seen[base]; again {
			l.bad(key, "rename one; on the host they are in one folder", "has %s and %s, which have the same name", other, file)
		}
		seen[base] = file
		if l.need&Deploy == 0 {
			continue
		}
		if info, err := l.sources.Stat(file); err != nil {
			l.bad(key, "correct the path; it is relative to the current folder", "names %s: %s", file, reason(err))
		} else if !info.Mode().IsRegular() {
			l.bad(key, "name the file itself", "names %s, which is not a file", file)
		}
	}
}

// quote shows a value that is no secret, cut off where it gets long.
func quote(text string) string {
	const most = 60
	if runes := []rune(text); len(runes) > most {
		return strconv.Quote(string(runes[:most])) + "…"
	}
	return strconv.Quote(text)
}
