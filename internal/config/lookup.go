package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sethvargo/go-envconfig"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// loader has the values of all names, and collects what is wrong with them.
type loader struct {
	sources Sources
	need    Need
	schema  []Key
	environ map[string]string
	file    envFile
	// fileMissing tells that there is no .env file though one was named.
	fileMissing bool
	// values has no empty ones and no defaults.
	values map[string]value
	report problem.Report
}

// value is a text with the place that it comes from, for instance ".env:12",
// "environment" or "--version".
type value struct{ text, place string }

// layer is a source of values, with the place of each.
type layer struct {
	envconfig.Lookuper
	place func(name string) string
}

// newLoader looks up every name in the sources.
func newLoader(schema []Key, sources Sources, need Need, extraKnown []string) *loader {
	if sources.ReadFile == nil {
		sources.ReadFile = os.ReadFile
	}
	if sources.Stat == nil {
		sources.Stat = os.Stat
	}
	if sources.CAFolder == "" {
		sources.CAFolder = caFolder
	}
	if sources.Now == nil {
		sources.Now = time.Now
	}
	l := &loader{sources: sources, need: need, schema: schema, environ: map[string]string{}, values: map[string]value{}}
	for _, pair := range sources.Environ {
		if name, text, ok := strings.Cut(pair, "="); ok && name != "" {
			l.environ[name] = text
		}
	}
	l.readEnvFile(extraKnown)
	layers := []layer{
		{envconfig.MapLookuper(sources.Flags), l.flagPlace},
		{envconfig.MapLookuper(l.environ), func(string) string { return "environment" }},
		{envconfig.MapLookuper(l.file.values), func(name string) string { return place(sources.EnvFile, l.file.lines[name]) }},
	}
	for _, name := range l.names(extraKnown) {
		for _, layer := range slices.Backward(layers) {
			if text, _ := layer.Lookup(name); text != "" {
				l.values[name] = value{text, layer.place(name)}
			}
		}
	}
	l.unifyAliases()
	return l
}

// names returns every known name: the schema's, their aliases, and more.
func (l *loader) names(more []string) []string {
	var names []string
	for _, k := range l.schema {
		names = append(names, k.Name)
		if k.Alias != "" {
			names = append(names, k.Alias)
		}
	}
	return append(names, more...)
}

// readEnvFile reads .env and reports what is wrong with the file itself.
func (l *loader) readEnvFile(extraKnown []string) {
	name := l.sources.EnvFile
	if name == "" {
		return
	}
	data, err := l.sources.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		l.fileMissing = true
		return
	}
	if err != nil {
		l.report.Add(problem.Problem{Code: "config.env-file", Subject: name, Err: err,
			Detail: "can't be read: " + reason(err), Remedy: "make it a file that you can read"})
		return
	}
	l.file, l.report = parseEnv(name, data, envconfig.MapLookuper(l.environ).Lookup)
	if l.need != 0 && l.need&(Build|Push|Deploy) == 0 {
		// Compose files and the apps file, which would say what else may be
		// there, need not be on the machine from which these are looked at.
		return
	}
	known := l.names(extraKnown)
	for _, key := range l.file.keys {
		if slices.Contains(known, key) {
			continue
		}
		remedy := "remove it; de-example.env has every key"
		near := problem.Nearest(strings.ToUpper(key), known)
		if near != "" {
			remedy = "write " + near + ", or remove it; de-example.env has every key"
		}
		shown := showKey(key)
		if near != "" {
			shown = key
		}
		l.report.Addf("config.unknown", place(name, l.file.lines[key]), remedy, "%s is not known", shown)
	}
}

// flagPlace returns how a problem calls the flag of a key.
func (l *loader) flagPlace(name string) string {
	for _, k := range l.schema {
		if k.Name == name && k.Flag != "" {
			return "--" + k.Flag
		}
	}
	return "flag for " + name
}

// unifyAliases has a key and its older name share the value, and reports two
// that differ.
func (l *loader) unifyAliases() {
	for _, k := range l.schema {
		if k.Alias == "" {
			continue
		}
		current, set := l.values[k.Name]
		old, oldSet := l.values[k.Alias]
		switch {
		case set && oldSet && current.text != old.text:
			l.report.Addf("config.conflict", current.place, "keep one of them", "%s and its other name %s (%s) have different values", k.Name, k.Alias, old.place)
		case set:
			l.values[k.Alias] = current
		case oldSet:
			l.values[k.Name] = old
		}
	}
}

// isSet reports whether a flag, the environment or .env has a value for a key,
// rather than its default.
func (l *loader) isSet(key string) bool {
	_, ok := l.values[key]
	return ok
}

// value returns the value of a key, which may be its default.
func (l *loader) value(k Key) string {
	if v, ok := l.values[k.Name]; ok {
		return v.text
	}
	return k.Default
}

// where returns the place that a key's value comes from.
func (l *loader) where(key string) string {
	if v, ok := l.values[key]; ok {
		return v.place
	}
	return "default"
}

// bad reports the value of a key.
func (l *loader) bad(key, remedy, format string, args ...any) {
	l.report.Addf("config.value", l.where(key), remedy, "%s %s", key, fmt.Sprintf(format, args...))
}

// credentialNames are the endings of names that hold credentials.
var credentialNames = []string{"_PAT", "TOKEN", "PASSWORD", "PASSPHRASE", "SECRET", "_KEY", "_CREDENTIALS", "_PWD", "_DSN"}

// isCredential reports whether a name sounds like that of a credential.
func isCredential(name string) bool {
	name = strings.ToUpper(name)
	return slices.ContainsFunc(credentialNames, func(ending string) bool { return strings.HasSuffix(name, ending) })
}

// valuesByName returns the values of all known names, and which of them may be
// printed: not the schema's secrets, nor anything whose name sounds like one.
func (l *loader) valuesByName(extraKnown []string) *map[string]knownValue {
	all := map[string]knownValue{}
	add := func(name, text string, isSecret bool) {
		if text != "" {
			all[name] = knownValue{value: secret.New(text), open: !isSecret}
		}
	}
	for _, name := range extraKnown {
		add(name, l.values[name].text, isCredential(name))
	}
	for _, k := range l.schema {
		add(k.Name, l.value(k), k.Secret)
		if k.Alias != "" {
			add(k.Alias, l.values[k.Alias].text, k.Secret)
		}
	}
	return &all
}
