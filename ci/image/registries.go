package image

import (
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"dagger.io/dagger"
	"go.yaml.in/yaml/v4"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Registry is a registry of Node packages beside the one that all are taken from. An
// app has its login while its node modules are installed, if it asks for packages of
// the scope, or if the configuration of its managers names the registry.
type Registry struct {
	// Scope is the scope of packages, with its @, that is taken from here; empty where
	// apps say themselves what they take from it.
	Scope string
	// URL is the address with the login in it, user:password or _authToken:TOKEN, and
	// without a slash at its end.
	URL secret.Secret
}

// ownRegistries is what an app says of registries.
type ownRegistries struct {
	// scopes are those of the packages that it asks for, with their @.
	scopes []string
	// named are the registries that the configuration of its managers names, as
	// //host/path, and places those of them that something is taken from.
	named, places []string
	// logins are those of them where it logs in with variables of the environment.
	logins []ownLogin
	// unencrypted are the addresses of registries without TLS, by the file that names it.
	unencrypted map[string]string
	// without are the files of that configuration with such a login, as they are
	// without it: several managers refuse a variable that is not set.
	without map[string]string
}

// ownLogin is a login at a registry that a file of an app names.
type ownLogin struct {
	registry, file string
	// optional says that the file has an empty value for where the variable is not set.
	optional bool
	// unused says that nothing is taken from the registry: the app is published there.
	unused bool
}

// managerConfigs are the files with which an app configures its managers.
var managerConfigs = []string{".npmrc", ".yarnrc", ".yarnrc.yml"}

var (
	scoped = regexp.MustCompile(`@[A-Za-z0-9~-][A-Za-z0-9._~-]*/`)
	// loginLine matches a line of .npmrc or .yarnrc with something that belongs to a
	// registry, or to the one of all packages.
	loginLine = regexp.MustCompile(`^\s*"?(?:(//[^\s"=]+):[\w-]+|_authToken|_auth|_password|username|email)"?[\s=].*\$\{`)
	// registryLine matches one that names a registry.
	registryLine = regexp.MustCompile(`^\s*"?(@[^\s":=]+:)?registry"?[\s=]+"?(https?://[^\s"]+)`)
	// needed matches a variable without a value for where it is not set.
	needed = regexp.MustCompile(`\$\{[^}?:-]+\}`)
	// backedUp matches one with a value for where it is not set, which managers take.
	backedUp = regexp.MustCompile(`\$\{[^}?:-]+:?-[^}]+\}`)
)

// publicRegistries need no login for what anyone may have: many an app logs in there
// only to publish.
var publicRegistries = []string{"//registry.npmjs.org", "//registry.yarnpkg.com"}

// readRegistries finds out what an app says of registries. What is wrong with a file,
// its manager says.
func (a *app) readRegistries(packages []nodePackage, texts map[string]string) {
	own := &a.node.registries
	scopes := map[string]bool{}
	for _, p := range slices.Sorted(maps.Keys(texts)) {
		if !slices.Contains(managerConfigs, path.Base(p)) {
			for _, scope := range scoped.FindAllString(texts[p], -1) {
				scopes[strings.TrimSuffix(scope, "/")] = true
			}
			continue
		}
		// An example that nothing installs may log in where it likes.
		if !slices.ContainsFunc(packages, func(other nodePackage) bool {
			return other.folder == path.Dir(p) && other.installed(packages, texts)
		}) {
			continue
		}
		before := len(own.logins)
		var without string
		if path.Ext(p) == ".yml" {
			without = own.readYarnrc(p, texts[p])
		} else {
			without = own.readNpmrc(p, texts[p])
		}
		if len(own.logins) > before {
			if own.without == nil {
				own.without = map[string]string{}
			}
			own.without[p] = without
		}
	}
	own.named = slices.Clone(own.places)
	for i, l := range own.logins {
		own.named = append(own.named, l.registry)
		taken := slices.ContainsFunc(own.places, func(place string) bool { return within(place, l.registry) })
		for p, text := range texts {
			taken = taken || !slices.Contains(managerConfigs, path.Base(p)) && strings.Contains(strings.ToLower(text), l.registry+"/")
		}
		own.logins[i].unused = !taken
	}
	own.scopes = slices.Sorted(maps.Keys(scopes))
	slices.Sort(own.named)
	own.named = slices.Compact(own.named)
}

// readNpmrc reads a .npmrc or .yarnrc, and returns it without logins.
func (o *ownRegistries) readNpmrc(file, text string) string {
	standard := publicRegistries[0]
	for line := range strings.Lines(text) {
		if found := registryLine.FindStringSubmatch(line); found != nil {
			o.name(file, found[2])
			if found[1] == "" {
				standard = placeOf(found[2])
			}
		}
	}
	var kept strings.Builder
	for line := range strings.Lines(text) {
		found := loginLine.FindStringSubmatch(line)
		if found == nil || backedUp.MatchString(line) {
			kept.WriteString(line)
			continue
		}
		registry := standard
		if found[1] != "" {
			registry = placeOf(found[1])
		}
		o.login(registry, file, line)
	}
	return kept.String()
}

// readYarnrc reads a .yarnrc.yml, and returns it without logins.
func (o *ownRegistries) readYarnrc(file, text string) string {
	var doc yaml.Node
	if yaml.Unmarshal([]byte(text), &doc) != nil || len(doc.Content) == 0 {
		return text
	}
	top := doc.Content[0]
	standard := publicRegistries[0]
	if server := valueOf(top, "npmRegistryServer"); server != nil {
		standard = placeOf(server.Value)
		o.name(file, server.Value)
	}
	strip := func(of *yaml.Node, registry string) (stripped bool) {
		remove(of, func(key, value *yaml.Node) bool {
			login := (key.Value == "npmAuthToken" || key.Value == "npmAuthIdent") && strings.Contains(value.Value, "${") && !backedUp.MatchString(value.Value)
			if login {
				o.login(registry, file, value.Value)
			}
			stripped = stripped || login
			return login
		})
		return stripped
	}
	strip(top, standard)
	remove(valueOf(top, "npmScopes"), func(_, scope *yaml.Node) bool {
		registry := standard
		if server := valueOf(scope, "npmRegistryServer"); server != nil {
			registry = placeOf(server.Value)
			o.name(file, server.Value)
		}
		strip(scope, registry)
		return false
	})
	registries := valueOf(top, "npmRegistries")
	remove(registries, func(key, registry *yaml.Node) bool { return strip(registry, placeOf(key.Value)) })
	// Before yarn 4 what is left of it would hide all that is above the app.
	remove(top, func(_, value *yaml.Node) bool { return value == registries && len(value.Content) == 0 })
	without, err := yaml.Marshal(&doc)
	if err != nil {
		panic(err) // It was read from YAML.
	}
	return string(without)
}

// name notes a registry that something is taken from.
func (o *ownRegistries) name(file, address string) {
	o.places = append(o.places, placeOf(address))
	if strings.HasPrefix(address, "http://") {
		if o.unencrypted == nil {
			o.unencrypted = map[string]string{}
		}
		o.unencrypted[address] = file
	}
}

func (o *ownRegistries) login(registry, file, value string) {
	o.logins = append(o.logins, ownLogin{registry: registry, file: file, optional: !needed.MatchString(value)})
}

// valueOf returns the value of a key in a mapping of YAML; nil where there is none.
func valueOf(mapping *yaml.Node, key string) (found *yaml.Node) {
	remove(mapping, func(k, value *yaml.Node) bool {
		if k.Value == key {
			found = value
		}
		return false
	})
	return found
}

// remove removes from a mapping of YAML the keys of which gone says so. What is no
// mapping has none.
func remove(mapping *yaml.Node, gone func(key, value *yaml.Node) bool) {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return
	}
	var kept []*yaml.Node
	for pair := range slices.Chunk(mapping.Content, 2) {
		if !gone(pair[0], pair[1]) {
			kept = append(kept, pair...)
		}
	}
	mapping.Content = kept
}

// placeOf returns where an address is, as npm names a registry: //host/path, without a
// slash at its end.
func placeOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return "//" + strings.ToLower(u.Host) + strings.TrimRight(u.EscapedPath(), "/")
}

// covers reports whether a registry's login is for another one: for itself, and for
// what is below it.
func (r Registry) covers(named string) bool {
	return within(named, placeOf(r.URL.Reveal()))
}

// bound are the registries whose logins an app has while its modules are installed.
func (o ownRegistries) bound(all []Registry) (list []Registry) {
	for _, r := range all {
		if slices.Contains(o.scopes, r.Scope) || slices.ContainsFunc(o.named, r.covers) {
			list = append(list, r)
		}
	}
	return list
}

// asks returns what an app says of registries, if it has logins that others do not
// have, files with logins, or a yarn for which berryLogin can't read the mirror's; else
// nil.
func (b *Builder) asks(a *app) *ownRegistries {
	own := &a.node.registries
	_, mirror := npmLogin(b.Mirrors.NPM)
	unread := strings.Contains(mirror.Reveal(), ":_authToken=") && slices.ContainsFunc(a.node.added(), func(m manager) bool { return m.name == "yarn" })
	if unread || len(own.without) > 0 || len(own.bound(b.Mirrors.Registries)) > 0 {
		return own
	}
	return nil
}

// logins gives yarn 2 to 4 the logins of an app. Those of apps that have only the
// mirror's are as they always were: scripts are part of keys.
func (b *Builder) logins(a *app) string {
	if b.asks(a) != nil {
		return ownLogins
	}
	return berryLogin
}

// withoutLogins is the part of a key that says which files are not as the commit has
// them; nothing where all are.
func (a *app) withoutLogins() []any {
	if len(a.node.registries.without) == 0 {
		return nil
	}
	return []any{a.node.registries.without}
}

// source returns the app's source, as builds have it: without logins that name
// variables of the environment. Nothing of theirs is given to a build; a registry gets
// the login that NPM_REGISTRIES binds to it.
func (a *app) source(fetched *dagger.Container) *dagger.Directory {
	source := fetched.Directory(sourceDir)
	for _, p := range slices.Sorted(maps.Keys(a.node.registries.without)) {
		source = source.WithNewFile(p, a.node.registries.without[p])
	}
	return source
}

// unbound adds the registries where an app logs in, and no login is known for.
func (a *app) unbound(all []Registry, report *problem.Report) {
	seen := slices.Clone(publicRegistries)
	for _, l := range a.node.registries.logins {
		if l.optional || l.unused || slices.Contains(seen, l.registry) || slices.ContainsFunc(all, func(r Registry) bool { return r.covers(l.registry) }) {
			continue
		}
		seen = append(seen, l.registry)
		at := strings.TrimPrefix(l.registry, "//")
		report.Addf("image.node-registry", a.subject(),
			"set NPM_REGISTRIES to https://user:password@"+at+", or with a token to https://_authToken:TOKEN@"+at+"; it may have several, separated by commas",
			"its %s logs in at %s with a variable of the environment, which a build does not have", l.file, at)
	}
}

// exposed adds the registries that an app names without TLS, and a login is known for
// with it: managers know a login by its host alone.
func (a *app) exposed(all []Registry, report *problem.Report) {
	for _, address := range slices.Sorted(maps.Keys(a.node.registries.unencrypted)) {
		if slices.ContainsFunc(all, func(r Registry) bool {
			return strings.HasPrefix(r.URL.Reveal(), "https://") && strings.Contains(r.URL.Reveal(), "@") && r.covers(placeOf(address))
		}) {
			report.Addf("image.node-registry", a.subject(), "write https:// there, in a fork of the app if it is not yours",
				"its %s names a registry as http://%s, where the login that is known for it would go unencrypted", a.node.registries.unencrypted[address], strings.TrimPrefix(placeOf(address), "//"))
		}
	}
}
