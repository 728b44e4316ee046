package config

import (
	"io/fs"
	"maps"

	"github.com/sethvargo/go-envconfig"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Carried returns what the .env file of the sources says that holds wherever a
// release goes: how the image is built, by the keys' names and not their aliases. What
// belongs to a place is left out ([Key.PlaceOnly]); where the environment has such a
// value it is a problem, because that comes before any file. others are what the file
// has besides, for apps and compose files; what it leads to is not known.
func Carried(sources Sources) (values, others map[string]secret.Secret, report problem.Report) {
	sources.Flags = nil
	// Which names may be in it is for the command that uses them.
	l := newLoader(Schema(), sources, HostAccess, nil)
	if l.fileMissing && sources.EnvFile != ".env" {
		l.report.Add(problem.Problem{Code: "config.env-file", Subject: sources.EnvFile, Err: fs.ErrNotExist,
			Detail: "there is no such file", Remedy: "correct --env-file"})
	}
	values = map[string]secret.Secret{}
	file := maps.Clone(l.file.values)
	environment := envconfig.MapLookuper(l.environ)
	for _, k := range l.schema {
		for _, name := range []string{k.Alias, k.Name} {
			text := file[name]
			delete(file, name)
			if set, _ := environment.Lookup(name); k.PlaceOnly && set != "" {
				l.report.Addf("sandbox.environment", name, "unset "+name,
					"is set in the environment, which comes before the file of the sandbox: commands would not go there")
			}
			if text != "" && !k.PlaceOnly {
				values[k.Name] = secret.New(text)
			}
		}
	}
	others = map[string]secret.Secret{}
	for name, text := range file {
		if text != "" {
			others[name] = secret.New(text)
		}
	}
	return values, others, l.report
}
