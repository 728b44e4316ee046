package config

import (
	"slices"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Settings are what an environment at GitHub has to have for a workflow to release as
// this machine does.
type Settings struct {
	// Variables and Secrets are the values by the names that the workflows read.
	Variables map[string]string
	Secrets   map[string]secret.Secret
	// From are the files that values were read from, by these names.
	From map[string]string
	// Paths are values that name a file of the repository, which a workflow reads
	// there, by their keys.
	Paths map[string]string
	// Missing are names that a release needs and that have no value.
	Missing []string
}

// fileKeys returns the keys that name a file on this machine, whose text a workflow
// gets, with the keys that have the text there.
func fileKeys(schema []Key) map[string]Key {
	byName := map[string]Key{}
	for _, k := range schema {
		byName[k.Name] = k
	}
	files := map[string]Key{}
	for _, k := range schema {
		if text, isKey := byName[k.Elsewhere]; isKey && strings.HasSuffix(k.Name, "_FILE") {
			files[k.Name] = text
		}
	}
	return files
}

// WorkflowSettings returns what a .env file says for the workflows. Of the environment
// only the user's folder counts. tokens are the names of the tokens for apps.
func WorkflowSettings(envFile string, environ, tokens []string) (Settings, problem.Report) {
	home := slices.DeleteFunc(slices.Clone(environ), func(pair string) bool {
		return !strings.HasPrefix(pair, "HOME=") && !strings.HasPrefix(pair, "USERPROFILE=")
	})
	l := newLoader(Schema(), Sources{Environ: home, EnvFile: envFile}, HostAccess, tokens)
	s := Settings{Variables: map[string]string{}, Secrets: map[string]secret.Secret{}, From: map[string]string{}, Paths: map[string]string{}}
	files, tls := fileKeys(l.schema), l.values["TLS"].text
	for _, k := range l.schema {
		// A certificate of one's own is read for that way to https alone.
		unread := strings.HasPrefix(k.Name, "TLS_") && tls != compose.TLSFiles
		if target, isFile := files[k.Name]; isFile && l.isSet(k.Name) && !unread {
			file := l.expand(k.Name, l.values[k.Name].text)
			if text, ok := l.contents(k.Name, file, "the file", "", target.Secret); ok {
				s.put(target, string(text))
				s.From[target.Name] = l.values[k.Name].text
			}
		}
		if k.Elsewhere != "" || k.Expression != "" {
			continue
		}
		if l.isSet(k.Name) {
			s.put(k, l.values[k.Name].text)
			if strings.HasSuffix(k.Name, "_FILE") {
				s.Paths[k.Name] = l.values[k.Name].text
			}
		}
	}
	for _, name := range tokens {
		if l.isSet(name) {
			s.Secrets[name] = secret.New(l.values[name].text)
		} else {
			s.Missing = append(s.Missing, name)
		}
	}
	s.findMissing(l.schema)
	return s, l.report
}

// put stores a value where the workflows read the key from.
func (s Settings) put(k Key, value string) {
	if k.Secret {
		s.Secrets[k.Name] = secret.New(value)
	} else {
		s.Variables[k.Name] = value
	}
}

// findMissing finds what a release to a host needs.
func (s *Settings) findMissing(schema []Key) {
	if s.Variables["DEPLOY_HOST"] == "" {
		return
	}
	more := []string{"DEPLOY_SSH_KEY", "DEPLOY_KNOWN_HOSTS"}
	switch s.Variables["TLS"] {
	case compose.TLSFiles:
		more = append(more, "TLS_CERT", "TLS_KEY")
	case compose.TLSDNS:
		more = append(more, "ACME_DNS_PROVIDER", "ACME_DNS_VARIABLES")
	case compose.TLSProxy:
		more = append(more, "TRUSTED_PROXIES")
	}
	for _, k := range schema {
		needed := k.Need&(Build|Push|Deploy) != 0 && k.Default == "" && k.Elsewhere == "" || slices.Contains(more, k.Name)
		if _, variable := s.Variables[k.Name]; needed && !variable && !s.Secrets[k.Name].IsSet() {
			s.Missing = append(s.Missing, k.Name)
		}
	}
}

// IsVariable reports whether the workflows read a name from a variable, and not from a
// secret, as those of tokens are.
func IsVariable(name string) bool {
	return slices.ContainsFunc(Schema(), func(k Key) bool { return k.Name == name && !k.Secret })
}
