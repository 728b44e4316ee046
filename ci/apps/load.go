package apps

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	cryptossh "golang.org/x/crypto/ssh"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Options is what Load reads.
type Options struct {
	// Path is the file, and its name in problems.
	Path   string
	Frappe Fallback
	// Overrides has a ref for an app in place of the file's, by the app's
	// name: the flag --ref hrms=v15.13.2.
	Overrides map[string]string
	// Lookup returns the value of a placeholder. An empty value is unset.
	Lookup func(name string) (secret.Secret, bool)
}

// Load reads apps.json and returns its apps in the file's order, with frappe in
// front if it is not in the file. It reports every problem and returns the
// sources that are good, so that the caller may still check those.
func Load(opts Options) ([]Source, problem.Report) {
	data, err := os.ReadFile(opts.Path)
	if err != nil {
		reason := err
		var pathError *fs.PathError
		if errors.As(err, &pathError) {
			reason = pathError.Err
		}
		return nil, problem.Report{{Code: "apps.unreadable", Subject: opts.Path, Detail: "can't be read: " + reason.Error(), Remedy: formList, Err: err}}
	}
	found, report := parseList(opts.Path, data)
	l := loader{opts: opts, file: found, report: report}
	l.fromFile()
	l.addFrappe()
	l.override()
	l.lookup()
	return l.sources, l.report
}

type loader struct {
	opts    Options
	file    list
	sources []Source
	report  problem.Report
}

func (l *loader) fromFile() {
	f := file{name: l.opts.Path}
	for _, entry := range l.file.entries {
		s := sourceOf(entry.Repository)
		s.Ref, s.Subject, s.RefSubject = entry.Ref, f.at(entry.Line), f.at(entry.RefLine)
		l.sources = append(l.sources, s)
	}
}

// listed reports whether the file has an app, even one with a problem.
func (l *loader) listed(app string) bool { return l.file.lines[strings.ToLower(app)] > 0 }

// addFrappe puts the fallback in front, or compares it with the file's frappe.
func (l *loader) addFrappe() {
	fallback := l.opts.Frappe
	var repository Repository
	if fallback.URL != "" {
		var fault *fault
		if repository, fault = parseRepository(fallback.URL); fault != nil {
			l.report.Addf(fault.code, "FRAPPE_PATH", fault.remedy, "%s", fault.detail)
			return
		}
	}
	if fallback.Ref != "" {
		if fault := refFault(fallback.Ref); fault != "" {
			l.report.Addf("apps.ref-invalid", "FRAPPE_BRANCH", "name a tag, a branch or a commit", "%s %s", quote(fallback.Ref), fault)
			return
		}
	}
	_, overridden := l.opts.Overrides[frappeApp]
	if l.listed(frappeApp) {
		at := slices.IndexFunc(l.sources, func(s Source) bool { return strings.EqualFold(s.Name, frappeApp) })
		if at < 0 {
			return
		}
		s := l.sources[at]
		if fallback.URL != "" && !strings.EqualFold(repository.URL(), s.URL) {
			l.report.Addf("apps.frappe-conflict", "FRAPPE_PATH", "unset FRAPPE_PATH, or give both the same repository",
				"is %s, but %s has %s", repository.URL(), s.Subject, s.URL)
		}
		if fallback.Ref != "" && fallback.Ref != s.Ref && !overridden {
			l.report.Addf("apps.frappe-conflict", "FRAPPE_BRANCH", "unset FRAPPE_BRANCH, or give both the same ref",
				"is %s, but %s has %s", quote(fallback.Ref), s.RefSubject, quote(s.Ref))
		}
		return
	}
	if fallback.URL == "" || fallback.Ref == "" && !overridden {
		if l.file.whole {
			l.report.Addf("apps.frappe-missing", l.opts.Path, "add it to the file, or set FRAPPE_PATH and FRAPPE_BRANCH", "frappe itself is not listed")
		}
		return
	}
	s := sourceOf(repository)
	// FRAPPE_PATH may name a fork with another name; the package in it is
	// frappe all the same.
	s.Name, s.Ref, s.Subject, s.RefSubject = frappeApp, fallback.Ref, "FRAPPE_PATH", "FRAPPE_BRANCH"
	l.sources = slices.Insert(l.sources, 0, s)
	l.file.names = slices.Insert(l.file.names, 0, frappeApp)
}

func (l *loader) override() {
	for _, name := range slices.Sorted(maps.Keys(l.opts.Overrides)) {
		ref := l.opts.Overrides[name]
		fault := refFault(ref)
		if fault != "" {
			l.report.Addf("apps.ref-invalid", "--ref "+name, "write --ref "+name+"=REF with a tag, a branch or a commit", "%s %s", quote(ref), fault)
		}
		at := slices.IndexFunc(l.sources, func(s Source) bool { return s.Name == underscored(name) })
		switch {
		case at >= 0 && fault != "":
			l.sources = slices.Delete(l.sources, at, at+1)
		case at >= 0:
			l.sources[at].Ref, l.sources[at].RefSubject = ref, "--ref "+name
		case l.file.whole && !l.listed(underscored(name)):
			l.report.Addf("apps.override-unknown", "--ref "+name, "the apps are "+strings.Join(l.file.names, ", "), "no such app in %s", l.opts.Path)
		}
	}
}

// lookup puts the tokens in. A key that is not set is one problem, however
// many apps need it.
func (l *loader) lookup() {
	tokens := map[string]secret.Secret{}
	var names []string
	for i, s := range l.sources {
		if s.TokenName == "" {
			continue
		}
		token, known := tokens[s.TokenName]
		if !known {
			if l.opts.Lookup != nil {
				token, _ = l.opts.Lookup(s.TokenName)
			}
			tokens[s.TokenName] = token
			names = append(names, s.TokenName)
		}
		l.sources[i].Token = token
	}
	for _, name := range names {
		if !l.usable(name, tokens[name]) {
			l.sources = slices.DeleteFunc(l.sources, func(s Source) bool { return s.TokenName == name })
		}
	}
}

// usable reports whether a token is one, or a key that ssh can use, and adds a problem
// where it is not.
func (l *loader) usable(name string, token secret.Secret) bool {
	var subject string
	var repositories []string
	ssh := false
	what := "a token"
	for _, s := range l.sources {
		if s.TokenName != name {
			continue
		}
		subject = cmp.Or(subject, s.Subject)
		repositories = append(repositories, s.path())
		ssh = ssh || s.SSH()
		if s.Host == publicHost {
			what = "a GitHub token"
		}
	}
	if ssh {
		what = "the private half of a deploy key"
	}
	if !token.IsSet() {
		remedy := "set " + name + " in .env or in the environment to " + what + " that can read " + strings.Join(repositories, ", ")
		l.report.Addf("apps.token-unset", subject, remedy, "%s is not set", name)
		return false
	}
	if ssh {
		_, err := cryptossh.ParseRawPrivateKey([]byte(Source{Token: token}.PrivateKey()))
		var locked *cryptossh.PassphraseMissingError
		switch {
		case errors.As(err, &locked):
			l.report.Addf("apps.key-malformed", name, "make a deploy key without one: ssh-keygen -t ed25519 -N '' -f FILE", "is a private key with a passphrase")
		case err != nil:
			l.report.Addf("apps.key-malformed", name, "give the whole text of the key, with its first and last line and its line breaks", "is not a private key")
		}
		return err == nil
	}
	if strings.ContainsFunc(token.Reveal(), func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		l.report.Addf("apps.token-malformed", name, "copy the token again, without what is around it",
			"has a space, a line break or another character that no token has")
		return false
	}
	return true
}

// Fallback is where frappe comes from when apps.json does not list it.
type Fallback struct {
	// URL is the value of FRAPPE_PATH and Ref that of FRAPPE_BRANCH; empty
	// ones are unset.
	URL, Ref string
}
