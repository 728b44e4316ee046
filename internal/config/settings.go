package config

import (
	"slices"
	"strings"

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
	// Missing are names that a release needs and that have no value.
	Missing []string
}

// files are the keys that name a file on this machine, whose text a workflow gets.
var fileKeys = map[string]string{
	"DEPLOY_SSH_KEY_FILE":     "DEPLOY_SSH_KEY",
	"DEPLOY_KNOWN_HOSTS_FILE": "DEPLOY_KNOWN_HOSTS",
	"SIGNING_KEY_FILE":        "SIGNING_KEY",
}

// WorkflowSettings returns what a .env file says for the workflows. Of the environment
// only the user's folder counts. tokens are the names of the tokens for apps.
func WorkflowSettings(envFile string, environ, tokens []string) (Settings, problem.Report) {
	home := slices.DeleteFunc(slices.Clone(environ), func(pair string) bool {
		return !strings.HasPrefix(pair, "HOME=") && !strings.HasPrefix(pair, "USERPROFILE=")
	})
	l := newLoader(Schema(), Sources{Environ: home, EnvFile: envFile}, HostAccess, tokens)
	s := Settings{Variables: map[string]string{}, Secrets: map[string]secret.Secret{}, From: map[string]string{}}
	for _, k := range l.schema {
		if workflowKey, isFile := fileKeys[k.Name]; isFile && l.isSet(k.Name) {
			file := l.expand(k.Name, l.values[k.Name].text)
			if text, ok := l.contents(k.Name, file, "the file", "", k.Name != "DEPLOY_KNOWN_HOSTS_FILE"); ok {
				s.put(l, workflowKey, string(text))
				s.From[workflowKey] = l.values[k.Name].text
			}
		}
		if k.Elsewhere != "" || k.Expression != "" {
			continue
		}
		if l.isSet(k.Name) {
			s.put(l, k.Name, l.values[k.Name].text)
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
func (s Settings) put(l *loader, key, value string) {
	for _, k := range l.schema {
		switch {
		case k.Name != key:
		case k.Secret:
			s.Secrets[key] = secret.New(value)
		default:
			s.Variables[key] = value
		}
	}
}

// findMissing finds what a release to a host needs.
func (s *Settings) findMissing(schema []Key) {
	if s.Variables["DEPLOY_HOST"] == "" {
		return
	}
	for _, k := range schema {
		needed := k.Need&(Build|Push|Deploy) != 0 && k.Default == "" && k.Elsewhere == "" ||
			k.Name == "DEPLOY_SSH_KEY" || k.Name == "DEPLOY_KNOWN_HOSTS"
		if _, variable := s.Variables[k.Name]; needed && !variable && !s.Secrets[k.Name].IsSet() {
			s.Missing = append(s.Missing, k.Name)
		}
	}
}
