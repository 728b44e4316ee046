package config

import (
	"maps"
	"slices"

	"github.com/sethvargo/go-envconfig"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Carried returns what the .env file of the sources says that holds wherever a
// release goes: how the image is built, and the variables of compose files. What
// belongs to a place is left out ([Key.PlaceOnly]); where the environment has such a
// value, it is a problem, because the environment comes before any file. others are
// the names that are not in the schema, in order.
func Carried(sources Sources) (values map[string]secret.Secret, others []string, report problem.Report) {
	// The names that are known depend on compose files; all are taken.
	sources.Flags = nil
	l := newLoader(Schema(), sources, HostAccess, nil)
	values = map[string]secret.Secret{}
	for key, text := range l.file.values {
		if text != "" {
			values[key] = secret.New(text)
		}
	}
	others = slices.Sorted(maps.Keys(values))
	environment := envconfig.MapLookuper(l.environ)
	for _, k := range l.schema {
		for _, name := range []string{k.Name, k.Alias} {
			if name == "" {
				continue
			}
			others = slices.DeleteFunc(others, func(other string) bool { return other == name })
			if !k.PlaceOnly {
				continue
			}
			delete(values, name)
			if set, _ := environment.Lookup(name); set != "" {
				l.report.Addf("sandbox.environment", name, "unset "+name,
					"is set in the environment, which comes before the file of the sandbox: commands would not go there")
			}
		}
	}
	return values, others, l.report
}
